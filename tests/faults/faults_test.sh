#!/bin/bash
# Real processes of a pair on this machine under faults, with clients that compare all the time.
# Usage: faults_test.sh BIN SCENARIO [ROUNDS]
#   kills    kill -9 of one node, then the other; giveback; again
#   words    the server process alone is killed, its supervisor lives
#   frozen   SIGSTOP of one node: its partner takes over and ends it
#   shelves  kill -9 of a shelf, which comes back
#   power    kill -9 of everything at once, restart
#   memory   a node loses both its memories with its life
#   upgrade  each node in turn is moved away, replaced by another build and given back
#   moves    planned takeovers and givebacks, one after another
#   disks    of a redundancy group: a disk fails, a spare takes its place, and a node dies meanwhile
#   outage   of pair-shared.yaml: more disks than the group can lose are out of reach for a while
#   paths    of pair-shared.yaml: a disk is out of reach for a while, and gets what it has missed
#   expand   of pair-shared.yaml, once: the group spreads over its spare, too, and a node dies meanwhile
#   hosts    of pair-shared.yaml: hosts write the virtual disk "host" through both nodes at once, beside the
#            clients of the filers; a node is killed, frozen or crashes, and comes back
# SAMPLE=FILE takes another sample of deploy/samples than pair.yaml.
# Fails when a client sees an error, a file is not as its client left it, or the check is not clean.
# SEED=N repeats a run's choices.
set -euo pipefail

bin=$(realpath "$1")
scenario=$2
rounds=${3:-3}
here=$(cd "$(dirname "$0")/../.." && pwd)
seed=${SEED:-$RANDOM}
RANDOM=$seed

# shellcheck source=tests/faults/common.sh
. "$here/tests/faults/common.sh"
# shellcheck source=tests/faults/sample.sh
. "$here/tests/faults/sample.sh"

if [ "$scenario" = paths ] || [ "$scenario" = outage ]; then
  sed -i 's/    automatic_takeover: true/&\n    disk_patience: 2s/' pair.yaml
fi
if [ "$scenario" = paths ]; then
  sed -i '/    spares:/,+1d; s/shelf2.sock#c5/shelf3.sock#c5/' pair.yaml
  pair_kill() { kill_third_shelf; pair kill all; }
  start_third_shelf c5
fi
say "seed $seed"
pair start > start.out
await_home
start_clients 2
sleep 1

kills() {
  local victim=$1
  pair kill "$victim" > kill.out
  await "$victim" "$(other "$victim")" ""
  phases "$(other "$victim")"
  pause
  pair start > start.out
  await "$victim" "$(other "$victim")" "in sync"
  give_back
  await_home
}
words() {
  local victim=$1
  pkill -9 -P "$(pid_of "$victim")" || { echo "no server below its supervisor" >&2; return 1; }
  sleep 0.2
  await "$victim" "[ab]" ""
  pair start > start.out  # a supervisor gives up after the fourth crash in a minute
  await "$victim" "[ab]" "in sync"
  give_back
  await_home
}
frozen() {
  local victim=$1 process
  for process in $(pgrep -P "$(pid_of "$victim")") $(pid_of "$victim"); do
    kill -STOP "$process"
  done
  await "$victim" "$(other "$victim")" ""
  phases "$(other "$victim")"
  pause
  pair kill "$victim" > kill.out
  pair start > start.out
  await "$victim" "$(other "$victim")" "in sync"
  give_back
  await_home
}
shelves() {
  local shelf=shelf$((RANDOM % 2 + 1))
  kill -9 "$(cat "run/$shelf.pid")"
  pause
  pair start > start.out
  # Nobody was dead: whoever serves a filer now, it is served and mirrored again.
  await a "[ab]" "in sync"
  await b "[ab]" "in sync"
  give_back
  await_home
}
power() {
  pair kill all > kill.out
  pair start > start.out
  await a "[ab]" "in sync"
  await b "[ab]" "in sync"
  give_back
  await_home
}
memory() {
  local victim=$1
  pair kill "$victim" > kill.out
  await "$victim" "$(other "$victim")" ""
  rm "run/$victim/nvlog.pmem" "run/$victim/mirror.pmem"
  pair start > start.out
  await "$victim" "$(other "$victim")" "in sync"
  give_back
  await_home
}
# Rolling: each node's filer is moved away, its program replaced by another build, its filer given back.
upgrade() {
  local victim versions
  mkdir -p next
  for program in duet duet-shelf; do ln -sf "$bin/$program" "next/$program"; done
  ln -sf "$bin/../next/duetd" next/duetd
  for victim in a b; do
    duet takeover --of "$victim" > takeover.out
    await "$victim" "$(other "$victim")" "in sync"
    kill -TERM "$(pid_of "$victim")"
    for _ in $(seq 100); do
      kill -0 "$(pid_of "$victim")" 2> /dev/null || break
      sleep 0.1
    done
    "$here/deploy/samples/pair.sh" --bin next --config pair.yaml start > start.out
    await "$victim" "$(other "$victim")" "in sync"
    give_back
    await_home
    versions="$(duet --node a version | sed 's/.*server //') $(duet --node b version | sed 's/.*server //')"
    say "servers: $versions"
    clients_work
  done
  [ "$versions" = "next next" ] || { echo "not both nodes run the other build" >&2; return 1; }
}
moves() {
  local victim=$1
  duet takeover --of "$victim" > takeover.out
  await "$victim" "$(other "$victim")" "in sync"
  pause
  give_back
  await_home
}
# Of the sample pair-shared.yaml: the disks change places from round to round.
disks() {
  local victim=$1 number=$((RANDOM % 6)) lost
  lost=$(groups | jq -r ".groups[0].disks[] | select(.number == $number).path")
  say "disk $number of the group, $lost, fails"
  duet raid fail tank "$number" > fail.out
  pause
  kills "$victim"
  in_sync 6
  duet raid spare tank "$lost" --force > spare.out
  scrub
}

# More disks than the group can lose are out of reach for a while, longer than they are waited for.
outage() {
  kill -9 "$(cat run/shelf2.pid)"
  sleep 12
  pair start > start.out
  await a "[ab]" "in sync"
  await b "[ab]" "in sync"
  give_back
  await_home
  in_sync 6
  scrub
}
# A disk is out of reach for a while, longer than it is waited for; a node dies meanwhile.
paths() {
  local victim=$1 before after
  before=$(groups | jq '.groups[0].counters.rebuilt_stripes')
  kill_third_shelf
  in_sync 5
  pause
  kills "$victim"
  start_third_shelf c5
  in_sync 6
  after=$(groups | jq '.groups[0].counters.rebuilt_stripes')
  say "$((after - before)) stripes were written to the disk again"
  scrub
}
expand() {
  local victim=$1 spare
  spare=$(groups | jq -r '.groups[0].disks[] | select(.state == "spare").path')
  duet raid spare tank "$spare" --remove > spare.out
  duet raid add tank "$spare" --force > add.out
  pause
  duet raid status > status.out
  grep expansion status.out || say "the expansion was over before a node died"
  kills "$victim"
  for _ in $(seq 1200); do
    ! groups | jq -e '.groups[0].expansion' > expansion.out || { sleep 0.1; continue; }
    break
  done
  in_sync 7
  say "the group is on seven disks: $(groups | jq -c '.groups[0] | [.state, .bytes]')"
  scrub
}

# The virtual disk of pair-shared.yaml that hosts attach.
host_url() { echo "nbd://$(nbd_of "$1")/tank/host"; }
host_work() { "$here/tests/faults/host_work.py" "$@" "$(host_url a)" "$(host_url b)"; }
# Clients that are not ours: what is written through one node is read through the other.
copies() {
  nbdinfo --list "nbd://$(nbd_of a)" > list.out
  grep -q 'export="tank/host"' list.out
  nbdinfo --json "$(host_url b)" | jq -e '.exports[0] | ."export-size" == 67108864 and .can_multi_conn and
    .can_flush and .can_fua and .can_zero and (.is_read_only | not) and .block_size_minimum == 4096' > info.out
  head -c 64M /dev/urandom > image
  nbdcopy --flush image "$(host_url a)"
  nbdcopy "$(host_url b)" back
  cmp image back
  truncate -s 64M zeros
  nbdcopy zeros "$(host_url b)"
  nbdcopy "$(host_url a)" back
  cmp zeros back
  rm image back zeros
  say "hosts: nbdinfo and nbdcopy agree through both nodes"
}
hosts_process=
start_hosts() {
  copies
  host_work work --workers 4 --stop stop-hosts > out-hosts 2>&1 &
  hosts_process=$!
  workers="$workers $hosts_process"
}
hosts() {
  local victim=$1 ways=(kills frozen words)
  duet raid status > status.out
  grep -E '^[ab] +tank/host' status.out
  "${ways[$(((round - 1) % 3))]}" "$victim"
}
# What hosts were told is there, also after both nodes have died at once, and check data match it.
finish_hosts() {
  touch stop-hosts
  wait "$hosts_process" || { cat out-hosts >&2; return 1; }
  workers=${workers% "$hosts_process"}
  cat out-hosts
  host_work verify hosts.state
  power
  host_work verify hosts.state
  scrub
}
[ "$scenario" != hosts ] || start_hosts

began=() victims=()
for round in $(seq "$rounds"); do
  victim=$(a_node)
  say "round $round: $scenario ($victim)"
  began[round]=$(date +%s.%N)
  victims[round]=$victim
  "$scenario" "$victim"
  clients_work
done

[ "$scenario" != hosts ] || finish_hosts
finish_clients
# Each round's longest wait of each client of the victim's filer.
began[rounds + 1]=$(date +%s.%N)
for round in $(seq "$rounds"); do
  waited=$(awk -v from="${began[round]}" -v to="${began[round + 1]}" '$1 == "stall" && $5 + $7 / 1000 >= from && $5 < to {
      longest[$3] = longest[$3] > $7 ? longest[$3] : $7 }
    END { for (c in longest) printf "%d ", longest[c] }' "out-${victims[round]}")
  [ -z "$waited" ] || echo "wait round $round victim ${victims[round]} ms $waited"
done
pair stop > stop.out
pair shelves > start.out
duet check --snapshots 2> check.err
pair stop > stop.out
failed=no
