#!/bin/bash
# Process 1 of a user-mode Linux guest: a SCSI target (LIO) with two units, sessions of the kernel's
# iSCSI initiator to them through ports of their own, and the tests.  The words of the kernel command
# line are variables here: OUT (shared directory on the host), TESTS (the tests of the repository), PROGRAM, FILTER.
#
# Not tcm_loop: its PREEMPT AND ABORT waits for itself (kernels since 5.13 flush the queue that the
# command itself is in).
. "$TESTS/guest/begin.sh"
modprobe -q -d /mnt/out/kernel -a target_core_mod target_core_file iscsi_target_mod iscsi_tcp sd_mod dm-mod \
  dm-multipath dm-round-robin || finish "no modules for a SCSI target"
mount -t configfs none /sys/kernel/config || finish "no configfs"
target=/sys/kernel/config/target
mkdir -p /run/target/pr $target/iscsi
echo /run/target >$target/dbroot  # where the target keeps what must survive it

mkdir /run/etc && cp /etc/iscsi/iscsid.conf /run/etc && mount --bind /run/etc /etc/iscsi
echo InitiatorName=iqn.2026-01.org.duet-nas.test:guest >/etc/iscsi/initiatorname.iscsi
mkdir -p /run/lock
iscsid -f >/mnt/out/iscsid.log 2>&1 &
for _ in $(seq 300); do
  grep -q ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix && break
  sleep 0.1
done

# unit NAME BLOCK-BYTES: 8 MiB in a file, with a write cache, behind a target.
unit() {
  local unit=$target/core/fileio_$2/$1 group=$target/iscsi/$iqn:$1/tpgt_1
  mkdir -p "$unit" && truncate -s 8M "/run/$1" || return 1
  echo "fd_dev_name=/run/$1,fd_dev_size=8388608,fd_buffered_io=1" >"$unit/control" || return 1
  echo 1 >"$unit/enable" && echo "$2" >"$unit/attrib/block_size" || return 1
  echo "duet-$1" >"$unit/wwn/vpd_unit_serial"
  mkdir -p "$group" "$group/np/127.0.0.1:3260" "$group/lun/lun_0" || return 1
  ln -s "$unit" "$group/lun/lun_0/unit" || return 1
  echo 0 >"$group/attrib/authentication"
  echo 1 >"$group/attrib/generate_node_acls"
  echo 1 >"$group/attrib/cache_dynamic_acls"
  echo 0 >"$group/attrib/demo_mode_write_protect"
  echo 1 >"$group/enable"
}

# ports NAME: logs in four times, as four initiators; prints the devices.
ports() {
  local port block session
  for port in 1 2 3 4; do
    iscsiadm -m iface -I "$1-$port" -o new >/dev/null 2>&1
    iscsiadm -m iface -I "$1-$port" -o update -n iface.initiatorname -v "$iqn:$1-$port" >/dev/null || return 1
    iscsiadm -m node -T "$iqn:$1" -p 127.0.0.1:3260 -I "$1-$port" -o new >/dev/null || return 1
    iscsiadm -m node -T "$iqn:$1" -p 127.0.0.1:3260 -I "$1-$port" -l >/mnt/out/login 2>&1 ||
      { cat /mnt/out/login >&2; return 1; }
    for _ in $(seq 100); do
      for session in /sys/class/iscsi_session/session*; do
        [ "$(cat "$session/initiatorname")" = "$iqn:$1-$port" ] || continue
        block=$(ls -d "$session"/device/target*/*/block/sd* 2>/dev/null)
      done
      [ -n "$block" ] && [ -b "/dev/${block##*/}" ] && break
      sleep 0.1
    done
    [ -b "/dev/${block##*/}" ] || return 1
    echo -n "/dev/${block##*/} "
    block=
  done
}
iqn=iqn.2026-01.org.duet-nas.test
unit d0 512 || finish "no unit of 512-byte blocks"
unit d1 4096 || finish "no unit of 4096-byte blocks"
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
