# The disks of a pair on two machines: SCSI disks behind one target that the guest has (units_init.sh); to be
# sourced after network.sh.  UNITS:
#   block   disks of the machines' kernels: /dev/duet/NAME is a disk of another session on each machine
#   iscsi   through libiscsi, over the network `shelf1`

view=$here/tests/faults/units_view.sh
init_options=--force  # of an earlier test
disks_of() {
  local number
  for number in 0 1 2; do
    case "$UNITS" in
      block) echo "block:///dev/duet/$1$number" ;;
      iscsi) echo "iscsi://10.9.2.9:3260/iqn.2026-01.org.duet-nas.test:$1$number/0" ;;
    esac
  done
}
start_disks() {
  mkdir -p /dev/duet
  [ "$UNITS" = iscsi ] || return 0
  ip link add name target type veth peer name shelf1-target netns "$net-sw" &&
    ip -n "$net-sw" link set dev shelf1-target master shelf1 up &&
    ip addr add 10.9.2.9/24 dev target && ip link set dev target up
}
stop_disks() { :; }
# How often a disk refused a node, as the nodes say.
refused() { cat run/[ab].log run/[ab].log.before 2> /dev/null | grep -c "a disk refused this node" || true; }
