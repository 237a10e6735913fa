#!/bin/bash
# A node on redundancy groups: killed in mid-load again and again, disks failed, lost and destroyed.
# Usage: raid_test.sh BIN_DIRECTORY LEVEL KILLS
#   LEVEL: raid6, raid5 or raid1.  Everything that was acknowledged must be there all the time.
set -uo pipefail
bin=$(readlink -f "$1") level=$2 kills=$3
case $level in
  raid6) disks=5 redundancy=2 ;;
  raid5) disks=4 redundancy=1 ;;
  raid1) disks=2 redundancy=1 ;;
  *) echo "raid_test.sh: $level is not known" >&2; exit 2 ;;
esac
run=$(mktemp -d "${TMPDIR:-/tmp}/duet-raid.XXXXXX")
server= worker= host_worker=
here=$(readlink -f "$(dirname "$0")/../faults")
cleanup() {
  touch "$run/stop" "$run/stop-host"
  for process in $worker $host_worker $server; do
    { kill -9 "$process" && wait "$process"; } 2> /dev/null
  done
  [ -n "${KEEP:-}" ] || rm -rf "$run"
}
trap cleanup EXIT
cd "$run" || exit 1
fail() {
  echo "FAILED: $*" >&2
  tail -n 30 trace output work.out >&2 2> /dev/null
  exit 1
}

port=22049
while (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do port=$((port + 1)); done
{
  printf 'pair:\n  name: raid\nraid:\n  - name: tank\n    level: %s\n    background: 1GiB\n    disks:\n' "$level"
  for i in $(seq 0 $((disks - 1))); do echo "      - {path: run/$i.img, size: 224MiB}"; done
  printf '    virtual_disks:\n      - {name: host, size: 64MiB, nbd: {clients: [{match: 127.0.0.1}]}}\n      - name: all\n'
  cat <<YAML
nodes:
  a:
    memory: {path: run/nvlog.pmem, size: 96MiB, accept_volatile: true}
    admin: {socket: run/admin.sock}
    nbd: {addresses: [127.0.0.1], port: $((port + 2000))}
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    port: $port
    cp_interval: 300ms
    cache: 64MiB
    disks:
      - raid: tank/all
    volumes:
      - name: vol0
    exports:
      - path: /vol0
        clients:
          - {match: 127.0.0.0/8, squash: none}
YAML
} > duet.yaml

duet() { "$bin/duet" --config duet.yaml "$@"; }
# expect CODE PATTERN COMMAND...: the exit code, and an extended regular expression in the output.
expect() {
  local code=$1 pattern=$2 got=0
  shift 2
  "$@" > output 2>&1 || got=$?
  [ "$got" = "$code" ] || fail "$* gave exit $got, not $code"
  grep -qE "$pattern" output || fail "$*: output without /$pattern/"
}
start() {
  : > trace
  "$bin/duetd" --config duet.yaml --node a 2> trace &
  server=$!
  for _ in $(seq 1200); do
    ! grep -q event=serving trace || return 0
    kill -0 "$server" 2> /dev/null || break
    sleep 0.05
  done
  fail "duetd does not serve"
}
stop() {
  kill -TERM "$server"
  wait "$server" || fail "duetd ended with $?"
  server=
}
crash() { { kill -9 "$server" && wait "$server"; } 2> /dev/null; server=; }
# The kernel holds the files of a killed process until its I/O has ended.
released() {
  for _ in $(seq 200); do
    duet check --quick > output 2>&1
    grep -q 'in use by another' output || return 0
    sleep 0.05
  done
  fail "the files of a dead process stay locked"
}
# A host at work on the other virtual disk, meanwhile; its requests wait and are sent again.
host=nbd://127.0.0.1:$((port + 2000))/tank/host
host_worker=
begin_host() {
  rm -f stop-host
  "$here/host_work.py" work --workers 2 --stop stop-host "$host" > host.out 2>&1 &
  host_worker=$!
}
end_host() {
  touch stop-host
  wait "$host_worker" || fail "a host saw something else than it had written: $(cat host.out)"
  host_worker=
  cat host.out
  verify_host
}
verify_host() { expect 0 'as their writers left them' "$here/host_work.py" verify hosts.state "$host"; }
begin_work() {
  rm -f stop
  "$bin/duet-demo-client" work --port "$port" --clients 3 --stop stop --manifest "$1" > work.out 2>&1 &
  worker=$!
}
# The clients compare what they read all the time; at the end everything is read once more.
end_work() {
  touch stop
  wait "$worker" || fail "a client saw something else than it had written"
  worker=
  verify "$1"
}
verify() {
  "$bin/duet-demo-client" verify-work --port "$port" --manifest "$1" > output 2>&1 ||
    fail "what is there is not what the clients wrote ($1)"
}
loads() {  # until that many updates were written, since the start of duetd
  for _ in $(seq 1200); do
    kill -0 "$worker" 2> /dev/null || fail "the clients ended early"
    [ "$(updates)" -lt "$1" ] || return 0
    sleep 0.02
  done
  fail "the load does not get on"
}
updates() {
  duet raid status --json 2> /dev/null |
    awk -F'[:,]' '/_updates"/ { sum += $2 } END { print sum + 0 }'
}

closed() {  # PATH: duetd has let go of it
  [ -z "$(find -L /proc/"$server"/fd -samefile "$1" 2> /dev/null)" ] || fail "duetd still has $1 open"
}

optimal() {
  for _ in $(seq 1200); do
    ! duet raid status > output 2>&1 || return 0
    kill -0 "$server" 2> /dev/null || fail "duetd has ended"
    sleep 0.05
  done
  fail "the group is not rebuilt"
}

expect 0 'filer a is ready' duet init
expect 1 'nothing was touched.*run/0.img is a disk of a redundancy group .*virtual disk all' duet init
expect 0 'clean' duet check
start
expect 0 "group tank: $level, optimal, $redundancy more may fail" duet raid status
expect 0 'background at most 1 GiB per second of each node' duet raid status
expect 0 '"background_bytes_per_second": 1073741824' duet raid status --json
expect 0 "tank: $level of $disks disks, optimal" duet status
expect 0 'duet_raid_degraded\{group="tank"\} 0' curl -s --unix-socket run/admin.sock http://localhost/metrics
expect 0 'tank/all' duet disk list
expect 0 'run/0.img +224 MiB +tank 0 +in sync' duet disk list
expect 1 'group tank uses disk run/0.img.*duet disk fail run/0.img' duet disk remove run/0.img
expect 1 'disk run/0.img of group tank has not failed.*duet disk fail' duet disk replace 0.img run/x.img
expect 1 'is a virtual disk of redundancy group tank' duet disk fail tank/all
expect 1 'there is no disk run/9.img' duet disk remove run/9.img
expect 1 'there is no redundancy group pool' duet raid fail pool 0
expect 1 'group tank has no disk 9' duet raid fail tank 9

expect 0 'a +tank/host +127.0.0.1:[0-9]+ +0' duet raid status
expect 0 'export="tank/host"' nbdinfo --list "nbd://127.0.0.1:$((port + 2000))"
begin_host
begin_work first
for i in $(seq "$kills"); do
  loads $((10 + i * 5))
  crash
  if [ "$i" = 1 ]; then  # in mid-update; it finishes nothing on the disks
    released
    stat -c '%n %y' run/*.img run/nvlog.pmem > before
    expect 0 'clean' duet check
    stat -c '%n %y' run/*.img run/nvlog.pmem | cmp before - || fail "duet check has written"
  fi
  start
done
echo "$kills times killed in mid-load"

# A disk is taken out under load; the node is killed without it.
loads 20
expect 0 'not used any more' duet raid fail tank run/1.img
expect 1 'degraded' duet raid status
expect 0 'warning: redundancy group tank is degraded, .*run/1.img \(failed' duet status
loads $(($(updates) + 20))
crash
start
expect 0 'run/1.img \(failed: the disk has failed, and the group went on without it' duet status
expect 0 'duet_nbd_connections\{export="tank/host"\} [12]' curl -s --unix-socket run/admin.sock http://localhost/metrics
end_work first
end_host
echo "degraded: killed, and all is there"

if [ "$redundancy" = 2 ]; then
  # A second one is destroyed while nobody looks, and again in mid-load.
  begin_work second
  loads 40
  crash
  head -c 2M /dev/urandom > junk
  dd if=junk of=run/3.img conv=notrunc status=none
  start
  grep -q 'event=redundancy_group_disk .*disk=run/3.img state=failed' trace || fail "no word of disk 3"
  loads 20
  end_work second
  verify first
  echo "without two disks: all is there"
fi
expect 1 'can lose no more disks' duet raid fail tank 0
expect 0 'the next disk that fails costs its data' duet status
stop
expect 0 'clean' duet check
grep -q 'note: redundancy group tank: disk 1, run/1.img, is not used' output || fail "check says nothing of disk 1"
start
verify first
verify_host
stop
# One more than it can lose.
mv run/0.img run/away
expect 2 'duet.yaml:4: redundancy group tank: (too few disks|a disk .* may be newer)' timeout 60 "$bin/duetd" --config duet.yaml --node a
mv run/away run/0.img
start
verify first

# What failed is rebuilt while the load goes on and the node is killed.
begin_work third
expect 1 'run/1.img: .*--force gives up what it holds' duet raid replace tank 1 run/1.img
expect 0 'run/1.img .*tank 1 +failed' duet disk list
expect 0 'disk run/1.img has left group tank; .* erased; it can be pulled.*still lacks a disk' duet disk remove run/1.img
closed run/1.img
expect 0 'run/1.img .*tank 1 +failed: it was taken out' duet disk list
expect 0 'run/1.img is being rebuilt in place of 1.img' duet disk replace 1.img run/1.img
loads 10
crash
start
[ "$redundancy" = 1 ] || expect 0 'is being rebuilt' duet raid replace tank 3 run/3.img --force
optimal
end_work third
verify first
echo "rebuilt: all is there"

# A spare takes the place of a disk by itself.
truncate -s 224M run/spare.img
expect 0 'run/spare.img is a spare of tank' duet raid spare tank run/spare.img
expect 0 'spare +run/spare.img' duet raid status
begin_work fourth
expect 0 'disk run/0.img of group tank is not used any more' duet disk fail run/0.img
optimal
expect 0 'run/0.img .*tank +unused' duet disk list
expect 1 'nothing is to be replaced.*duet raid spare tank run/x.img' duet disk replace run/0.img run/x.img
expect 0 'disk run/0.img has left group tank; .*now remove it from the configuration' duet disk remove run/0.img
closed run/0.img
expect 1 'there is no disk run/0.img' duet disk remove run/0.img
expect 0 'run/0.img is a spare of tank' duet raid spare tank run/0.img
expect 0 'run/0.img .*tank +spare' duet disk list
expect 1 'is a spare of group tank' duet disk fail run/0.img
expect 0 'disk run/0.img has left group tank; .* erased' duet disk remove run/0.img
end_work fourth
verify first
stop
expect 0 'clean' duet check
sed -i 's|run/0.img|run/spare.img|' duet.yaml
start
expect 0 'optimal' duet raid status
verify fourth
stop
expect 0 'clean' duet check
echo "a spare took over: all is there"

# Check data goes wrong where a host's data is, and where a filer's is: nothing tells that it is not
# the data, until the filer's checksums do.
scrub_group() {  # and waits for its end
  expect 0 'is being compared' duet raid scrub tank "$@"
  for _ in $(seq 1200); do
    duet raid status --json > status.json || fail "the group is not optimal"
    grep -q '"running": false' status.json && return 0
    sleep 0.05
  done
  fail "the scrub does not end"
}
json_number() { grep -o "\"$1\": [0-9]*" status.json | head -1 | grep -o '[0-9]*$'; }
if [ "$level" = raid5 ]; then
  start
  duet raid status --json > status.json || fail "the group is not optimal"
  echo "$(json_number loose_regions) parts of the group have something that the rebuilds passed by"
  chunk=$(($(json_number chunk_bytes) / 4096))
  filers_stripe=$(((64 << 20) / $(json_number stripe_bytes) + 1))
  stop
  for stripe in 2 "$filers_stripe"; do  # where it is: raid/FORMAT.md, "Data"
    disk=$(((disks - 1 + disks * stripe - stripe) % disks))
    [ "$disk" = 0 ] && image=spare || image=$disk
    dd if=/dev/urandom of="run/$image.img" bs=4096 count=1 seek=$((256 + stripe * chunk + 3)) conv=notrunc status=none
  done
  start
  scrub_group
  expect 0 'ended, 0 rows put right; 2 DO NOT MATCH' duet raid status
  expect 0 'clean: [0-9,]+ blocks read, 0 errors' duet scrub start --wait
  scrub_group
  expect 0 'ended, 0 rows put right; 2 DO NOT MATCH' duet raid status
  scrub_group --trust-data
  expect 0 'ended, 2 rows put right$' duet raid status
  scrub_group
  expect 0 'ended, 0 rows put right$' duet raid status
  for _ in $(seq 100); do
    duet raid status --json > status.json
    [ "$(json_number loose_regions)" != 0 ] || break
    sleep 0.05
  done
  [ "$(json_number loose_regions)" = 0 ] || fail "parts of the group stay loose"
  expect 2 'excludes' duet raid scrub tank --stop --trust-data
  verify fourth
  verify_host
  stop
  expect 0 'clean' duet check
  echo "wrong check data: found and put right"
fi

# More disks, under load and through crashes; then a host gets the room.
if [ "$level" != raid1 ]; then
  truncate -s 224M run/new.img
  start
  expect 1 'group tank uses disk run/2.img already' duet raid add tank run/2.img
  begin_work fifth
  loads 20
  expect 0 'tank spreads over one disk more' duet raid add tank run/new.img
  expect 1 'already|is being expanded' duet raid add tank run/new.img
  loads $(($(updates) + 20))
  crash
  sed -i "s|\(      - {path: run/\)$((disks - 1)).img\(.*\)|&\n\1new.img\2|" duet.yaml
  start
  duet raid status > output
  grep -q 'expansion ' output || echo "(the expansion was over before the crash)"
  crash
  start
  for _ in $(seq 1200); do
    duet raid status --json > status.json
    grep -q '"expansion"' status.json || break
    sleep 0.05
  done
  expect 0 "group tank: $level, optimal, $redundancy more may fail" duet raid status
  end_work fifth
  verify fourth
  expect 1 'virtual disk host of group tank' duet raid virtual tank host 16MiB
  expect 0 'tank has a virtual disk late' duet raid virtual tank late 16MiB
  stop
  expect 0 'clean' duet check
  sed -i 's|^      - name: all$|&\n      - {name: late, nbd: {clients: [{match: 127.0.0.1}], answer: written}}|' duet.yaml
  sed -i 's|^      - name: all$|      - {name: all, size: 64MiB}|' duet.yaml
  start
  expect 0 'export="tank/late"' nbdinfo --list "nbd://127.0.0.1:$((port + 2000))"
  expect 0 'optimal' duet raid status
  verify fifth
  stop
  expect 0 'clean' duet check
  echo "over more disks: all is there"
fi

# Anew, over what is there.
expect 0 'destroying: disk run/spare.img is a disk of a redundancy group' duet init --force
start
expect 0 'optimal' duet raid status
begin_work last
loads 20
end_work last
stop
expect 0 'clean' duet check
echo "all as promised"
