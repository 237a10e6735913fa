# The disks of a pair on two machines: SCSI disks of their kernels, behind one target that the guest has
# (units_init.sh): /dev/duet/NAME is a disk of another session on each machine; to be sourced after network.sh.

view=$here/tests/faults/units_view.sh
init_options=--force  # of an earlier test
disks_of() {
  local number
  for number in 0 1 2; do echo "block:///dev/duet/$1$number"; done
}
start_disks() { mkdir -p /dev/duet; }
stop_disks() { :; }
# How often a disk refused a node, as the nodes say.
refused() { cat run/[ab].log run/[ab].log.before 2> /dev/null | grep -c "a disk refused this node" || true; }
