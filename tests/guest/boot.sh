#!/bin/bash
# Boots user-mode Linux over this machine's files (read-only) and waits for its end.
# Usage: tests/guest/boot.sh DIRECTORY INIT [WORD ...]
#   DIRECTORY  of this run: the guest leaves there what it has to say (/mnt/out)
#   INIT       its first process, which begins with begin.sh
#   WORD       of the kernel command line: mem=, devices; NAME=VALUE are variables of INIT
# Its console is the output.  tests/guest/boot.sh --check: 77 and the reason where the machine cannot.
set -u
cannot() { echo "guest: SKIPPED: $*"; exit 77; }
command -v linux.uml >/dev/null || cannot "needs the package user-mode-linux"
command -v modprobe >/dev/null || cannot "needs the package kmod"
modules=$(echo /usr/lib/uml/modules/*)
[ -d "$modules" ] || cannot "needs the modules of user-mode-linux in /usr/lib/uml/modules"
case $(readlink -f "${BASH_SOURCE[0]}") in
  /tmp/* | /run/* | /mnt/* | /var/tmp/*)
    cannot "the guest has its own /tmp, /run, /mnt and /var/tmp: move this clone elsewhere" ;;
esac
[ "${1:-}" != --check ] || exit 0

directory=$1 init=$2
shift 2
mkdir -p "$directory/kernel/lib/modules" "$directory/uml"
ln -s "$modules" "$directory/kernel/lib/modules/"
export TMPDIR=/dev/shm HOME=$directory/uml
if grep -qw amx_tile /proc/cpuinfo; then
  cc -O1 -shared -fPIC -o "$directory/whole_xstate.so" \
    "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/whole_xstate.c" || exit 1
  export LD_PRELOAD=$directory/whole_xstate.so
fi
exec linux.uml umid="guest-$$" uml_dir="$directory/uml/" root=/dev/root rootfstype=hostfs rootflags=/ ro \
  init="$init" con=null con0=null,fd:1 quiet OUT="$directory" "$@" </dev/null 2>&1
