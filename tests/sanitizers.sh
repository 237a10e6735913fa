#!/bin/sh
# Builds one sanitizer preset and runs tests in it.
# Usage: tests/sanitizers.sh asan|tsan [CTEST OPTION ...]
#   asan  the unit tests and the fast tier
#   tsan  of those, what has threads; see below
# Seeded bugs and the benchmark are left out of both builds: nothing here runs them.
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
export ASAN_OPTIONS=detect_stack_use_after_return=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export TAIL=200  # of a server's trace when a test fails: all of a report

# Everything that is not listed runs on one thread, in the simulator or in its tests: there is no
# race to be found in it, and it is most of what takes time.  Two threads meet in the schedulers'
# remote lists, in the pool of disk threads, in the HTTP server and in a duetd of several reactors;
# the rest of the list shares memory or descriptors between processes.
threaded="platform_linux_test interconnect_linux_test shelf_linux_test shelf_iscsi_test
  shelf_program_test supervisor_test admin_http_test daemon_test duet_mirror_test
  duetd duetd_next duet duet-shelf duet-demo-client"
single_threaded='^(Sim|PairSim|Crash)\.'  # of the fast tier; unit tests that are not built are no tests

case "$preset" in
  asan) targets=all without='^$' ;;
  tsan) targets=$threaded without="_NOT_BUILT\$|$single_threaded" ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

# shellcheck disable=SC2086  # one word per target
deploy/build.sh "$preset" $targets
exec ctest --test-dir "build/$preset" --parallel "$(nproc)" --output-on-failure --no-label-summary \
  --label-exclude 'full|long|release-only' --exclude-regex "$without" "$@"
