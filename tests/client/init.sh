#!/bin/bash
# Process 1 of the user-mode Linux guest: sets it up over the host's files (read-only), mounts the
# export and runs the checks.  The words of the kernel command line are variables here: OUT (shared
# directory on the host), TESTS (this folder), SERVER, PORT, MOUNT_PORT, CONTROL, GUEST, KIND,
# SCALE, CHECKS (names with commas).
. "$TESTS/../guest/begin.sh"
export SERVER PORT MOUNT_PORT CONTROL KIND SCALE TESTS
mkdir -p /mnt/n /mnt/second
become_nfs_client "$GUEST"

OPTIONS=vers=3,proto=tcp,port=$PORT,mountport=$MOUNT_PORT,mountproto=tcp,nolock,hard,timeo=10,$MORE_OPTIONS
mount -t nfs -o "$OPTIONS" "$SERVER:/vol0" /mnt/n || finish "the mount failed"
# A second view with caches of its own: what it sees, the server has.
mount -t nfs -o "$OPTIONS,nosharecache,noac" "$SERVER:/vol0" /mnt/second || finish "the second mount failed"
chmod 0755 /mnt/n
export TOP=/mnt/n SECOND=/mnt/second

for name in ${CHECKS//,/ }; do
  limit=$(sed -n "s/^# Limit: *\([0-9]*\) *s.*/\1/p" "$TESTS/checks/$name.sh")
  rm -rf /tmp/*
  start=$(date +%s.%N)
  timeout -k 5 "${limit:-120}" bash "$TESTS/check.sh" "$name" >/mnt/out/log/"$name".log 2>&1 </dev/null
  code=$?
  took=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  case $code in
    0) line="PASS $name ${took}s" ;;
    77) line="SKIP $name $(tail -1 /mnt/out/log/"$name".log)" ;;
    124|137) line="FAIL $name ${took}s: over its limit of ${limit:-120} s" ;;
    *) line="FAIL $name ${took}s: $(tail -1 /mnt/out/log/"$name".log)" ;;
  esac
  echo "$line" >>/mnt/out/results
  echo "$line" >/dev/console
done
sync
umount /mnt/second || echo "FAIL unmount: /mnt/second stays busy" >>/mnt/out/results
umount /mnt/n || echo "FAIL unmount: /mnt/n stays busy" >>/mnt/out/results
finish "done"
