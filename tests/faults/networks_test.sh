#!/bin/bash
# A pair on two machines, as network namespaces: its link over TCP and TLS, its disks behind shelves
# over TCP, addresses that move, and clients on a network of their own.
# Usage: networks_test.sh BIN SCENARIO [ROUNDS]
#   kills      kill -9 of both processes of a node; its machine lives on, with the address
#   dies       a node loses power: nothing of its machine is heard any more
#   crashes    kill -9 of the serving process alone, which is to come back (restart-first)
#   taken      the same with takeover-first: whoever is first serves, and who waits in the dead one's queue hears it
#   frozen     SIGSTOP of a node; SIGCONT after the takeover: it must not serve or write
#   link       the link is cut, and joined
#   nobody     a node loses the client network: the operator moves its filer
#   adapter    with RAID: a node loses its paths to one shelf, and more disks than the group can
#   paths      each path from a node to a shelf is cut in turn, and joined
#   isolated   a node loses link, shelves and clients, and comes back
#   moves      planned takeovers and givebacks
#   kernel     Linux kernel clients through kills, deaths and moves
# Fails when a client sees an error, a file is not as its client left it, or the check is not clean.
# RAID=LEVEL: all disks are one group of that level, which both filers share.
# SEED=N repeats a run's choices; KEEP=1 leaves the directory.  77: not possible here.
set -euo pipefail

bin=$(realpath "$1")
scenario=$2
rounds=${3:-2}
here=$(cd "$(dirname "$0")/../.." && pwd)
seed=${SEED:-$RANDOM}
RANDOM=$seed
port=2049

cannot() { echo "SKIPPED: $*"; exit 77; }
[ "$(id -u)" = 0 ] || cannot "needs root for network namespaces"
command -v ip > /dev/null || cannot "needs the package iproute2"
if [ "$scenario" = kernel ]; then
  "$here/tests/guest/boot.sh" --check || exit 77
  command -v mount.nfs > /dev/null || cannot "needs the package nfs-common"
fi
# shellcheck source=tests/faults/common.sh
. "$here/tests/faults/common.sh"
# shellcheck source=tests/faults/network.sh
. "$here/tests/faults/network.sh"
# shellcheck source=tests/faults/network_shelves.sh
. "$here/tests/faults/network_${DISKS:-shelves}.sh"
pair_kill() { remove_network; }
in_client() { in_net c "$@"; }
log_files="run/a.log.before run/a.log run/b.log.before run/b.log"
make_network > network.out 2>&1 || { failed=no; cannot "no network namespaces: $(tail -n 1 network.out)"; }

mkdir -p run/a run/b run/disks
openssl rand -hex 32 > pair.key
chmod 600 pair.key
write_config pair.yaml
[ "$scenario" != crashes ] || sed -i 's/    beat: 100ms/&\n    on_crash: restart-first/' pair.yaml
start_disks
for node in a b; do
  # shellcheck disable=SC2086
  in_net $node "$bin/duet" --config pair.yaml init --node $node $init_options > init.out 2>&1 || { cat init.out; exit 1; }
done
start_node a b
say "seed $seed"
await_home

# Whether the node's machine has the filer's address.
has_address() { ip -n "$net-$1" addr show dev eth0 | grep " $(host_of "$2")/" > /dev/null; }
only_at() {  # FILER NODE
  has_address "$2" "$1" || { echo "node $2 has not the address of filer $1" >&2; return 1; }
  for _ in $(seq 50); do
    has_address "$(other "$2")" "$1" || return 0
    sleep 0.1
  done
  echo "node $(other "$2") still has the address of filer $1" >&2
  return 1
}
back_home() {
  await a "[ab]" "in sync"
  await b "[ab]" "in sync"
  give_back
  await_home
  only_at a a
  only_at b b
}

kills() {
  local victim=$1
  kill_hard "$victim"
  ask=$(other "$victim")
  await "$victim" "$ask" ""
  phases "$ask"
  ask=
  pause
  start_node "$victim"
  await "$victim" "$(other "$victim")" "in sync"
  only_at "$victim" "$(other "$victim")"
  back_home
}
dies() {
  local victim=$1
  cut "clients-$victim" "link-$victim" "shelf1-$victim" "shelf2-$victim"
  kill_hard "$victim"
  ask=$(other "$victim")
  await "$victim" "$ask" ""
  phases "$ask"
  ask=
  reboot_network "$victim"
  pause
  join "clients-$victim" "link-$victim" "shelf1-$victim" "shelf2-$victim"
  start_node "$victim"
  await "$victim" "$(other "$victim")" "in sync"
  back_home
}
crashes() {
  local victim=$1
  kill -9 $(pgrep -P "$(pid_of "$victim")")
  sleep 0.2
  await "$victim" "[ab]" ""
  alive "$(pid_of "$victim")" || start_node "$victim"
  await "$victim" "[ab]" "in sync"
  back_home
}
taken() { crashes "$1"; }
frozen() {
  local victim=$1 process processes
  processes=$(processes_of "$victim")
  for process in $processes; do kill -STOP "$process"; done
  ask=$(other "$victim")
  await "$victim" "$ask" ""
  phases "$ask"
  ask=
  pause
  for process in $processes; do kill -CONT "$process"; done
  sleep 1
  await "$victim" "$(other "$victim")" "in sync"
  only_at "$victim" "$(other "$victim")"
  back_home
}
link() {
  local side
  side=$(a_node)
  cut "link-$side"
  if [ -n "${RAID:-}" ]; then
    # Neither can write: one goes on with both filers, the other one starts anew and waits.
    one_serves_all
    pause
  else
    # Both live: nobody takes over.
    sleep 3
    await a a "solo"
    await b b "solo"
  fi
  join "link-$side"
  await a "[ab]" "in sync"
  await b "[ab]" "in sync"
  [ -z "${RAID:-}" ] || back_home
}
one_serves_all() {
  local node
  for _ in $(seq 300); do
    for node in a b; do
      [ "$(duet --node $node failover show 2> /dev/null | grep -cE "^[ab] +[ab] +$node +[0-9]+ +serving")" != 2 ] || return 0
    done
    sleep 0.1
  done
  echo "neither node serves both filers" >&2
  return 1
}
nobody() {
  local victim=$1
  cut "clients-$victim"
  sleep 2
  await a a "in sync"
  await b b "in sync"
  duet takeover --of "$victim" > takeover.out
  await "$victim" "$(other "$victim")" "in sync"
  sleep 1
  join "clients-$victim"
  back_home
}
paths() {
  local victim shelf
  for victim in a b; do
    for shelf in shelf1 shelf2; do
      say "$victim loses $shelf"
      cut "$shelf-$victim"
      sleep 2
      # The other shelf and the link are there: nobody takes over.
      await a a ""
      await b b ""
      join "$shelf-$victim"
      back_home
      clients_work
    done
  done
}
# To more disks than the group can lose, while the other node reaches all: that one goes on.
adapter() {
  local victim=$1 shelf
  if [ $((RANDOM % 2)) = 0 ]; then shelf=shelf1; else shelf=shelf2; fi
  cut "$shelf-$victim"
  ask=$(other "$victim")
  await "$victim" "$ask" ""
  phases "$ask"
  in_sync 6
  pause
  join "$shelf-$victim"
  ask=
  await "$victim" "$(other "$victim")" "in sync"
  back_home
}
isolated() {
  local victim=$1
  cut "clients-$victim" "link-$victim" "shelf1-$victim" "shelf2-$victim"
  ask=$(other "$victim")
  await "$victim" "$ask" ""
  phases "$ask"
  ask=
  pause
  join "clients-$victim" "link-$victim" "shelf1-$victim" "shelf2-$victim"
  await "$victim" "$(other "$victim")" "in sync"
  back_home
}
moves() {
  local victim=$1
  duet takeover --of "$victim" > takeover.out
  await "$victim" "$(other "$victim")" "in sync"
  only_at "$victim" "$(other "$victim")"
  pause
  back_home
}

# A Linux kernel as client, in the clients' namespace (user-mode Linux, as in tests/client).
guest=
start_guest() {
  mkdir guest
  ip -n "$net-c" tuntap add dev tap0 mode tap
  ip -n "$net-c" link set dev tap0 master lan up
  in_net c "$here/tests/guest/boot.sh" "$run/guest" "$here/tests/faults/kernel_init.sh" mem=512M \
    vec0:transport=tap,ifname=tap0,depth=64,gro=1 TESTS="$here/tests/faults" GUEST=10.9.0.2 PORT=$port \
    HOSTS="$(host_of a),$(host_of b)" USERS=2 > guest/console &
  guest=$!
  for _ in $(seq 300); do
    [ ! -e guest/working ] || return 0
    if [ -e guest/result ]; then break; fi
    sleep 0.1
  done
  cat guest/result guest/guest.log guest/console >&2 || true
  return 1
}
guest_works() { [ ! -e guest/result ] || { cat guest/result guest/kernel-* >&2; return 1; }; }
finish_guest() {
  local user
  touch guest/stop
  for _ in $(seq 600); do
    [ ! -e guest/result ] || break
    sleep 0.1
  done
  [ -e guest/result ] || { echo "the guest does not come to its end" >&2; head -n 3 guest/kernel-* >&2; return 1; }
  wait "$guest" || true
  for user in guest/kernel-*; do
    say "$(head -n 1 "$user"); longest waits, ms: $(awk '$1 == "stall" { print $6 }' "$user" | sort -rn | head -n 8 | xargs)"
  done
  [ "$(cat guest/result)" = good ] || { cat guest/result guest/kernel-[ab]? guest/guest.log >&2; return 1; }
  if grep -iE "nfs:.*(error|stale|denied)|BUG:|Oops" guest/dmesg; then
    echo "the client's kernel complains" >&2
    return 1
  fi
}
kernel() {
  local kind
  for kind in kills dies moves; do
    say "  $kind ($1)"
    "$kind" "$1"
    sleep 4  # a Linux client that was refused once comes back after 3 s
    guest_works
  done
}

if [ "$scenario" = kernel ]; then start_guest; fi
start_clients 2
sleep 1
for round in $(seq "$rounds"); do
  victim=$(a_node)
  say "round $round: $scenario ($victim)"
  "$scenario" "$victim"
  clients_work
done

[ -z "${RAID:-}" ] || scrub
finish_clients
[ -z "$guest" ] || finish_guest
stop_softly a b
in_net a "$bin/duet" --config pair.yaml check --snapshots > check.out 2>&1 || { cat check.out; exit 1; }
in_net b "$bin/duet" --config pair.yaml check --snapshots --node b > check.out 2>&1 || { cat check.out; exit 1; }
stop_disks
refused=$(refused)
say "the disks refused $refused operations"
case "$scenario" in
  # Who wakes asks for what it was about to do, and must have been refused.
  frozen) [ "$refused" -gt 0 ] || { echo "a node that woke after a takeover was not refused" >&2; exit 1; } ;;
esac
failed=no
