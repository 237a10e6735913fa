#!/bin/sh
# check.sh [prop|bugs|all]: the properties of share.pml, and the seeded bugs that must be found.
# Needs spin 6.5 and gcc.  Exit status 0: every line is as expected; 77: no spin.
command -v spin >/dev/null || { echo "skipped: no spin"; exit 77; }
here=$(cd "$(dirname "$0")" && pwd); bad=0
one() { # expect(ok|found) name "switches"
  d=$(mktemp -d); cp "$here/share.pml" "$d/"; cd "$d" || exit 1
  spin $3 -a share.pml >out 2>&1 && gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c &&
    timeout -s INT "${LIMIT:-900}" ./pan -m200000 >out 2>&1
  e=$(sed -n 's/.*errors: *\([0-9]*\).*/\1/p' out | tail -1)
  n=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out | head -1)
  why=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' out | head -1)
  full=complete; grep -q 'Search not completed' out && full=cut
  case "$1/$e/$full" in ok/0/complete) r=none;; found/1/*) r="found: $why";; *) r="UNEXPECTED"; bad=1;; esac
  printf '%-16s states %-10s %s\n' "$2" "$n" "$r"
  cd /; rm -rf "$d"
}
small="-DWRITES=2 -DREADS=1 -DSTOPS=2"
prop() {
  one ok two-stops "-DWRITES=3 -DREADS=1 -DSTOPS=2"
}
bugs() {
  for b in BUG_NOINTENT BUG_NOWAIT BUG_NOSETTLE BUG_NOLABEL BUG_DEADLOCK BUG_NOFENCE; do one found $b "$small -D$b"; done
}
case "${1:-all}" in prop) prop;; bugs) bugs;; *) prop; bugs;; esac
exit $bad
