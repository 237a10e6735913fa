#!/bin/bash
# Process 1 of a user-mode Linux guest: a SCSI target with six units, two sessions of the kernel's iSCSI
# initiator to each, and networks_test.sh on them.  The words of the kernel command line are variables here:
# OUT (shared directory on the host), TESTS (the tests of the repository), BIN, UNITS (block or iscsi), SCENARIOS
# (with commas), ROUNDS, RAID, SEED.
. "$TESTS/guest/begin.sh"
. "$TESTS/guest/target.sh"
modprobe -q -d /mnt/out/kernel -a veth bridge || finish "no modules for a network"
start_target
for unit in a0 a1 a2 b0 b1 b2; do
  unit $unit 4096 $((384 << 20)) || finish "no unit"
  for node in a b; do
    mkdir -p /run/duet-$node
    device=$(session $unit $node) || finish "no session with unit $unit"
    cp -a "$device" /run/duet-$node/$unit
  done
done
mkdir -p /run/netns
ulimit -n 10000
failed=
for scenario in ${SCENARIOS//,/ }; do
  echo "guest: $scenario"
  DISKS=units UNITS=$UNITS RAID=$RAID LEASE=2s TMPDIR=/tmp SEED=$SEED "$TESTS/faults/networks_test.sh" "$BIN" "$scenario" "$ROUNDS" </dev/null || failed="$failed $scenario"
done
[ -z "$failed" ] || finish "failed:$failed"
finish good
