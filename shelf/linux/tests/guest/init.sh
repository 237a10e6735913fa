#!/bin/bash
# Process 1 of a user-mode Linux guest: a SCSI target with two units, each reached through four
# initiator ports, and the tests.  The words of the kernel command line are variables here: OUT
# (shared directory on the host), PROGRAM, FILTER.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8
cd /
[ $$ = 1 ] || { echo "only for process 1 of a guest: it mounts over what is there"; exit 2; }
mount -t proc none /proc
mount -t sysfs none /sys
mountpoint -q /dev || mount -t devtmpfs none /dev
for directory in /tmp /run /mnt /var/tmp; do mount -t tmpfs none "$directory"; done
mkdir -p /mnt/out
mount -t hostfs none /mnt/out -o "$OUT"
exec >>/mnt/out/log 2>&1

finish() {
  dmesg >/mnt/out/dmesg
  echo "$1" >/mnt/out/result
  sync
  busybox poweroff -f
  sleep 60
}
modprobe -q -d /mnt/out/kernel -a target_core_mod target_core_file tcm_loop sd_mod dm-mod dm-multipath \
  dm-round-robin || finish "no modules for a SCSI target"
mount -t configfs none /sys/kernel/config || finish "no configfs"
target=/sys/kernel/config/target
mkdir -p /run/target/pr
echo /run/target >$target/dbroot  # where the target keeps what must survive it
[ -d $target/core ] || finish "no SCSI target"

# unit NAME BLOCK-BYTES: 8 MiB in a file, with a write cache, behind four ports; prints their devices.
unit() {
  local unit=$target/core/fileio_$2/$1 port device found
  mkdir -p "$unit" && truncate -s 8M "/run/$1" || return 1
  echo "fd_dev_name=/run/$1,fd_dev_size=8388608,fd_buffered_io=1" >"$unit/control" || return 1
  echo "$2" >"$unit/attrib/block_size"
  echo 1 >"$unit/enable" || return 1
  echo "$2" >"$unit/attrib/block_size"
  echo "duet-$1" >"$unit/wwn/vpd_unit_serial"
  for port in 1 2 3 4; do
    local group=$target/loopback/naa.6001405$(printf '%05x' "$2")000$port/tpgt_1
    mkdir -p "$group" && echo "naa.6001406$(printf '%05x' "$2")000$port" >"$group/nexus" || return 1
    found=$(ls /dev | grep -E '^sd[a-z]$' | wc -l)
    mkdir -p "$group/lun/lun_0" && ln -s "$unit" "$group/lun/lun_0/unit" || return 1
    for _ in $(seq 100); do
      device=$(ls -t /dev | grep -E '^sd[a-z]$' | wc -l)
      [ "$device" = "$found" ] || break
      sleep 0.05
    done
    printf '/dev/sd%s ' "$(printf "\\$(printf '%03o' $((97 + found)))")"
  done
}
small=$(unit d0 512) || finish "no unit of 512-byte blocks"
large=$(unit d1 4096) || finish "no unit of 4096-byte blocks"
echo "guest: $(uname -r), $small, $large"

failed=
run() {
  echo "guest: $1"
  shift
  env "$@" "$PROGRAM" --gtest_filter="$FILTER" --gtest_brief=1 </dev/null || failed=yes
}
[ -b /dev/ubda ] || finish "no disk without reservations"
set -- $large
sectors=$(cat /sys/block/"${4#/dev/}"/size)
dmsetup create -v plain --noudevsync --table "0 $sectors linear $4 0" >/dev/null || finish "no mapped device"
dmsetup mknodes
refused="/dev/ubda /dev/mapper/plain"
run "blocks of 4096 bytes" DUET_PORTS="$large" DUET_SWAPS=1 DUET_REFUSED="$refused"
cat $target/core/fileio_4096/d1/pr/res_aptpl_active
run "blocks of 512 bytes" DUET_PORTS="$small" DUET_REFUSED="$refused"

# One node with two paths; its fence must hold on both.
set -- $small
sectors=$(cat /sys/block/"${1#/dev/}"/size)
dmsetup create paths --noudevsync --uuid mpath-duet --table \
  "0 $sectors multipath 0 0 1 1 round-robin 0 2 1 $1 1 $4 1" >/dev/null || finish "no multipath device"
dmsetup mknodes
run "two paths" DUET_PORTS="/dev/mapper/paths $2 $3" DUET_REFUSED="$refused"
[ -z "$failed" ] || finish "tests failed"
finish good
