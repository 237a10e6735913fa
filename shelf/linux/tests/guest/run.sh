#!/bin/bash
# Boots user-mode Linux with a SCSI target of its own (LIO) and runs the tests of kernel block devices
# there: guest/run.sh TEST-PROGRAM [GTEST-FILTER]
# Needs user-mode-linux, kmod, dmsetup and open-iscsi, and no privileges; ends with 77 and the reason
# where it cannot.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tests=$(cd "$here/../../../../tests" && pwd)
program=$(realpath "$1")
filter=${2:-*}
cannot() { echo "guest: SKIPPED: $*"; exit 77; }
"$tests/guest/boot.sh" --check || exit 77
command -v dmsetup >/dev/null || cannot "needs the package dmsetup"
command -v iscsid >/dev/null || cannot "needs the package open-iscsi"
[ -e "$(echo /usr/lib/uml/modules/*)/kernel/drivers/target/iscsi/iscsi_target_mod.ko" ] ||
  cannot "needs a target among the modules of user-mode-linux"
case $program in
  /tmp/* | /run/* | /mnt/* | /var/tmp/*) cannot "the guest has its own /tmp, /run, /mnt and /var/tmp: build elsewhere" ;;
esac

work=$(mktemp -d "$(dirname "$program")/guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
truncate -s 8M "$work/plain"  # a disk without reservations
timeout -k 10 600 "$tests/guest/boot.sh" "$work" "$here/init.sh" mem=512M ubd0="$work/plain" \
  TESTS="$tests" PROGRAM="$program" FILTER="$filter" >"$work/console"
cat "$work/guest.log" 2>/dev/null
if [ "$(cat "$work/result" 2>/dev/null)" = good ]; then
  exit 0
fi
echo "guest: $(cat "$work/result" 2>/dev/null || echo "did not come to its end; its console:")"
[ -e "$work/result" ] || tail -n 20 "$work/console"
tail -n 30 "$work/dmesg" 2>/dev/null
exit 1
