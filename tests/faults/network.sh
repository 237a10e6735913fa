# Two machines, two shelves, a client and their switch, as network namespaces; to be sourced.
#
#   NS-sw   bridges `clients`, `link`, `shelf1`, `shelf2`; a port is BRIDGE-WHO (clients-a, shelf2-b)
#   NS-a, NS-b     eth0 on `clients` (10.9.0.11, .12), link0 (10.9.1.x), shelf1 (10.9.2.x), shelf2 (10.9.3.x)
#   NS-s1, NS-s2   the shelves: 10.9.2.1, 10.9.3.1
#   NS-c           the clients: 10.9.0.1 on a bridge `lan`, to which taps can be added
# The filers' addresses, 10.9.0.21 and .22, move.  Nothing outside of these namespaces is touched.

net="duet-$$"
namespaces="sw a b s1 s2 c"

# $view WHO COMMAND..., if set, shows a machine its own disks.
view=
in_net() {  # WHO COMMAND...
  local who=$1
  shift
  ip netns exec "$net-$who" ${view:+"$view" "$who"} "$@"
}
# A cable from a machine to the switch.
cable() {  # BRIDGE WHO INTERFACE ADDRESS
  local port="$1-$2"
  ip -n "$net-sw" link add name "$port" type veth peer name "$3" netns "$net-$2" &&
    ip -n "$net-sw" link set dev "$port" master "$1" up &&
    ip -n "$net-$2" link set dev "$3" up &&
    { [ -z "$4" ] || ip -n "$net-$2" addr add "$4/24" dev "$3"; }
}
make_network() {
  local who bridge
  for who in $namespaces; do
    ip netns add "$net-$who" && ip -n "$net-$who" link set lo up || return 1
  done
  for bridge in clients link shelf1 shelf2; do
    ip -n "$net-sw" link add name "$bridge" type bridge && ip -n "$net-sw" link set dev "$bridge" up || return 1
  done
  cable clients a eth0 10.9.0.11 && cable clients b eth0 10.9.0.12 &&
    cable link a link0 10.9.1.11 && cable link b link0 10.9.1.12 &&
    cable shelf1 a shelf1 10.9.2.11 && cable shelf1 b shelf1 10.9.2.12 &&
    cable shelf2 a shelf2 10.9.3.11 && cable shelf2 b shelf2 10.9.3.12 &&
    cable shelf1 s1 eth0 10.9.2.1 && cable shelf2 s2 eth0 10.9.3.1 &&
    cable clients c up "" && ip -n "$net-c" link add name lan type bridge &&
    ip -n "$net-c" link set dev lan up && ip -n "$net-c" link set dev up master lan &&
    ip -n "$net-c" addr add 10.9.0.1/24 dev lan
}
remove_network() {
  local who pids
  for who in $namespaces; do
    pids=$(ip netns pids "$net-$who" 2> /dev/null) || continue
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -9 $pids 2> /dev/null || true  # nobody else is in there
  done
  for who in $namespaces; do
    ip netns del "$net-$who" 2> /dev/null || true
  done
}
# Packets are lost from now on; no connection hears of it.
cut() {  # BRIDGE-WHO...
  local port
  for port in "$@"; do ip -n "$net-sw" link set dev "$port" down; done
}
join() {  # BRIDGE-WHO...
  local port
  for port in "$@"; do ip -n "$net-sw" link set dev "$port" up; done
}

# With RAID=LEVEL all disks are one group of that level, and each filer lives on a virtual disk of it.
write_config() {  # FILE
  local node filer disk number
  {
    cat << TEXT
pair:
  name: networks-test
  interconnect:
    transport: tcp
    key_file: pair.key
  shelf_key_file: pair.key
  failover:
    lease: ${LEASE:-500ms}
    beat: 100ms
TEXT
    if [ -n "${RAID:-}" ]; then
      echo "raid:"
      echo "  - name: tank"
      echo "    level: $RAID"
      echo "    disks:"
      for filer in a b; do
        for disk in $(disks_of "$filer"); do echo "      - url: $disk"; done
      done
      echo "    virtual_disks:"
      echo "      - {name: a, size: 600MiB}"
      echo "      - {name: b, size: 600MiB}"
    fi
    echo "nodes:"
    for node in a b; do
      number=$([ $node = a ] && echo 1 || echo 2)
      cat << TEXT
  $node:
    memory: {path: run/$node/nvlog.pmem, size: 128MiB, accept_volatile: true}
    mirror: {path: run/$node/mirror.pmem, size: 128MiB, accept_volatile: true}
    interconnect: {address: 10.9.1.1$number, port: 7430}
    admin: {socket: run/$node/admin.sock}
TEXT
    done
    echo "filers:"
    for filer in a b; do
      number=$([ $filer = a ] && echo 1 || echo 2)
      cat << TEXT
  $filer:
    home: $filer
    addresses:
      - address: 10.9.0.2$number/24
        interface: eth0
    port: $port
    cache: 128MiB
    volumes:
      - name: vol$filer
    exports:
      - path: /vol$filer
        clients:
          - {match: 10.9.0.0/24, access: rw, squash: none}
    disks:
TEXT
      if [ -n "${RAID:-}" ]; then
        echo "      - raid: tank/$filer"
      else
        for disk in $(disks_of "$filer"); do echo "      - url: $disk"; done
      fi
    done
  } > "$1"
}
host_of() { if [ "$1" = a ]; then echo 10.9.0.21; else echo 10.9.0.22; fi; }

alive() { grep -qE '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$1/status" 2> /dev/null; }
pid_of() { cat "run/$1.pid" 2> /dev/null; }
# WHO NAMESPACE COMMAND...: in the background; `ip netns exec` becomes the command.
launch() {
  local who=$1 where=$2
  shift 2
  [ ! -e "run/$who.log" ] || mv "run/$who.log" "run/$who.log.before"
  ip netns exec "$net-$where" ${view:+"$view" "$where"} "$@" > "run/$who.log" 2>&1 < /dev/null &
  echo $! > "run/$who.pid"
  disown  # whoever kills it knows
}
start_node() {  # NODE...
  local node
  for node in "$@"; do launch "$node" "$node" "$bin/duetd" --config pair.yaml --node "$node"; done
  for node in "$@"; do await_node "$node" || return 1; done
}
await_node() {
  for _ in $(seq 200); do
    duet --node "$1" failover show > /dev/null 2>&1 && return 0
    alive "$(pid_of "$1")" || break
    sleep 0.1
  done
  echo "node $1 does not come up" >&2
  return 1
}
# Both processes of a node, the serving one first or last as it comes.
processes_of() { local parent; parent=$(pid_of "$1") && echo "$(pgrep -P "$parent")" "$parent"; }
kill_hard() {  # WHO...
  local who processes process
  for who in "$@"; do
    processes=$(processes_of "$who") || continue
    # shellcheck disable=SC2086
    kill -9 $processes 2> /dev/null || true
    for process in $processes; do
      while alive "$process"; do sleep 0.02; done
    done
    rm -f "run/$who.pid"
  done
}
stop_softly() {  # WHO...
  local who pid
  for who in "$@"; do pid=$(pid_of "$who") && kill -TERM "$pid"; done
  for who in "$@"; do
    pid=$(pid_of "$who")
    for _ in $(seq 300); do alive "$pid" || break; sleep 0.1; done
    ! alive "$pid" || { echo "$who does not stop" >&2; return 1; }
    rm -f "run/$who.pid"
  done
}
# Of a machine that lost power nothing is left, its addresses neither.
reboot_network() {  # NODE
  ip -n "$net-$1" addr show dev eth0 | awk '$1 == "inet" && /10\.9\.0\.2[12]\// { print $2 }' |
    while read -r address; do ip -n "$net-$1" addr del "$address" dev eth0; done
}
