#!/bin/bash
# A pair on SCSI disks with real persistent reservations: networks_test.sh in a guest that has a target
# (user-mode Linux with LIO).  Needs no privileges; ends with 77 and the reason where it cannot.
# Usage: units_test.sh BIN UNITS SCENARIO[,SCENARIO ...] [ROUNDS]
#   UNITS   block: disks of the kernel; iscsi: through libiscsi
# With RAID=LEVEL all of them are one group of that level, which both filers share.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
bin=$(realpath "$1")
cannot() { echo "SKIPPED: $*"; exit 77; }
"$here/tests/guest/boot.sh" --check || exit 77
command -v iscsid >/dev/null || cannot "needs the package open-iscsi"
command -v ip >/dev/null || cannot "needs the package iproute2"
case $bin in
  /tmp/* | /run/* | /mnt/* | /var/tmp/*) cannot "the guest has its own /tmp, /run, /mnt and /var/tmp: build elsewhere" ;;
esac

work=$(mktemp -d "$bin/../units.XXXXXX")
trap 'rm -rf "$work"' EXIT
timeout -k 10 900 "$here/tests/guest/boot.sh" "$work" "$here/tests/faults/units_init.sh" mem=5G TESTS="$here/tests" \
  BIN="$bin" UNITS="$2" SCENARIOS="$3" ROUNDS="${4:-1}" RAID="${RAID:-}" SEED="${SEED:-$RANDOM}" >"$work/console"
cat "$work/guest.log" 2>/dev/null
[ "$(cat "$work/result" 2>/dev/null)" != good ] || exit 0
echo "guest: $(cat "$work/result" 2>/dev/null || echo "did not come to its end; its console:")"
[ -e "$work/result" ] || tail -n 20 "$work/console"
tail -n 30 "$work/dmesg" 2>/dev/null
exit 1
