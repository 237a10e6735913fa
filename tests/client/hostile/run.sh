#!/bin/bash
# Strangers against Duet (or nfs-ganesha, to compare): see strangers.py.
# usage: hostile/run.sh [--ganesha] [options of strangers.py]
# Exit code 0 passed, 1 failed, 77 where the machine does not allow even 4000 open files.
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$HERE/../../bench/common.sh"
. "$HERE/../../bench/ganesha.sh"
KIND=duet
if [ "${1:-}" = --ganesha ]; then KIND=ganesha; shift; fi

# Both ends need a descriptor for each of 26,000 connections.  Where the limit cannot be raised the
# crowd is smaller, and that is said.
IDLE=20000 SLOW=5000
ulimit -n 32000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
LIMIT=$(ulimit -n)
if [ "$LIMIT" != unlimited ] && [ "$LIMIT" -lt 27000 ]; then
  [ "$LIMIT" -ge 4000 ] || { echo "strangers: SKIPPED: only $LIMIT open files allowed"; exit 77; }
  IDLE=$(((LIMIT - 1500) * 4 / 5)) SLOW=$(((LIMIT - 1500) / 5))
  echo "strangers: this machine allows $LIMIT open files per process: $IDLE idle and $SLOW slow connections instead of 20000 and 5000"
fi
WORK_IN=${STRANGERS_WORK:-$REPOSITORY/build}
mkdir -p "$WORK_IN"
WORK=$(mktemp -d "$WORK_IN/strangers.XXXXXX")
SHM=$(mktemp -d /dev/shm/duet-strangers.XXXXXX)
clean_up() {
  trap - EXIT INT TERM
  for pid in "${STARTED[@]}"; do end_process "$pid"; done
  rm -rf "$WORK" "$SHM"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

PORT=$(free_port)
if [ $KIND = duet ]; then
  need duetd; need duet; need duet-bench
  write_duet_config "$WORK/duet.yaml" "$WORK" "$SHM" "$PORT" 256MiB 64MiB 256MiB
  "$BIN/duet" init --config "$WORK/duet.yaml" >"$WORK/init.log" 2>&1 || { cat "$WORK/init.log"; exit 1; }
  start_duet "$WORK/duet.yaml" "$PORT" "$WORK/duetd.log"
  PID=$DUET_PID
else
  start_ganesha strangers "$WORK/tree" "$PORT" "$WORK" "$BIN/rpcb_shim.so"
  STARTED+=("$GANESHA_PID")
  PID=$GANESHA_PID
  "$BIN/duet-bench" --wait 30 --port "$PORT" --mount-port $((PORT + 1)) >/dev/null || {
    tail -n 20 "$WORK"/ganesha.log "$WORK"/ganesha.out
    exit 1
  }
fi
python3 "$HERE/strangers.py" --port "$PORT" --pid "$PID" --idle "$IDLE" --slow "$SLOW" "$@"
code=$?
[ $code = 0 ] || tail -n 5 "$WORK"/*.log
exit $code
