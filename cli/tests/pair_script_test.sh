#!/bin/bash
# shellcheck disable=SC2317  # functions that expect() and trap call
# deploy/samples/pair.sh: shelves, init, start, stop and status, with real shelves and the real duet init;
# the nodes are stand-ins, as here it is the script's order and its words that are looked at.
# Usage: pair_script_test.sh BIN_DIRECTORY
set -uo pipefail
bin=$(readlink -f "$1")
sample=$(readlink -f "$(dirname "$0")/../../deploy/samples")
run=$(mktemp -d "${TMPDIR:-/tmp}/duet-pair-script.XXXXXX")
cd "$run" || exit 1
cleanup() {
  for file in run/*.pid run/*/*.pid; do
    [ ! -e "$file" ] || kill -9 "$(cat "$file")" 2> /dev/null
  done
  cd / && rm -rf "$run"
}
trap cleanup EXIT
failures=0
export DUET_PAIR_DISK=64M

mkdir bin
ln -s "$bin/duet-shelf" bin/duet-shelf
cat > bin/duetd <<'SH'
#!/bin/bash
echo "$4 begins" >> order
[ ! -e broken ] || { echo "duetd: it is broken"; exit 1; }
trap 'sleep 0.2; echo "$4 ends" >> order; exit 0' TERM
touch "run/$4/up"
while :; do sleep 0.05; done
SH
cat > bin/duet <<SH
#!/bin/bash
case "\$*" in
  *"--node "?" failover show") [ -e "run/\$4/up" ] && echo "what node \$4 says of the pair" ;;
  *"failover show") printf '%s is serving\n' a b ;;
  *) exec "$bin/duet" "\$@" ;;
esac
SH
chmod +x bin/duetd bin/duet

# expect CODE PATTERN COMMAND...: the exit code, and an extended regular expression in the output.
expect() {
  local code=$1 pattern=$2 got=0
  shift 2
  "$@" > output 2>&1 || got=$?
  if [ "$got" != "$code" ] || ! { [ -z "$pattern" ] || grep -qE "$pattern" output; }; then
    echo "FAILED: $*"
    echo "  exit $got (wanted $code), output without /$pattern/:"
    sed 's/^/    /' output
    failures=$((failures + 1))
  fi
}
pair() { "$sample/pair.sh" --bin "$run/bin" "$@"; }
duet() { "$bin/duet" --config "$sample/pair.yaml" "$@"; }

expect 2 "say shelves, start, stop or status" pair
expect 2 "begin is not known" pair begin
expect 1 "shelf1 does not run" pair status

# As README has it: init before anything runs names what to start; then it works.
expect 2 "pair.sh shelves" duet init
expect 0 "shelf2 serves a1 b0 b2" pair shelves
expect 0 "shelf1 runs already" pair shelves
expect 0 "filer b is ready" duet init
log_id=$(duet log --json | grep -c '"epoch": 1,')
[ "$log_id" = 1 ] || { echo "FAILED: init left no log"; failures=$((failures + 1)); }
expect 1 "^a does not run" pair status

# What was formatted is not formatted again.
expect 0 "node b is up" pair start
expect 1 "" grep -q "is ready" output
expect 0 "what node a says of the pair" pair status
expect 0 "node a runs already" pair start

# A node that is killed is seen, and its number given to another process is not taken for it.
kill -9 "$(cat run/a/duetd.pid)"
sleep 0.2
expect 1 "^a does not run" pair status
expect 1 "what node b says of the pair" pair status
echo $$ > run/a/duetd.pid
expect 1 "^a does not run" pair status
expect 0 "node a is up" pair start

: > order
expect 0 "shelf2 is stopped" pair stop
[ "$(sort order | tr '\n' ' ')" = "a ends b ends " ] ||
  { echo "FAILED: not both nodes ended in order: $(cat order)"; failures=$((failures + 1)); }
expect 1 "shelf1 does not run" pair status
expect 0 "a is stopped" pair stop

# From nothing, in one step; and a node that does not come up is told with its last words.
rm -rf run order
touch broken
expect 1 "duetd: it is broken" pair start
rm broken
expect 0 "node a is up" pair start
expect 0 "b runs" pair status
expect 0 "" pair stop

# The samples on redundancy groups: disks as they name them, groups made, clean.
export DUET_PAIR_DISK=320M  # one of their virtual disks is of 1 GiB
for each in pair-raid pair-shared; do
  rm -rf run order
  config=$sample/$each.yaml
  expect 0 "redundancy group tank" pair --config "$config" start
  expect 0 "b runs" pair --config "$config" status
  expect 0 "shelf2 is stopped" pair --config "$config" stop
  expect 0 "shelf1 runs|shelf1 serves" pair --config "$config" shelves
  expect 0 "filer b: clean" "$bin/duet" --config "$config" check
  expect 0 "" pair --config "$config" stop
done
expect 0 "shelf1 serves c0 c2 c4 c6" pair --config "$sample/pair-shared.yaml" shelves
expect 0 "" pair stop
expect 2 "names no disk there: shelf.unix://run/shelf1.sock#NAME" pair --config "$sample/everything.yaml" shelves

[ $failures = 0 ] && echo "all as promised"
exit $((failures > 0))
