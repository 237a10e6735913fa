#!/bin/bash
# Process 1 of a user-mode Linux guest that runs hostile/run.sh inside, with a limit of open files
# that the host does not give.  OUT and the words in ARGUMENTS (commas between) come from the kernel
# command line.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 DUET_BIN STRANGERS_WORK=/tmp
[ $$ = 1 ] || { echo "only for process 1 of a guest: it mounts over what is there"; exit 2; }
mount -t proc none /proc
mount -t sysfs none /sys
mountpoint -q /dev || mount -t devtmpfs none /dev
mkdir -p /dev/shm
for directory in /tmp /run /mnt /var/tmp /var/lib/nfs /dev/shm; do mount -t tmpfs none "$directory"; done
mkdir -p /mnt/out
mount -t hostfs none /mnt/out -o "$OUT"
ip link set lo up
ip addr add 10.9.9.9/32 dev lo # getaddrinfo of nfs-ganesha wants more than loopback
"$TESTS/hostile/run.sh" ${ARGUMENTS//,/ } >/mnt/out/strangers.log 2>&1
echo $? >/mnt/out/code
sync
busybox poweroff -f
sleep 60
