#!/bin/bash
# Boots user-mode Linux with a SCSI target of its own (LIO) and runs the tests of kernel block devices
# there: guest/run.sh TEST-PROGRAM [GTEST-FILTER]
# Needs user-mode-linux, kmod, dmsetup and open-iscsi, and no privileges; ends with 77 and the reason
# where it cannot.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$1")
filter=${2:-*}
cannot() { echo "guest: SKIPPED: $*"; exit 77; }
command -v linux.uml >/dev/null || cannot "needs the package user-mode-linux"
command -v modprobe >/dev/null || cannot "needs the package kmod"
command -v dmsetup >/dev/null || cannot "needs the package dmsetup"
command -v iscsid >/dev/null || cannot "needs the package open-iscsi"
modules=$(echo /usr/lib/uml/modules/*)
[ -e "$modules/kernel/drivers/target/iscsi/iscsi_target_mod.ko" ] ||
  cannot "needs the modules of user-mode-linux in /usr/lib/uml/modules"
for place in "$here/" "$program"; do
  case $place in
    /tmp/* | /run/* | /mnt/* | /var/tmp/*)
      cannot "the guest has its own /tmp, /run, /mnt and /var/tmp: move this clone elsewhere" ;;
  esac
done

work=$(mktemp -d "$(dirname "$program")/guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/kernel/lib/modules" "$work/uml"
ln -s "$modules" "$work/kernel/lib/modules/"
truncate -s 8M "$work/plain"  # a disk without reservations
TMPDIR=/dev/shm HOME=$work/uml timeout -k 10 600 linux.uml mem=512M ubd0="$work/plain" umid=duet-disks-$$ uml_dir="$work/uml/" \
  root=/dev/root rootfstype=hostfs rootflags=/ ro init="$here/init.sh" con=null con0=null,fd:1 quiet \
  OUT="$work" PROGRAM="$program" FILTER="$filter" </dev/null >"$work/console" 2>&1
cat "$work/log" 2>/dev/null
if [ "$(cat "$work/result" 2>/dev/null)" = good ]; then
  exit 0
fi
echo "guest: $(cat "$work/result" 2>/dev/null || echo "did not come to its end; its console:")"
[ -e "$work/result" ] || tail -n 20 "$work/console"
tail -n 30 "$work/dmesg" 2>/dev/null
exit 1
