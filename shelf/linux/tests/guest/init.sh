#!/bin/bash
# Process 1 of a user-mode Linux guest: a SCSI target (LIO) with two units, sessions of the kernel's
# iSCSI initiator to them through ports of their own, and the tests.  The words of the kernel command
# line are variables here: OUT (shared directory on the host), TESTS (the tests of the repository), PROGRAM, FILTER.
. "$TESTS/guest/begin.sh"
. "$TESTS/guest/target.sh"
start_target
modprobe -q -d /mnt/out/kernel -a dm-mod dm-multipath dm-round-robin || finish "no modules for multipath"

# Four sessions; prints the devices.
ports() { # UNIT
  local port
  for port in 1 2 3 4; do session "$1" "$port" || return 1; done | xargs
}
unit d0 512 8388608 || finish "no unit of 512-byte blocks"
unit d1 4096 8388608 || finish "no unit of 4096-byte blocks"
set -o pipefail
small=$(ports d0) || finish "no sessions with the target: $small"
large=$(ports d1) || finish "no sessions with the target: $large"
echo "guest: $(uname -r), $small, $large"

failed=
run() {
  echo "guest: $1"
  shift
  env "$@" "$PROGRAM" </dev/null || failed=yes
}
[ -b /dev/ubda ] || finish "no disk without reservations"
set -- $large
sectors=$(cat /sys/block/"${4#/dev/}"/size)
dmsetup create -v plain --noudevsync --table "0 $sectors linear $4 0" >/dev/null || finish "no mapped device"
dmsetup mknodes
refused="/dev/ubda /dev/mapper/plain"
all=GTEST_FILTER=$FILTER
run "blocks of 4096 bytes" DUET_PORTS="$large" DUET_SWAPS=1 DUET_REFUSED="$refused" "$all"
run "blocks of 512 bytes" DUET_PORTS="$small" DUET_REFUSED="$refused" "$all"

# One node with two paths; its fence must hold on both.
set -- $small
sectors=$(cat /sys/block/"${1#/dev/}"/size)
dmsetup create paths --noudevsync --uuid mpath-duet --table \
  "0 $sectors multipath 0 0 1 1 round-robin 0 2 1 $1 1 $4 1" >/dev/null || finish "no multipath device"
dmsetup mknodes
run "two paths" DUET_PORTS="/dev/mapper/paths $2 $3" DUET_REFUSED="$refused" "$all"

# The same units through libiscsi.
set -- $large
run "through libiscsi" DUET_PORTS="iscsi://127.0.0.1/$iqn:d1/0 iscsi://127.0.0.1/$iqn:d1/0 $3" DUET_SWAPS=1 \
  GTEST_FILTER="$FILTER:-*Place*:*WhatCannot*"
[ -z "$failed" ] || finish "tests failed"
finish good
