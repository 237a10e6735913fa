#!/bin/bash
# Process 1 of a user-mode Linux guest: mounts both filers of a pair, hard, each twice (with caches and
# without), and lets users work on them until the host says stop.  The words of the kernel command
# line are variables here: OUT (shared directory on the host), TESTS (this folder), GUEST (address),
# PORT, HOSTS (address of filer a, of filer b, with a comma), USERS (of each filer).
. "$TESTS/../guest/begin.sh"
become_nfs_client "$GUEST"

options=vers=3,proto=tcp,port=$PORT,mountport=$PORT,mountproto=tcp,nolock,hard,timeo=${TIMEO:-600}
for filer in a b; do
  host=$([ $filer = a ] && echo "${HOSTS%,*}" || echo "${HOSTS#*,}")
  mkdir -p /mnt/$filer /mnt/second-$filer
  mount -t nfs -o "$options" "$host:/vol$filer" /mnt/$filer || finish "the mount of filer $filer failed"
  mount -t nfs -o "$options,nosharecache,noac" "$host:/vol$filer" /mnt/second-$filer ||
    finish "the second mount of filer $filer failed"
done
users=
for filer in a b; do
  for number in $(seq "$USERS"); do
    name=kernel-$filer$number
    /usr/bin/python3 "$TESTS/kernel_work.py" "$name" "/mnt/$filer/$name" "/mnt/second-$filer/$name" /mnt/out/stop \
      >/mnt/out/"$name" 2>&1 </dev/null &
    users="$users $!"
  done
done
echo working >/mnt/out/working
failed=
for user in $users; do wait "$user" || failed="users failed"; done
for filer in a b; do
  umount /mnt/second-$filer && umount /mnt/$filer || failed="users failed"
done
finish "${failed:-good}"
