#!/bin/sh
# Installs what is missing, builds, tests.  Usage: tests/run.sh [--fast | --full] [CTEST OPTION ...]
#   --fast   unit tests and the fast tier: under 10 minutes
#   (none)   what fits in an hour: kernel clients, more faults, seeded bugs, crash points, fuzzers
#   --full   the tests labelled "long" too: sanitizers, many rounds of each fault; three hours
# Ends with ctest's own summary and its exit status.  Results: build/release/Testing,
# build/release/test-results.xml (JUnit).
set -eu
cd "$(dirname "$0")/.."

tier=default
case "${1:-}" in
  --fast) tier=fast; shift ;;
  --full) tier=full; shift ;;
  --default) shift ;;
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
case "$tier" in
  fast)    sets='build test';      without='full|long' ;;
  default) sets='build test full'; without='long' ;;
  full)    sets='build test full'; without='^$' ;;
esac

# shellcheck disable=SC2086  # one word per set
deploy/install_packages.sh $sets
deploy/build.sh release
exec ctest --test-dir build/release --parallel "$(nproc)" --output-on-failure --no-label-summary \
  --output-junit test-results.xml --label-exclude "$without" "$@" </dev/null
