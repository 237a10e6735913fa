#!/bin/bash
# Process 1 of a user-mode Linux guest: a host that attaches one virtual disk through both nodes with
# the kernel's NBD, puts a multipath device over the two and a file system on that, and lets users
# work there until the test says stop.  The words of the kernel command line are variables here: OUT
# (shared directory), TESTS (this folder), GUEST (address), NODES (addresses of node a, of node b, with
# a comma), PORT, DISK (export), USERS.
. "$TESTS/../guest/begin.sh"
ip link set vec0 up && ip addr add "$GUEST/24" dev vec0 || finish "no network device"
modprobe -d /mnt/out/kernel -a nbd dm-multipath dm-round-robin || finish "no modules"

# Without a timeout the kernel waits for ever for what it had sent when a connection broke.
attach() { # ADDRESS DEVICE
  nbd-client -N "$DISK" -block-size 4096 -timeout 5 "$1" "$PORT" "$2" || finish "$2: not attached"
  dd if="$2" of=/dev/null bs=4096 count=1 iflag=direct || finish "$2: the node does not answer"
}
device_mapper() { dmsetup --noudevrules --noudevsync "$@"; }
mkdir -p /mnt/disk
# Without udev it is /dev/dm-0 and nothing else.
disk=/dev/dm-0

# One node is lost in each round.  Its path stays failed until the host attaches anew.
for round in $(seq "$ROUNDS"); do
  attach "${NODES%,*}" /dev/nbd0
  attach "${NODES#*,}" /dev/nbd1
  echo "0 $(blockdev --getsz /dev/nbd0) multipath 1 queue_if_no_path 0 1 1 round-robin 0 2 1 /dev/nbd0 8 /dev/nbd1 8" |
    device_mapper create host || finish "no multipath device"
  [ "$round" != 1 ] || mkfs.ext4 -q -b 4096 $disk || finish "no file system"
  mount $disk /mnt/disk || finish "not mounted"
  [ "$round" = 1 ] || sha256sum --quiet -c /mnt/out/sums || finish "what was written before is not there"
  rm -rf /mnt/disk/?
  users=
  for number in $(seq "$USERS"); do
    /usr/bin/python3 "$TESTS/kernel_work.py" "host-$number" "/mnt/disk/$number" "/mnt/disk/$number" "/mnt/out/stop-$round" \
      >"/mnt/out/host-$round-$number" 2>&1 </dev/null &
    users="$users $!"
  done
  touch "/mnt/out/working-$round"
  for user in $users; do wait "$user" || finish "users failed"; done
  device_mapper status host >"/mnt/out/paths-$round"
  find /mnt/disk -type f -exec sha256sum {} + >/mnt/out/sums
  umount /mnt/disk || finish "not unmounted"
  e2fsck -fn $disk >"/mnt/out/e2fsck-$round" 2>&1 || finish "the file system is damaged"
  device_mapper remove host || finish "the multipath device is in use"
  nbd-client -d /dev/nbd0
  nbd-client -d /dev/nbd1
done
finish good
