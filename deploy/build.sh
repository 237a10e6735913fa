#!/bin/sh
# Configures and builds one preset of this checkout.  Usage: deploy/build.sh [PRESET [TARGET ...]]
# The programs of the release preset (the default) are in build/release/bin.
set -eu
cd "$(dirname "$0")/.."
preset=${1:-release}
[ $# -eq 0 ] || shift
cmake --preset "$preset" >&2
# shellcheck disable=SC2046  # two words per target
cmake --build --preset "$preset" $([ $# -eq 0 ] || echo --target "$@") >&2
