#!/bin/bash
# Real processes of a pair on this machine, with clients that compare all the time, through what an
# operator changes of a pair and what it does by itself.
# Usage: verbs_test.sh BIN SCENARIO [ROUNDS]
#   members    a mailbox member is replaced and the old one lost; takeover; restart of everything
#   record     the owner record moves and its old place is lost; takeover; restart of everything
#   away       the record's shelf is away: it moves by itself, and the old record is believed by nobody
#   forced     both filers' last host is lost while it was solo: what a forced takeover saves, and what clients see
#   lostdisk   a disk of one filer is gone for good: the other is taken over, restarted and moved
#   giveback   filers go home by themselves, but not of a node that dies again and again
# Fails when a client sees an error, a file is not as its client left it, or the check is not clean.
# SEED=N repeats a run's choices.
set -euo pipefail

bin=$(realpath "$1")
scenario=$2
rounds=${3:-1}
here=$(cd "$(dirname "$0")/../.." && pwd)
seed=${SEED:-$RANDOM}
RANDOM=$seed

# shellcheck source=tests/faults/common.sh
. "$here/tests/faults/common.sh"
# shellcheck source=tests/faults/sample.sh
. "$here/tests/faults/sample.sh"

wrong() { echo "$*" >&2; return 1; }
# What a node says of itself.
view() { duet --node "$1" failover show --json 2> /dev/null | jq -r ".$1 | $2"; }  # NODE FILTER
# Until a filter of a node's view gives this text.
await_view() {  # NODE FILTER TEXT
  local got
  for _ in $(seq 300); do
    got=$(view "$1" "$2" || true)
    [ "$got" != "$3" ] || return 0
    sleep 0.1
  done
  wrong "node $1 says $got of $2, not $3"
}
record_at() { view a '.mailbox.arbitration | sub(".*#"; "")'; }
members_of() { view "$1" ".mailbox.members.$1.disks | map(sub(\".*#\"; \"\")) | join(\" \")"; }
# The disk of a filer that is no member.
spare_of() {
  local disk members
  members=" $(members_of "$1") "
  for disk in "${1}0" "${1}1" "${1}2"; do
    case "$members" in *" $disk "*) ;; *) echo "$disk" ;; esac
  done
}
# The mailbox blocks of a disk (mailbox/mailbox_format.h), from the first to behind the last.
destroy_mailbox() {
  dd if=/dev/urandom of="run/disks/$1.img" bs=4096 seek=8 count=34 conv=notrunc status=none
}
takeover_and_back() {  # NODE
  local victim=$1
  clients_work
  pair kill "$victim" > kill.out
  await "$victim" "$(other "$victim")" ""
  phases "$(other "$victim")"
  pause
  pair start > start.out
  await "$victim" "$(other "$victim")" "in sync"
  give_back
  await_home
}
restart_softly() {
  pair stop > stop.out
  pair start > start.out
  await_home
}
# Where nodes get little time, a start of both may end in a takeover (README.md, "Known to be wrong").
start_both() {
  pair start > start.out
  await a "[ab]" "in sync"
  await b "[ab]" "in sync"
  give_back
  await_home
}
restart_hard() {
  pair kill all > kill.out
  start_both
}
# The configuration as `failover show` wants it; then it wants nothing.
update_config() {
  local disk key value
  # shellcheck disable=SC2013
  duet failover show | sed -n 's/^  configuration: .*#\([ab][0-9]\) is.*: write `\([a-z]*\): \([a-z]*\)`.*/\1 \2 \3/p
      s/^  configuration: the owner record is on .*#\([ab][0-9]\): write `\([a-z]*\): \([a-z]*\)` there/\1 \2 \3/p' |
    sort -u > wanted
  while read -r disk key value; do
    say "configuration: $disk: $key: $value"
    sed -i "/#$disk\$/,/url:\|cache:/{/^ *$key:/d}" pair.yaml
    sed -i "s/^\( *\)- url: .*#$disk\$/&\n\1  $key: $value/" pair.yaml
  done < wanted
}

members() {
  local victim=$1 spare old kept
  spare=$(spare_of "$victim")
  if [ "$(record_at)" = "$spare" ]; then
    # The sample has no fourth disk: the record makes room.
    ! duet failover member replace "${victim}0" "$spare" > refused.out 2>&1 || wrong "record and member on one disk"
    grep -q "holds the owner record" refused.out || { cat refused.out >&2; return 1; }
    duet failover arbitration move "$(spare_of "$(other "$victim")")" > move.out
  fi
  read -r old kept <<< "$(members_of "$victim" | tr ' ' '\n' | shuf --random-source=<(yes "$RANDOM") | xargs)"
  duet failover member replace "$old" "$spare" > replace.out
  say "$(cat replace.out)"
  await_view "$victim" ".mailbox.members.$victim.disks | map(sub(\".*#\"; \"\")) | sort | join(\" \")" \
    "$(printf '%s\n' "$kept" "$spare" | sort | xargs)"
  await_view "$(other "$victim")" ".mailbox.members.$victim.generation" \
    "$(view "$victim" ".mailbox.members.$victim.generation")"
  clients_work
  destroy_mailbox "$old"
  await_view "$(other "$victim")" .partner.mailbox readable
  takeover_and_back "$victim"
  restart_softly
  restart_hard
  [ "$(spare_of "$victim")" = "$old" ] || wrong "after a restart $old counts again"
  takeover_and_back "$victim"
}
record() {
  local victim=$1 from to
  from=$(record_at)
  to=$(spare_of b)
  [ "$from" != "$to" ] || to=$(spare_of a)
  duet failover arbitration move "$to" > move.out
  say "$(cat move.out)"
  await_view a '.mailbox.arbitration | sub(".*#"; "")' "$to"
  await_view b '.mailbox.arbitration | sub(".*#"; "")' "$to"
  clients_work
  destroy_mailbox "$from"
  takeover_and_back "$victim"
  restart_softly
  restart_hard
  [ "$(record_at)" = "$to" ] || wrong "after a restart the record is not on $to"
  takeover_and_back "$(other "$victim")"
}
away() {
  local from shelf
  from=$(record_at)
  shelf=shelf$(case "$from" in a2) echo 1 ;; b2) echo 2 ;; *) wrong "the record is on $from" ;; esac)
  kill -9 "$(cat "run/$shelf.pid")"
  for _ in $(seq 200); do
    [ "$(record_at)" = "$from" ] || break
    sleep 0.1
  done
  [ "$(record_at)" != "$from" ] || wrong "the record does not leave $from"
  say "the record moved from $from to $(record_at)"
  pair start > start.out
  await_home
  takeover_and_back "$1"
  restart_hard
  [ "$(record_at)" != "$from" ] || wrong "the old record on $from was believed"
}
giveback() {
  local victim=$1 host i
  host=$(other "$victim")
  # Dead before it was back for long: nothing moves meanwhile.
  pair kill "$victim" > kill.out
  await "$victim" "$host" ""
  for i in 1 2; do
    pair start > start.out
    await "$victim" "$host" "in sync"
    sleep 2
    await "$victim" "$host" "in sync"
    pair kill "$victim" > kill.out
    sleep 1
  done
  for i in 1 2 3; do
    pair start > start.out
    await_home
    say "filer $victim went home by itself ($i)"
    [ "$i" = 3 ] || takeover_of "$victim"
  done
  takeover_of "$victim"
  pair start > start.out
  await "$victim" "$host" "in sync"
  await_view "$host" .automatic_giveback "it went home by itself too often in an hour: it waits for duet giveback"
  sleep 8
  await "$victim" "$host" "in sync"
  give_back
  await_home
  # What the operator moved stays where it is.
  duet takeover --of "$victim" > takeover.out
  await "$victim" "$host" "in sync"
  sleep 8
  await "$victim" "$host" "in sync"
  give_back
  await_home
}
# What was acknowledged before the partner was lost is there; who had mounted hears that it is another file system.
forced() {
  local lost=$1 left filer holders number kept
  left=$(other "$lost")
  finish_clients
  for filer in a b; do mv "manifest-$filer" "kept-$filer"; done
  pair kill "$left" > kill.out
  await "$left" "$lost" ""
  rm stop
  start_clients 2
  holders=
  for filer in a b; do
    manifest=held client hold "$filer" --stop stop-holding > "hold-$filer" 2>&1 &
    holders="$holders $!"
    for _ in $(seq 100); do [ ! -e "held-$filer" ] || break; sleep 0.1; done
  done
  workers="$workers $holders"
  sleep 2
  clients_work
  workers=${workers% $holders}
  finish_clients
  workers=$holders
  say "both filers' last writes are on node $lost alone; it is lost"
  pair kill "$lost" > kill.out
  [ $((RANDOM % 2)) = 0 ] || rm "run/$lost/nvlog.pmem" "run/$lost/mirror.pmem"
  pair start "$left" > start.out
  ask=$left
  await_view "$left" .partner.beat stale
  await_view "$left" '[.takeover_vetoes[].reason] | any(. == "the partner acknowledged requests that this node does not hold")' true
  ! duet takeover --of "$lost" > refused.out 2>&1 || wrong "a takeover without force was not refused"
  say "refused: $(cat refused.out)"
  for _ in $(seq 50); do  # as long as its beats may still be fresh it is taken to live
    ! duet takeover --of "$lost" --force > force.out 2>&1 || wrong "it was not asked for twice"
    grep -q "the partner lives" force.out || break
    sleep 0.1
  done
  say "$(head -n 1 force.out)"
  number=$(sed -n 's/.* --confirm \([0-9]*\)$/\1/p' force.out)
  ! duet takeover --of "$lost" --force --confirm $((number + 2)) > refused.out 2>&1 || wrong "any number will do"
  duet takeover --of "$lost" --force > force.out 2>&1 || true
  number=$(sed -n 's/.* --confirm \([0-9]*\)$/\1/p' force.out)
  duet takeover --of "$lost" --force --confirm "$number" > force.out
  await a "$left" ""
  await b "$left" ""
  for filer in a b; do
    for _ in $(seq 100); do [ ! -s "hold-$filer" ] || break; sleep 0.1; done
  done
  touch stop-holding
  for number in $holders; do
    wait "$number" || { cat hold-a hold-b >&2; wrong "a client did not hear of it"; }
  done
  workers=
  for filer in a b; do
    say "filer $filer: $(cat "hold-$filer")"
    kept=$(manifest=kept client verify-work "$filer")
    say "filer $filer, acknowledged by both: $kept"
    say "filer $filer, by one: $(client verify-work "$filer" 2>&1 | tail -n 1)"
  done
  ask=
  rm -f stop stop-holding held-?
  start_clients 2
  # With its log or without: what it knew alone counts no more.
  pair start > start.out
  await a "$left" "in sync"
  await b "$left" "in sync"
  give_back
  await_home
  restart_hard
  takeover_and_back "$left"
}
lostdisk() {
  kill_third_shelf
  say "the disk a1 is gone for good"
  # Somebody writes to filer a, which cannot go on.
  manifest=lost timeout 8 "$bin/duet-demo-client" work --host "$(host_of a)" --port "$port" --export /vola \
    --stop never --manifest never --clients 1 > lost.out 2>&1 || true
  await_view a '.filers[0].waits_for' "a disk of it that this node reaches"
  duet failover show > show.out
  grep "disk .*shelf3.sock#a1: " show.out || { cat show.out >&2; wrong "the disk is not named"; }
  clients_work
  say "filer b: takeover $(view a .takeover_possible); $(duet takeover --of b)"
  await b a "in sync"
  give_back
  await b b "in sync"
  clients_work
  pair kill b > kill.out
  ask=a
  await b a ""
  phases a
  ask=
  say "node b, killed, comes back without the disk, by what node a tells"
  pair start b > start.out
  await_view b .entered true
  await b a "in sync"
  give_back
  await b b "in sync"
  clients_work
  say "so does node a, whose disk it is"
  pair kill a > kill.out
  pair start a > start.out
  await_view a .entered true
  await b b "in sync"
  say "filer b: $(duet takeover --of b)"
  await b a "in sync"
  give_back
  await b b "in sync"
  clients_work
  say "both at once: nobody knows what the disk may hold"
  pair kill a > kill.out
  pair kill b > kill.out
  pair start a > start.out
  pair start b > start.out
  sleep 6
  for node in a b; do
    [ "$(view "$node" .entered)" = false ] || wrong "node $node goes by what neither has read"
    duet --node "$node" failover show > show.out
    grep "disk .*shelf3.sock#a1: " show.out || { cat show.out >&2; wrong "the disk is not named"; }
    grep "OPERATIONS.md" "run/$node/duetd.trace" > /dev/null || { cat "run/$node/duetd.trace" >&2; wrong "nobody says why"; }
  done
  say "a blank disk in its place"
  rm run/disks/alone.img*
  start_third_shelf a1
  await b "[ab]" "in sync"
  clients_work
  say "filer a: $(view a .filers[0].state), waits for: $(view a .filers[0].waits_for)"
  [ "$(view a .filers[0].answering)" = false ] || wrong "filer a answers without its disk"
  finish_clients
  pair stop > stop.out
  pair shelves > start.out
  duet init --node a --force > init.out 2>&1 || { cat init.out >&2; return 1; }
  start_both
  client verify-work b
  filers="a b"
  rm stop
  start_clients 2
  sleep 1
  restart_hard
}
takeover_of() {
  clients_work
  pair kill "$1" > kill.out
  await "$1" "$(other "$1")" ""
}

case "$scenario" in
  lostdisk)
    sed -i 's/shelf2.sock#a1/shelf3.sock#a1/; s/    automatic_takeover: true/&\n    disk_patience: 2s/' pair.yaml
    pair_kill() { kill_third_shelf; pair kill all; }
    filers=b
    start_third_shelf a1
    ;;
esac
case "$scenario" in giveback) sed -i 's/    automatic_takeover: true/&\n    automatic_giveback: true/' pair.yaml ;; esac
say "seed $seed"
pair start > start.out
await_home
start_clients 2
sleep 1
for round in $(seq "$rounds"); do
  victim=$(a_node)
  say "round $round: $scenario ($victim)"
  "$scenario" "$victim"
  clients_work
done
case "$scenario" in
  members | record)
    update_config
    restart_softly
    [ "$(duet failover show | grep -c '^  configuration:')" = 0 ] || { duet failover show >&2; wrong "the configuration is not what it wants"; }
    ;;
esac
finish_clients
pair stop > stop.out
pair shelves > start.out
duet check --snapshots 2> check.err
pair stop > stop.out
failed=no
