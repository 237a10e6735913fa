#!/bin/bash
# What must not get worse as a filer grows: creates in a large directory, start-up, replay of a full
# log, the delay of a snapshot, resident memory.  `growth.sh --help` says the rest.
set -u -o pipefail
. "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
usage: tests/bench/growth.sh [--entries N] [--rounds N] [--work DIR] [--out DIR] [--strict]
  --entries N  files in the large directory (default 1000000; 1000 in the small one)
  --rounds N   alternating measurements of the create rate (default 5)
  --work DIR   disk images (default: a new directory under build/)
  --out DIR    growth.json and growth.md (default build/bench)
  --strict     exit code 1 unless every bar is met
Programs are taken from $DUET_BIN or build/release/bin.  Exit code 2: could not run.
TEXT
}

ENTRIES=1000000 ROUNDS=5 WORK= OUT=$REPOSITORY/build/bench STRICT=
while [ $# -gt 0 ]; do
  case $1 in
    --entries) ENTRIES=$2; shift ;;
    --rounds) ROUNDS=$2; shift ;;
    --work) WORK=$2; shift ;;
    --out) OUT=$2; shift ;;
    --strict) STRICT=1 ;;
    *) usage; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
  shift
done
note_load
need duetd; need duet; need duet-bench
mkdir -p "$REPOSITORY/build" "$OUT"
[ -n "$WORK" ] || WORK=$(mktemp -d "$REPOSITORY/build/growth-work.XXXXXX")
mkdir -p "$WORK"
SHM=$(mktemp -d /dev/shm/duet-growth.XXXXXX)
clean_up() {
  trap - EXIT INT TERM
  for pid in "${STARTED[@]}"; do end_process "$pid"; done
  rm -rf "$SHM"
  case $WORK in "$REPOSITORY"/build/growth-work.*) rm -rf "$WORK" ;; esac
}
trap clean_up EXIT
trap 'exit 2' INT TERM

PORT=$(free_port)
CONFIG=$WORK/duet.yaml CACHE_MIB=512
# 256 MiB of memory: two areas of two halves of 64 MiB.
write_duet_config "$CONFIG" "$WORK" "$SHM" "$PORT" 8GiB ${CACHE_MIB}MiB 256MiB
"$BIN/duet" init --config "$CONFIG" >"$WORK/init.log" 2>&1 || { cat "$WORK/init.log" >&2; give_up "duet init failed"; }
RESULTS=$WORK/results.tsv
# result NAME MEASURED UNIT at-most|at-least BAR
result() { printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$RESULTS"; say "$1: $2 $3 (wanted $4 $5)"; }
compute() { awk "BEGIN { printf \"%.3f\", $* }"; }
bench() { "$BIN/duet-bench" --port "$PORT" "$@" || give_up "duet-bench $* failed"; }
# field NAME: from JSON on standard input, at any depth
field() { python3 -c '
import json, sys
def find(value, name):
    if isinstance(value, dict):
        if name in value: return value[name]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found = find(item, name)
            if found is not None: return found
print(find(json.load(sys.stdin), sys.argv[1]))' "$1"; }
memory_kib() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$DUET_PID/status"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

start_duet "$CONFIG" "$PORT" "$WORK/duetd.log"
(while sleep 0.2; do memory_kib RssAnon; done) >"$WORK/anonymous" 2>/dev/null &
SAMPLER=$!
STARTED+=("$SAMPLER")
say "filling directories with 1000 and $ENTRIES entries"
bench --workload fill --dir small --entries 1000 --depth 16 >/dev/null
FILL=$(bench --workload fill --dir big --entries "$ENTRIES" --depth 16 | field ops_per_s) || exit 2

for _ in $(seq "$ROUNDS"); do
  for directory in small big; do
    bench --workload create --dir $directory --depth 16 --seconds 1 | field ops_per_s >>"$WORK/rate.$directory" || exit 2
  done
done
SMALL=$(median <"$WORK/rate.small") BIG=$(median <"$WORK/rate.big")
say "creates and removes: $SMALL/s in the small directory, $BIG/s in the big one; it was filled at $FILL/s"
result "create rate at $ENTRIES entries against 1,000" "$(compute "$BIG / $SMALL")" times at-least 0.5

# A snapshot under a client that writes and one that reads: the longest wait of either, in the runs
# with a snapshot.  The quiet runs say what of it is the machine's.
longest() {  # WORKLOAD OUTPUT: in the background
  bench --workload "$1" --depth 1 --seconds 2 --warm-up 0.1 | field max_us >>"$2"
}
bench --workload write4k --seconds 0.1 >/dev/null
for n in $(seq 5); do
  for kind in quiet snapshot; do
    longest getattr "$WORK/$kind" & one=$!
    longest write4k "$WORK/$kind" & two=$!
    sleep 0.8
    if [ $kind = snapshot ]; then
      "$BIN/duet" --config "$CONFIG" snapshot create vol0 "growth-$n" >/dev/null || give_up "snapshot create failed"
    fi
    wait $one && wait $two || exit 2
  done
done
worst() { sort -g | tail -1; }
say "longest wait of a call without a snapshot: $(worst <"$WORK/quiet") us"
result "longest wait of a call over 5 snapshots, $ENTRIES files" "$(compute "$(worst <"$WORK/snapshot") / 1000")" ms at-most 50
end_process "$SAMPLER"
say "highest resident memory with the mapped log: $(($(memory_kib VmHWM) / 1024)) MiB"
# The log is persistent memory, not memory of the machine; here it is a file in tmpfs that is mapped.
result "resident memory (without the mapped log) beyond the cache of $CACHE_MIB MiB" \
  "$(compute "$(worst <"$WORK/anonymous") / 1024 - $CACHE_MIB")" MiB at-most 300

end_process "$DUET_PID"
start_duet "$CONFIG" "$PORT" "$WORK/duetd.log"
result "start-up after a clean stop" "$DUET_START_SECONDS" s at-most 2

# A full half: one client writes 4 KiB blocks at depth 1 until the filling half is nearly full, then
# kill -9.  A half that a CP has just taken starts from zero again, so the attempt is repeated.
# replay_full_half WORKLOAD: leaves the seconds in $REPLAY_SECONDS
replay_full_half() {
  local load filled
  "$BIN/duet-bench" --port "$PORT" --workload "$1" --depth 1 --seconds 120 --file-mib 256 >/dev/null 2>&1 &
  load=$!
  STARTED+=("$load")
  filled=$(python3 - "$BIN/duet" "$CONFIG" "$DUET_PID" <<'PY'
import json, os, signal, subprocess, sys, time
duet, config, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
def find(value, name):
    return value.get(name) if name in value else next(
        (f for v in value.values() if isinstance(v, dict) and (f := find(v, name)) is not None), None)
wanted, end = 0.9, time.monotonic() + 100
while True:
    log = json.loads(subprocess.run([duet, "--config", config, "--json", "log"], capture_output=True).stdout)
    share = find(log, "filling_bytes") / find(log, "half_bytes")
    # What cannot be had (a CP that starts earlier) is asked for less and less.
    wanted = 0.9 - 0.8 * max(0, 1 - (end - time.monotonic()) / 60)
    if share >= wanted or time.monotonic() > end:
        os.kill(pid, signal.SIGKILL)
        print(f"{find(log, 'filling_bytes') / (1 << 20):.0f} MiB, {find(log, 'filling_records')} records")
        break
PY
  )
  wait "$DUET_PID" 2>/dev/null
  wait "$load" 2>/dev/null
  start_duet "$CONFIG" "$PORT" "$WORK/duetd.log"
  local log
  log=$("$BIN/duet" --config "$CONFIG" --json log)
  say "killed with $filled in the filling half; replayed $(field replayed_records <<<"$log") records in $(field replay_ms <<<"$log") ms"
}
for load in write4k create; do
  replay_full_half $load
  result "start-up with replay of a full half of the log ($load)" "$DUET_START_SECONDS" s at-most 2
done

end_process "$DUET_PID"
"$BIN/duet" --config "$CONFIG" check >"$WORK/check.log" 2>&1 || { tail -5 "$WORK/check.log" >&2; give_up "duet check found errors"; }

python3 - "$RESULTS" "$OUT" "$STRICT" <<'PY'
import json, sys
rows = [line.rstrip("\n").split("\t") for line in open(sys.argv[1])]
entries, text = [], ["| | measured | wanted | |", "|---|---|---|---|"]
for name, measured, unit, sense, bar in rows:
    met = float(measured) <= float(bar) if sense == "at-most" else float(measured) >= float(bar)
    entries.append({"what": name, "measured": float(measured), "unit": unit, "sense": sense,
                    "wanted": float(bar), "met": met})
    text.append(f"| {name} | {float(measured):g} {unit} | {sense.replace('-', ' ')} {bar} | {'meets' if met else 'BELOW'} |")
with open(f"{sys.argv[2]}/growth.json", "w") as out:
    json.dump(entries, out, indent=1)
with open(f"{sys.argv[2]}/growth.md", "w") as out:
    out.write("\n".join(text) + "\n")
print("\n".join(text))
sys.exit(1 if sys.argv[3] and not all(e["met"] for e in entries) else 0)
PY
