#!/bin/bash
# How fast redundancy groups are (docs/PERFORMANCE.md): builds the benchmark and runs it.
set -u
. "$(dirname "$0")/common.sh"

usage() {
  cat <<'TEXT'
usage: tests/bench/raid.sh [--build DIR] [--out DIR] [options of duet-raid-bench]
  --build DIR  a build directory (default build/release; made when it is not there)
  --out DIR    raid.txt (default build/bench)
  --rounds N   of what is compared, in turn; medians are reported (default 7)
  --only LIST  of 1 parity, 2 whole stripes, 3 locks, 4 rebuild, 5 growth, 6 changes
  --strict     exit code 1 unless every bar is met
One core is enough; processor time is what counts, so others may be at work beside it.
Exit code 2: could not run.
TEXT
}

BUILD=$REPOSITORY/build/release OUT=$REPOSITORY/build/bench OPTIONS=()
while [ $# -gt 0 ]; do
  case $1 in
    --build) BUILD=$2; shift 2 ;;
    --out) OUT=$2; shift 2 ;;
    --rounds | --only) OPTIONS+=("$1" "$2"); shift 2 ;;
    --strict) OPTIONS+=("$1"); shift ;;
    *) usage; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
done
note_load
if [ ! -f "$BUILD/build.ninja" ]; then
  cmake -G Ninja -S "$REPOSITORY" -B "$BUILD" -DCMAKE_BUILD_TYPE=RelWithDebInfo >&2 || exit 2
fi
ninja -C "$BUILD" duet_raid_bench >&2 || exit 2
mkdir -p "$OUT"
"$BUILD/bin/duet-raid-bench" "${OPTIONS[@]}" | tee "$OUT/raid.txt"
exit "${PIPESTATUS[0]}"
