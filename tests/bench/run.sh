#!/bin/bash
# The comparison of docs/PERFORMANCE.md in one go: Duet, nfs-ganesha on ext4 and on tmpfs, and the
# null server (the ceiling), alternating, with one client.  `run.sh --help` says the rest.
set -u
. "$(dirname "$0")/common.sh"
. "$BENCH/ganesha.sh"

usage() {
  cat <<'TEXT'
usage: tests/bench/run.sh [--rounds N] [--seconds S] [--quick] [--servers "LIST"] [--only "LIST"]
                          [--work DIR] [--out DIR] [--strict]
  --rounds N    rounds over all servers, alternating; medians are reported (default 5)
  --seconds S   length of one measurement (default 1)
  --quick       only the lines that have a bar, three rounds of 0.7 s
  --servers L   of: null duet ganesha-ext4 ganesha-tmpfs (default all)
  --only L      workloads with depth, as "getattr:16 write1m:4"
  --work DIR    disk images and Ganesha's tree; on ext4 (default: a new directory under build/)
  --out DIR     results.json, report.md, performance.svg (default build/bench)
  --strict      exit code 1 unless every bar is met
Programs are taken from $DUET_BIN or build/release/bin.  Exit code 2: could not run.
TEXT
}

ROUNDS=5 SECONDS_EACH=1 QUICK= SERVERS="null duet ganesha-ext4 ganesha-tmpfs" ONLY= STRICT=
WORK= OUT=$REPOSITORY/build/bench
while [ $# -gt 0 ]; do
  case $1 in
    --rounds) ROUNDS=$2; shift ;;
    --seconds) SECONDS_EACH=$2; shift ;;
    --quick) QUICK=1 ROUNDS=3 SECONDS_EACH=0.7 ;;
    --servers) SERVERS=$2; shift ;;
    --only) ONLY=$2; shift ;;
    --work) WORK=$2; shift ;;
    --out) OUT=$2; shift ;;
    --strict) STRICT=--strict ;;
    *) usage; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
  shift
done

BARS="getattr:16 read4k:16 write4k:16 create:16 write1m:4 read1m:4 getattr:1 read4k:1 write4k:1 create:1"
ALL=$(for w in getattr read4k write4k create write1m read1m; do for d in 1 4 16; do echo $w:$d; done; done)
[ -n "$ONLY" ] || ONLY=${QUICK:+$BARS}
[ -n "$ONLY" ] || ONLY=$ALL

mkdir -p "$REPOSITORY/build" "$OUT"
[ -n "$WORK" ] || WORK=$(mktemp -d "$REPOSITORY/build/bench-work.XXXXXX")
mkdir -p "$WORK"
SHM=$(mktemp -d /dev/shm/duet-bench.XXXXXX)
clean_up() {
  trap - EXIT INT TERM
  for pid in "${STARTED[@]}"; do end_process "$pid"; done
  rm -rf "$SHM"
  case $WORK in "$REPOSITORY"/build/bench-work.*) rm -rf "$WORK" ;; esac
}
trap clean_up EXIT
trap 'exit 2' INT TERM

note_load
need duet-bench
CLIENT_CPU=0 NULL_CPU=$(($(nproc) > 1 ? 1 : 0))
declare -A PORT MOUNT_PORT
CLIENT=(taskset -c $CLIENT_CPU "$BIN/duet-bench")

start_server() {
  local name=$1 port
  port=$(free_port)
  PORT[$name]=$port MOUNT_PORT[$name]=$port
  case $name in
    null)
      need duet-bench-null
      taskset -c $NULL_CPU "$BIN/duet-bench-null" "$port" &
      STARTED+=($!)
      ;;
    duet)
      need duetd; need duet
      mkdir -p "$WORK/duet"
      write_duet_config "$WORK/duet.yaml" "$WORK/duet" "$SHM" "$port" 4GiB 512MiB 1GiB
      "$BIN/duet" init --config "$WORK/duet.yaml" >"$WORK/duet-init.log" 2>&1 ||
        { cat "$WORK/duet-init.log" >&2; give_up "duet init failed"; }
      start_duet "$WORK/duet.yaml" "$port" "$WORK/duetd.log"
      ;;
    ganesha-ext4|ganesha-tmpfs)
      [ -x "$GANESHA_PROGRAM" ] || give_up "no nfs-ganesha: apt-get install nfs-ganesha nfs-ganesha-vfs, or leave it out with --servers"
      local root=$WORK/ganesha
      [ "$name" = ganesha-tmpfs ] && root=$SHM/ganesha
      mkdir -p "$root" "$WORK/$name"
      local type
      type=$(stat -f -c %T "$root")
      [[ $type = ext* || $type = tmpfs ]] || say "note: $root is on $type, not ${name#ganesha-}"
      start_ganesha "$name" "$root" "$port" "$WORK/$name" "$BIN/rpcb_shim.so"
      STARTED+=("$GANESHA_PID")
      MOUNT_PORT[$name]=$((port + 1))
      ;;
    *) give_up "unknown server $name" ;;
  esac
  "$BIN/duet-bench" --wait 30 --port "$port" --mount-port "${MOUNT_PORT[$name]}" >/dev/null ||
    give_up "$name does not answer"
}

for server in $SERVERS; do start_server "$server"; done
# Nobody's first gigabyte counts: memory and disk blocks that were never touched are slow for all.
for server in $SERVERS; do
  "${CLIENT[@]}" --port "${PORT[$server]}" --mount-port "${MOUNT_PORT[$server]}" \
    --workload write1m --depth 4 --seconds 3 >/dev/null || give_up "$server failed to warm up"
done
RAW=$OUT/raw.jsonl
: >"$RAW"
for round in $(seq "$ROUNDS"); do
  for what in $ONLY; do
    for server in $SERVERS; do
      line=$("${CLIENT[@]}" --port "${PORT[$server]}" --mount-port "${MOUNT_PORT[$server]}" \
        --workload "${what%:*}" --depth "${what#*:}" --seconds "$SECONDS_EACH") ||
        give_up "$server failed at $what"
      echo "{\"server\": \"$server\", \"round\": $round, ${line#\{}" >>"$RAW"
    done
  done
  say "round $round of $ROUNDS done"
done
python3 "$BENCH/report.py" --raw "$RAW" --out "$OUT" $STRICT
