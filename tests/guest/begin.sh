# What the first process of a guest does first, sourced: file systems of its own, and /mnt/out, the
# directory that boot.sh was given (OUT on the kernel command line).  Leaves `finish`.
# shellcheck shell=bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8
cd / || exit 1
[ $$ = 1 ] || { echo "only for process 1 of a guest: it mounts over what is there"; exit 2; }
mount -t proc none /proc
mount -t sysfs none /sys
mountpoint -q /dev || mount -t devtmpfs none /dev
mkdir -p /dev/shm
for directory in /tmp /run /mnt /var/lib/nfs /var/tmp /dev/shm; do
  [ ! -d "$directory" ] || mount -t tmpfs none "$directory"
done
mkdir -p /mnt/out
mount -t hostfs none /mnt/out -o "$OUT"
exec >>/mnt/out/guest.log 2>&1
ip link set lo up

# finish WORDS: they are the file `result`; the guest ends.
finish() {
  dmesg >/mnt/out/dmesg
  echo "$1" >/mnt/out/result
  sync
  busybox poweroff -f
  sleep 60
}
# Its tap has this address; and it can mount NFS.
become_nfs_client() { # ADDRESS
  ip link set vec0 up && ip addr add "$1/24" dev vec0 || finish "no network device"
  modprobe -d /mnt/out/kernel -a nfsv3 lockd || finish "no NFS client modules"
}
