#!/bin/bash
# Shows Duet at work on real files, and proves what it shows: one filer through a crash, then a pair
# through the death of a node.  Usage:
#   deploy/demo.sh [--keep] [--tree DIR] [--files N] [--clients N] [--bin DIR]
#     --keep       leaves the pair running and prints how to use it
#     --tree DIR   what is copied (default /usr/include);  --files N: at most so many (default 6000)
#     --clients N  NFS clients at once, of each filer (default 4)
#     --bin DIR    programs that are built already (default: installs packages and builds)
# Needs no privileges except for missing packages; writes only below directories of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=() tree=/usr/include files=6000 clients=4 bin=
while [ $# -gt 0 ]; do
  case "$1" in
    --keep) keep=(--keep); shift ;;
    --tree) tree=$2; shift 2 ;;
    --files) files=$2; shift 2 ;;
    --clients) clients=$2; shift 2 ;;
    --bin) bin=$2; shift 2 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "demo: $1 is not known; see --help" >&2; exit 2 ;;
  esac
done

if [ -z "$bin" ]; then
  deploy/install_packages.sh build
  deploy/build.sh release duet duetd duet-shelf duet-demo-client
  bin=$PWD/build/release/bin
fi

echo "--- One filer: every acknowledged file survives a kill -9"
deploy/demo/one_filer.sh --bin "$bin" --tree "$tree" --files "$files" --clients "$clients"
echo
echo "--- A pair: a node dies, its clients go on"
deploy/demo/pair.sh --bin "$bin" --clients "$clients" "${keep[@]}"
