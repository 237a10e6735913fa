#!/bin/bash
# The second half of deploy/demo.sh: a pair on this machine, with clients that change, read back and
# compare all the time, through the death of a node, giveback, and a planned takeover.
# Usage: pair.sh --bin DIR --clients N [--keep]
set -euo pipefail
cd "$(dirname "$0")/../.."

keep=no
while [ $# -gt 0 ]; do
  case "$1" in
    --keep) keep=yes; shift; continue ;;
    --bin) bin=$(realpath "$2") ;;
    --clients) clients=$2 ;;
    *) echo "pair.sh: $1 is not known" >&2; exit 2 ;;
  esac
  shift 2
done
sample=$PWD/deploy/samples/pair
pair() { "$sample.sh" --bin "$bin" --config pair.yaml "$@"; }

run=$(mktemp -d "${TMPDIR:-/tmp}/duet-pair.XXXXXX")
cd "$run"
failed=yes
cleanup() {
  touch "$run/stop"
  if [ "$failed" = yes ]; then
    echo "demo: FAILED; the nodes' traces:" >&2
    tail -n 15 run/a/duetd.trace run/b/duetd.trace >&2 || true
  elif [ "$keep" = yes ]; then
    return
  fi
  for process in $workers; do
    kill -9 "$process" 2> /dev/null && wait "$process" 2> /dev/null || true
  done
  pair kill all > /dev/null 2>&1 || true
  cd /
  rm -rf "$run"
}
workers=
trap cleanup EXIT

# The sample, on a port that is free.
port=20049
while (: < "/dev/tcp/127.0.1.1/$port") 2> /dev/null || (: < "/dev/tcp/127.0.1.2/$port") 2> /dev/null; do
  port=$((port + 1))
done
sed "s/20049/$port/" "$sample.yaml" > pair.yaml
began=$(date +%s.%N)
say() {
  printf '%6.1f s  %s\n' "$(echo "$(date +%s.%N) $began" | awk '{print $1 - $2}')" "$*"
}
duet() { "$bin/duet" --config pair.yaml "$@"; }
host_of() { if [ "$1" = a ]; then echo 127.0.1.1; else echo 127.0.1.2; fi; }
client() {  # JOB FILER ...
  local job=$1 filer=$2
  shift 2
  "$bin/duet-demo-client" "$job" --host "$(host_of "$filer")" --port "$port" --export "/vol$filer" \
    --manifest "manifest-$filer" "$@"
}
# Until `duet failover show` says it of the filer, at most 20 s.
wait_until() {  # FILER NODE
  for _ in $(seq 200); do
    if duet failover show | awk -v f="$1" -v n="$2" \
      '$1 == f && $3 == n && /in sync/ { found = 1 } END { exit !found }'; then
      return 0
    fi
    sleep 0.1
  done
  echo "demo: filer $1 is not served and mirrored by node $2" >&2
  return 1
}
# The waits of a filer's clients that began between two moments.
stalls() {  # FILER FROM TO
  awk -v from="$2" -v to="$3" '$1 == "stall" && $5 + $7 / 1000 >= from && $5 < to {
      longest[$3] = longest[$3] > $7 ? longest[$3] : $7 }
    END { for (c in longest) text = text (text == "" ? "" : ", ") longest[c] " ms"
      print (text == "" ? "none above 100 ms" : text) }' "out-$1"
}

pair start > start.out
wait_until a a
wait_until b b
say "two shelves, node a serves /vola on 127.0.1.1:$port, node b /volb on 127.0.1.2:$port; logs mirrored"
for filer in a b; do
  client work "$filer" --clients "$clients" --stop stop > "out-$filer" 2>&1 &
  workers="$workers $!"
done
say "$clients clients of each filer create, append, rename, remove, read back and compare"
sleep 3

killed=$(date +%s.%N)
pair kill a > kill.out
say "kill -9 of node a"
for _ in $(seq 200); do
  ! duet failover show --node b | grep -q '^a .* b .*serving' || break
  sleep 0.05
done
sleep 1
phases=$(duet failover show --node b | grep '^last takeover')
say "$phases"
pair start > start.out
wait_until a b
say "node a is back: it waits for giveback, and mirrors"
gave=$(date +%s.%N)
for _ in $(seq 100); do  # a node that has only just come says so
  ! duet giveback --check > check.out || break
  sleep 0.1
done
say "$(duet giveback)"
wait_until a a
wait_until b b
planned=$(date +%s.%N)
say "planned: $(duet takeover --of b)"
wait_until b a
sleep 1
say "$(duet giveback)"
wait_until b b
sleep 1
ended=$(date +%s.%N)

touch stop
for process in $workers; do
  wait "$process" || { cat out-a out-b >&2; exit 1; }
done
workers=
for filer in a b; do
  say "clients of filer $filer: $(head -n 1 "out-$filer")"
done
say "waits at the kill:     filer a: $(stalls a "$killed" "$gave")"
say "                       filer b: $(stalls b "$killed" "$gave")"
say "waits at the giveback: filer a: $(stalls a "$gave" "$planned")"
say "waits at the planned takeover and giveback: filer b: $(stalls b "$planned" "$ended")"
for filer in a b; do
  say "what every client knows to be there, compared: $(client verify-work "$filer")"
done
if [ "$keep" = no ]; then
  pair stop > stop.out
  pair shelves > start.out
  duet check 2> /dev/null | while read -r line; do say "offline check: $line"; done
  pair stop > stop.out
fi
failed=no
echo "demo: nothing lost, nothing done twice, no client saw an error"

if [ "$keep" = yes ]; then
  cat <<KEEP

The pair runs on (everything is below $run):
  cd $run
  nfs-ls 'nfs://127.0.1.1/vola?version=3&nfsport=$port&mountport=$port'
  sudo mount -t nfs -o vers=3,tcp,port=$port,mountport=$port,nolock 127.0.1.1:/vola /mnt
  $bin/duet --config pair.yaml failover show
  $bin/duet --config pair.yaml takeover --of b
Stop it with: $sample.sh --bin $bin --config pair.yaml stop; rm -r $run
KEEP
fi
