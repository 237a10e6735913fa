# The disks of a pair on two machines: behind two shelves, over TLS; to be sourced after network.sh.

init_options=
# As in the sample pair: the first two are mailbox members, on different shelves.
disks_of() {
  local disk disks
  case "$1" in
    a) disks="10.9.2.1:7420/a0 10.9.3.1:7420/a1 10.9.2.1:7420/a2" ;;
    b) disks="10.9.3.1:7420/b0 10.9.2.1:7420/b1 10.9.3.1:7420/b2" ;;
  esac
  for disk in $disks; do echo "shelf+tls://$disk"; done
}
start_shelf() {  # 1 or 2
  local number=$1 disks disk options=()
  disks=$([ "$1" = 1 ] && echo a0 a2 b1 || echo a1 b0 b2)
  for disk in $disks; do
    [ -e "run/disks/$disk.img" ] || "$bin/duet-shelf" create "run/disks/$disk.img" --size 384M > /dev/null
    options+=(--disk "$disk=run/disks/$disk.img")
  done
  launch "shelf$number" "s$number" "$bin/duet-shelf" serve \
    --listen "tls://10.9.$((number + 1)).1:7420" --key-file pair.key "${options[@]}"
  for _ in $(seq 100); do
    grep -q '^duet-shelf: ready' "run/shelf$number.log" 2> /dev/null && return 0
    sleep 0.1
  done
  cat "run/shelf$number.log" >&2
  return 1
}
start_disks() { start_shelf 1 && start_shelf 2; }
stop_disks() { stop_softly shelf1 shelf2; }
# How many operations the disks refused.  After stop_disks.
refused() { cat run/shelf?.log | awk '/ refused$/ { sum += $(NF - 1) } END { print sum + 0 }'; }
