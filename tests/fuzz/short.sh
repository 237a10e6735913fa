#!/bin/bash
# short.sh [SECONDS [BUILD]]: builds the fuzzers with clang and runs each for SECONDS (20).
# What crashes one is left in BUILD/crashes, with how to run it again.
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-20}
build=${2:-$source_dir/build/fuzz}
cd "$source_dir" || exit 1
fuzzers="rpc nbd check open directory log link mirror record stream config shelf group"
cmake --preset fuzz -B "$build" >/dev/null || exit 1
cmake --build "$build" --target fuzz_corpus $(printf 'duet_fuzz_%s ' $fuzzers) >"$build/build.log" 2>&1 || {
  tail -30 "$build/build.log"
  exit 1
}
bin=$build/tests/fuzz
mkdir -p "$build/crashes" "$build/corpus/config"
"$bin/fuzz_corpus" "$build/corpus" || exit 1
cp deploy/samples/*.yaml "$build/corpus/config/"
failed=0
for name in $fuzzers; do
  log=$build/fuzz_$name.log
  mkdir -p "$build/found/$name" "$build/corpus/$name"
  if "$bin/duet_fuzz_$name" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -max_len=20000 \
    -artifact_prefix="$build/crashes/$name-" -print_final_stats=1 \
    "$build/found/$name" "$build/corpus/$name" >"$log" 2>&1; then
    echo "$name: $(grep -a number_of_executed_units "$log" | tr -s ' ')"
  else
    failed=1
    echo "$name FAILED:"
    grep -aE 'ERROR|SUMMARY|check failed|Test unit written|#[0-9]+ .*duet' "$log" | head -20
  fi
done
exit $failed
