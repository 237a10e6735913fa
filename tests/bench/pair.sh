#!/bin/bash
# What a pair costs, and how long its clients wait.  `pair.sh --help` says the rest.
set -u
. "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
usage: tests/bench/pair.sh [--rounds N] [--seconds S] [--kills N] [--moves N] [--out DIR]
  Cost: one node alone (plain disks), a pair whose log is mirrored over shared memory, the same pair
  with its partner stopped (solo: the same disks, no mirror), and a pair over TCP with TLS; alternating,
  one client; medians and ratios.
  Memories are files on tmpfs, which stand in for persistent memory.
  Waits: N times kill -9 of a node, N planned takeovers and givebacks, under clients that write.
  --rounds N   (default 5)   --seconds S of one measurement (default 1)
  --kills N    (default 20)  --moves N (default 10)
  --out DIR    results (default build/bench)
Programs are taken from $DUET_BIN or build/release/bin.  Exit code 2: could not run.
TEXT
}

ROUNDS=5 SECONDS_EACH=1 KILLS=20 MOVES=10 OUT=$REPOSITORY/build/bench
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) ROUNDS=$2 ;;
    --seconds) SECONDS_EACH=$2 ;;
    --kills) KILLS=$2 ;;
    --moves) MOVES=$2 ;;
    --out) OUT=$2 ;;
    *) usage; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
  shift 2
done
for program in duet-bench duetd duet duet-shelf duet-demo-client; do need "$program"; done
mkdir -p "$REPOSITORY/build" "$OUT"
WORK=$(mktemp -d "$REPOSITORY/build/bench-pair.XXXXXX")
MEMORIES=$(mktemp -d /dev/shm/duet-bench-pair.XXXXXX)
PAIRS=()
pair() {  # NAME VERB...
  (cd "$WORK/$1" && shift && "$REPOSITORY/deploy/samples/pair.sh" --bin "$BIN" --config pair.yaml "$@")
}
clean_up() {
  trap - EXIT INT TERM
  for pid in "${STARTED[@]}"; do end_process "$pid"; done
  for name in "${PAIRS[@]}"; do pair "$name" kill all >/dev/null 2>&1; done
  rm -rf "$WORK" "$MEMORIES"
}
trap clean_up EXIT
trap 'exit 2' INT TERM
note_load

PORT_ALONE=$(free_port)
mkdir -p "$WORK/alone"
write_duet_config "$WORK/alone.yaml" "$WORK/alone" "$MEMORIES" "$PORT_ALONE" 4GiB 256MiB 512MiB
"$BIN/duet" init --config "$WORK/alone.yaml" >"$WORK/init.log" 2>&1 || give_up "duet init failed: $(cat "$WORK/init.log")"
start_duet "$WORK/alone.yaml" "$PORT_ALONE" "$WORK/alone.log"

declare -A PORT
make_pair() {  # NAME TRANSPORT
  PORT[$1]=$(free_port)
  mkdir -p "$WORK/$1" "$MEMORIES/$1"
  PAIRS+=("$1")
  sed -e "s/20049/${PORT[$1]}/" -e 's/cache: 128MiB/cache: 256MiB/' -e 's/size: 128MiB/size: 512MiB/' \
    -e "s#path: run/\(.\)/\(.*\).pmem#path: $MEMORIES/$1/\1-\2.pmem#" \
    "$REPOSITORY/deploy/samples/pair.yaml" >"$WORK/$1/pair.yaml"
  if [ "$2" = tcp ]; then
    local link
    link=$(free_port)
    (umask 077; od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$WORK/$1/link.key")
    sed -i -e 's/transport: shared-memory.*/transport: tcp/' -e 's/directory: run\/link/key_file: link.key/' \
      -e "s/^  a:\n    memory/&/" "$WORK/$1/pair.yaml"
    python3 - "$WORK/$1/pair.yaml" "$link" <<'PY'
import sys
path, port = sys.argv[1], int(sys.argv[2])
text = open(path).read()
nodes, filers = text.split("filers:", 1)
for node, number in (("a", port), ("b", port + 1)):
    nodes = nodes.replace(f"\n  {node}:\n", f"\n  {node}:\n    interconnect:\n      address: 127.0.0.1\n      port: {number}\n", 1)
open(path, "w").write(nodes + "filers:" + filers)
PY
  fi
  DUET_PAIR_DISK=2G pair "$1" shelves >"$WORK/$1/shelves.log" 2>&1
  for node in $([ "$2" = tcp ] && echo a b || echo both); do  # two machines, as far as `duet init` knows
    # shellcheck disable=SC2046
    (cd "$WORK/$1" && "$BIN/duet" --config pair.yaml $([ $node = both ] || echo --node $node) init) \
      >"$WORK/$1/init.log" 2>&1 || give_up "duet init of the pair $1 failed: $(tail -n 3 "$WORK/$1/init.log")"
  done
  mkdir -p "$WORK/$1/run/a" && : >"$WORK/$1/run/a/nvlog.pmem"  # for `start`: it was formatted
  DUET_PAIR_DISK=2G pair "$1" start >"$WORK/$1/start.log" 2>&1 || give_up "the pair $1 does not start: $(tail -n 5 "$WORK/$1/start.log")"
  for _ in $(seq 100); do
    "$BIN/duet" --config "$WORK/$1/pair.yaml" failover show >/dev/null 2>&1 || true
    [ "$(cd "$WORK/$1" && "$BIN/duet" --config pair.yaml failover show | grep -c 'in sync')" = 2 ] && return
    sleep 0.2
  done
  give_up "the pair $1 does not mirror"
}
measure() {  # SERVER WORKLOAD:DEPTH
  case $1 in
    alone) "$BIN/duet-bench" --port "$PORT_ALONE" --export /vol0 --workload "${2%:*}" --depth "${2#*:}" --seconds "$SECONDS_EACH" ;;
    *) "$BIN/duet-bench" --host 127.0.1.1 --port "${PORT[$1]}" --export /vola --workload "${2%:*}" --depth "${2#*:}" --seconds "$SECONDS_EACH" ;;
  esac
}

make_pair mirrored shared-memory
make_pair solo shared-memory
make_pair tls tcp
(cd "$WORK/solo" && "$REPOSITORY/deploy/samples/pair.sh" --bin "$BIN" --config pair.yaml kill b >/dev/null)
sleep 3
RAW=$OUT/pair.jsonl
: >"$RAW"
for server in alone mirrored solo tls; do measure "$server" write1m:4 >/dev/null || give_up "$server failed to warm up"; done
for round in $(seq "$ROUNDS"); do
  for what in write4k:16 create:16 write1m:4 write4k:1 read4k:16; do
    for server in alone mirrored solo tls; do
      line=$(measure "$server" "$what") || give_up "$server failed at $what"
      echo "{\"server\": \"$server\", \"round\": $round, ${line#\{}" >>"$RAW"
    done
  done
  say "round $round of $ROUNDS done"
done
for pid in "${STARTED[@]}"; do end_process "$pid"; done
STARTED=()
for name in "${PAIRS[@]}"; do pair "$name" kill all >/dev/null; done
PAIRS=()

say "kills: $KILLS"
"$REPOSITORY/tests/faults/faults_test.sh" "$BIN" kills "$KILLS" >"$OUT/pair-kills.txt" 2>&1 || give_up "kills failed: $(tail -n 3 "$OUT/pair-kills.txt")"
say "moves: $MOVES"
"$REPOSITORY/tests/faults/faults_test.sh" "$BIN" moves "$MOVES" >"$OUT/pair-moves.txt" 2>&1 || give_up "moves failed: $(tail -n 3 "$OUT/pair-moves.txt")"
say "frozen: 5"
"$REPOSITORY/tests/faults/faults_test.sh" "$BIN" frozen 5 >"$OUT/pair-frozen.txt" 2>&1 || give_up "frozen failed: $(tail -n 3 "$OUT/pair-frozen.txt")"
python3 "$BENCH/pair_report.py" "$OUT"
