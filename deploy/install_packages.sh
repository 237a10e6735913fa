#!/bin/sh
# Installs what deploy/packages.txt names and this machine lacks.  Usage:
#   deploy/install_packages.sh [--list] [SET ...]     sets: build test full; without: build test
# Runs apt-get as root, or through sudo; does nothing when all is there.
set -eu
cd "$(dirname "$0")/.."

list_only=no
if [ "${1:-}" = --list ]; then
  list_only=yes
  shift
fi
[ $# -gt 0 ] || set -- build test

wanted=$(for set_name in "$@"; do
  awk -v set_name="$set_name" '$1 == set_name { for (i = 2; i <= NF; i++) print $i }' deploy/packages.txt
done)
if [ "$list_only" = yes ]; then
  printf '%s\n' "$wanted"
  exit 0
fi

missing=
for package in $wanted; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | head -n 1) || state=
  [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing" >&2
as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install_packages: needs root or sudo; run as root: apt-get install$missing" >&2
    exit 2
  fi
  as_root=sudo
fi
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
# shellcheck disable=SC2086  # one word per package
$as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -q --no-install-recommends $missing >&2 </dev/null
