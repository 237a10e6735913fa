#!/bin/bash
# hostile/run.sh with the full crowd inside a user-mode Linux guest, for machines that do not allow
# 26,000 open files.  One slow core: what it proves is that the server lives and is bounded.
# usage: hostile/in_guest.sh [options of hostile/run.sh]; exit code as run.sh, 77 without the packages
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../../.." && pwd)
BIN=${DUET_BIN:-$REPOSITORY/build/release/bin}
cannot() { echo "strangers: SKIPPED: $*"; exit 77; }
[ "$(id -u)" = 0 ] || cannot "needs root for the guest's mounts"
"$HERE/../../guest/boot.sh" --check || exit 77
mkdir -p "$REPOSITORY/build"
WORK=$(mktemp -d "$REPOSITORY/build/strangers-guest.XXXXXX")
UML=
clean_up() {
  trap - EXIT INT TERM
  [ -n "$UML" ] && kill -KILL -- "-$UML" 2>/dev/null
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 1' INT TERM
ARGUMENTS="$*"
set -m # the guest is a process group of its own
timeout -k 10 280 "$HERE/../../guest/boot.sh" "$WORK" "$HERE/guest_init.sh" mem=2G TESTS="$HERE/.." DUET_BIN="$BIN" \
  ARGUMENTS="${ARGUMENTS// /,}" >"$WORK/console.log" &
UML=$!
set +m
wait "$UML"
cat "$WORK/strangers.log" 2>/dev/null
[ -s "$WORK/result" ] || { echo "FAIL the guest did not come to its end; console:"; tail -15 "$WORK/console.log"; exit 1; }
exit "$(cat "$WORK/result")"
