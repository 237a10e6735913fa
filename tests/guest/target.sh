# A SCSI target (LIO) in a guest, and sessions of the kernel's iSCSI initiator to its units; sourced after
# begin.sh.
#
# Not tcm_loop: its PREEMPT AND ABORT waits for itself (kernels since 5.13 flush the queue that the
# command itself is in).
# shellcheck shell=bash
target=/sys/kernel/config/target
iqn=iqn.2026-01.org.duet-nas.test

start_target() {
  modprobe -q -d /mnt/out/kernel -a target_core_mod target_core_file iscsi_target_mod iscsi_tcp sd_mod ||
    finish "no modules for a SCSI target"
  mount -t configfs none /sys/kernel/config || finish "no configfs"
  mkdir -p /run/target/pr $target/iscsi
  echo /run/target >$target/dbroot # where the target keeps what must survive it

  mkdir /run/etc && cp /etc/iscsi/iscsid.conf /run/etc && mount --bind /run/etc /etc/iscsi
  echo InitiatorName=$iqn:guest >/etc/iscsi/initiatorname.iscsi
  mkdir -p /run/lock
  iscsid -f >/mnt/out/iscsid.log 2>&1 &
  for _ in $(seq 300); do
    grep -q ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix && break
    sleep 0.1
  done
}
# A unit in a file, with a write cache, behind a target of its own.
unit() { # NAME BLOCK-BYTES BYTES
  local unit=$target/core/fileio_$2/$1 group=$target/iscsi/$iqn:$1/tpgt_1
  mkdir -p "$unit" && truncate -s "$3" "/run/$1" || return 1
  echo "fd_dev_name=/run/$1,fd_dev_size=$3,fd_buffered_io=1" >"$unit/control" || return 1
  echo 1 >"$unit/enable" && echo "$2" >"$unit/attrib/block_size" || return 1
  echo "duet-$1" >"$unit/wwn/vpd_unit_serial"
  mkdir -p "$group" "$group/np/0.0.0.0:3260" "$group/lun/lun_0" || return 1
  ln -s "$unit" "$group/lun/lun_0/unit" || return 1
  echo 0 >"$group/attrib/authentication"
  echo 1 >"$group/attrib/generate_node_acls"
  echo 1 >"$group/attrib/cache_dynamic_acls"
  echo 0 >"$group/attrib/demo_mode_write_protect"
  echo 1 >"$group/enable"
}
# Logs in to a unit as an initiator of its own; prints the device.
session() { # UNIT INITIATOR
  local initiator=$iqn:$1-$2 block='' session
  iscsiadm -m iface -I "$1-$2" -o new >/dev/null 2>&1
  iscsiadm -m iface -I "$1-$2" -o update -n iface.initiatorname -v "$initiator" >/dev/null || return 1
  iscsiadm -m node -T "$iqn:$1" -p 127.0.0.1:3260 -I "$1-$2" -o new >/dev/null || return 1
  iscsiadm -m node -T "$iqn:$1" -p 127.0.0.1:3260 -I "$1-$2" -l >/mnt/out/login 2>&1 ||
    { cat /mnt/out/login >&2; return 1; }
  for _ in $(seq 100); do
    for session in /sys/class/iscsi_session/session*; do
      [ "$(cat "$session/initiatorname")" = "$initiator" ] || continue
      block=$(ls -d "$session"/device/target*/*/block/sd* 2>/dev/null)
    done
    [ -n "$block" ] && [ -b "/dev/${block##*/}" ] && break
    sleep 0.1
  done
  [ -b "/dev/${block##*/}" ] || return 1
  echo "/dev/${block##*/}"
}
