#!/bin/sh
# Builds one sanitizer preset and runs the unit tests and the fast tier in it.
# Usage: tests/sanitizers.sh asan|tsan
set -eu
cd "$(dirname "$0")/.."
preset=$1
export ASAN_OPTIONS=detect_stack_use_after_return=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
deploy/build.sh "$preset"
exec ctest --test-dir "build/$preset" --parallel "$(nproc)" --output-on-failure --no-label-summary \
  --label-exclude 'full|long|release-only'
