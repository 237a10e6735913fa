#!/bin/bash
# What an operator does with duet and duetd, and the exit codes it gets.
# Usage: operator_test.sh BIN_DIRECTORY
set -uo pipefail
bin=$(readlink -f "$1")
run=$(mktemp -d "${TMPDIR:-/tmp}/duet-operator.XXXXXX")
server=
cleanup() {
  [ -z "$server" ] || { kill -9 "$server"; wait "$server"; } 2> /dev/null
  rm -rf "$run"
}
trap cleanup EXIT
cd "$run" || exit 1
failures=0

port=21049
while (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do port=$((port + 1)); done
cat > duet.yaml <<YAML
pair:
  name: operator
nodes:
  a:
    memory:
      path: run/nvlog.pmem
      size: 64MiB
      accept_volatile: true
    admin:
      socket: run/admin.sock
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    port: $port
    disks:
      - path: run/0.img
        size: 256MiB
    volumes:
      - name: vol0
    exports:
      - path: /vol0
        clients:
          - match: 127.0.0.0/8
YAML

# expect CODE PATTERN COMMAND...: the exit code, and an extended regular expression in the output.
expect() {
  local code=$1 pattern=$2 got=0
  shift 2
  "$@" > output 2>&1 || got=$?
  if [ "$got" != "$code" ] || ! { [ -z "$pattern" ] || grep -qE "$pattern" output; }; then
    echo "FAILED: $*"
    echo "  exit $got (wanted $code), output without /$pattern/:"
    sed 's/^/    /' output
    failures=$((failures + 1))
  fi
}
duet() { "$bin/duet" --config duet.yaml "$@"; }
duetd() { timeout 60 "$bin/duetd" --config duet.yaml --node a "$@"; }
start() {
  : > trace
  "$bin/duetd" --config duet.yaml --node a 2> trace &
  server=$!
  for _ in $(seq 600); do
    ! grep -q event=serving trace || return 0
    kill -0 "$server" 2> /dev/null || break
    sleep 0.05
  done
  echo "FAILED: duetd does not serve:"
  cat trace
  exit 1
}
stop() {
  kill -TERM "$server"
  wait "$server"
  local code=$?
  server=
  return $code
}

# The command line and the configuration.
expect 0 'Exit codes' duet --help
expect 2 'required|subcommand' duet
expect 2 'not expected|nonsense' duet status --nonsense
expect 2 'nowhere.yaml: cannot be read: No such file' "$bin/duet" status --config nowhere.yaml
expect 2 'there is no node "b"' duet --node b status
expect 3 'nobody answers at run/admin.sock' duet status
expect 2 'duet.yaml:6: memory run/nvlog.pmem: No such file.*duet init' duetd
sed 's/cache/cash/; s/    port:/    prot:/' duet.yaml > bad.yaml
expect 2 'bad.yaml:[0-9]+: ' "$bin/duetd" --config bad.yaml
[ ! -e run ] || { echo "FAILED: a refusal made files"; failures=$((failures + 1)); }

# init, once; again only by force.
expect 0 'filer a is ready' "$bin/duet" init --config duet.yaml
expect 0 'clean' duet check
expect 0 '"formatted": true' duet log --json
sha256sum run/0.img run/nvlog.pmem > before
expect 1 'nothing was touched.*disk run/0.img is disk 0 of filer a.*memory run/nvlog.pmem holds' duet init
expect 0 'OK' sha256sum --check before
expect 0 'destroying: disk run/0.img is disk 0 of filer a' duet init --force

# A server at work.
start
expect 2 'Address already in use|in use' duetd
expect 2 'stop duetd' duet check
expect 2 'stop duetd' duet init --force
expect 0 'pair operator, node a, filer a: serving' duet status
expect 0 'NOT persistent' duet status
expect 0 '"persistent": false' duet --json status
expect 0 'volume projects created' duet volume create projects --limit 100MiB
expect 1 'volume projects: the name is taken' duet volume create projects
expect 0 'projects .* 100 MiB' duet volume list
expect 0 'limit 50MiB' duet volume limit projects 50MiB
expect 2 'write a size' duet volume limit projects many
expect 0 'is now work' duet volume rename projects work
expect 1 'volume projects: there is none' duet volume destroy projects
for name in monday tuesday wednesday; do
  expect 0 "snapshot $name of work created" duet snapshot create work $name
done
expect 0 'monday' duet snapshot list work
expect 1 'newer snapshots would be deleted: tuesday, wednesday' duet snapshot restore work monday
expect 0 'volume work is as it was in monday' duet snapshot restore work monday --delete-newer
expect 0 'is now sunday' duet snapshot rename work monday sunday

# Streams.
stream() { "$bin/duet" --config duet.yaml snapshot "$@"; }
expect 0 'snapshot first of vol0 created' duet snapshot create vol0 first
stream send vol0@first > full.stream || { echo "FAILED: send"; failures=$((failures + 1)); }
expect 0 'snapshot second of vol0 created' duet snapshot create vol0 second
stream send vol0@second --from first > next.stream || { echo "FAILED: send --from"; failures=$((failures + 1)); }
expect 1 'none of that name' duet snapshot send vol0@third
expect 2 'write VOLUME@SNAPSHOT' duet snapshot send vol0
expect 2 'the value|name or value' duet snapshot send vol0@first --from second
receive() { "$bin/duet" --config duet.yaml snapshot receive "${@:2}" < "$1"; }
expect 1 'volume copy: there is none' receive next.stream copy
expect 0 'volume copy has the snapshot; .* received' receive full.stream copy
expect 1 'the name is taken' receive full.stream copy
expect 0 'volume copy has the snapshot' receive next.stream copy
expect 1 'newest snapshot is not the one' receive next.stream copy
expect 0 'second' duet snapshot list copy
head -c 5000 "$bin/duet" > no.stream
expect 2 'no stream of a snapshot' receive no.stream copy2
head -c 600 full.stream > short.stream
expect 1 'ends too early; nothing was changed' receive short.stream copy2
expect 1 'volume copy2: there is none' duet snapshot list copy2
expect 1 'nothing is being received|none of that name' duet snapshot receive copy --abort
for name in first second; do
  expect 0 'deleted' duet snapshot delete copy $name
  expect 0 'deleted' duet snapshot delete vol0 $name
done
expect 0 'volume copy destroyed' duet volume destroy copy

# Clones.
expect 2 'write VOLUME@SNAPSHOT' duet volume clone work trial
expect 1 'none of that name' duet volume clone work@friday trial
expect 0 'volume trial is a clone of work@sunday' duet volume clone work@sunday trial --limit 20MiB
expect 1 'the name is taken' duet volume clone work@sunday trial
expect 0 'trial +0 B +20 MiB .*work@sunday' duet volume list
expect 0 'sunday .*trial' duet snapshot list work
expect 1 'snapshot sunday: there are clones: trial \(of sunday\); destroy them first' \
  duet snapshot delete work sunday
expect 1 'volume work: there are clones: trial \(of sunday\)' duet volume destroy work
expect 0 'snapshot own of trial created' duet snapshot create trial own
expect 0 'volume second is a clone of trial@own' duet volume clone trial@own second
expect 0 'snapshot later of work created' duet snapshot create work later
expect 0 'volume third is a clone' duet volume clone work@later third
expect 1 'there are clones: third \(of later\)' duet snapshot restore work sunday --delete-newer
expect 0 'clean: [0-9,]+ blocks read, 0 errors' duet scrub start --wait
expect 0 'volume third destroyed' duet volume destroy third
expect 0 'volume work is as it was in sunday' duet snapshot restore work sunday --delete-newer
expect 0 'volume second destroyed' duet volume destroy second
expect 0 'deleted' duet snapshot delete trial own
expect 0 'volume trial destroyed' duet volume destroy trial

expect 1 'volume work' duet volume destroy work
expect 0 'deleted' duet snapshot delete work sunday
expect 0 '/work exported to 10.1.0.0/16 \(ro' duet export add /work --client 10.1.0.0/16 --access ro
expect 0 '/work +10.1.0.0/16 +ro +root' duet export list
expect 1 'no volume of that name' duet export add /nothing --client '*'
expect 0 'exports reloaded' duet export reload
expect 0 '/vol0 +127.0.0.0/8 +rw' duet export list
expect 1 'export /work: there is none' duet export remove /work
expect 0 'volume work destroyed' duet volume destroy work
expect 0 'run/0.img' duet disk list
truncate -s 128M new.img
expect 0 'disk new.img added' duet disk add new.img
expect 1 'in use|data' duet disk add run/0.img
expect 1 'run/0.img belongs to the aggregate itself.*can only be lost with the aggregate.*duet snapshot send' duet disk fail run/0.img
expect 0 'total' duet df
expect 0 'consistency point written' duet cp
expect 0 'clean: [0-9,]+ blocks read, 0 errors' duet scrub start --wait
expect 0 'serving: sequence' duet log
expect 0 'PROCEDURE' duet top --count 1 --interval 0.1
expect 0 'server 0' duet version
expect 0 'duet_requests_total.*GETATTR' \
  curl -s --unix-socket run/admin.sock http://localhost/metrics
expect 0 'no such resource' curl -s --unix-socket run/admin.sock http://localhost/v1/nothing
expect 0 'not a JSON object' curl -s --unix-socket run/admin.sock -d '[' http://localhost/v1/volumes
expect 0 '' kill -HUP "$server"
expect 0 '' stop

# The next start misses the disk that was added, until the file names it.
expect 2 'event=filer_not_opened.*not listed in' duetd
sed -i 's|^    volumes:|      - path: new.img\n&|' duet.yaml
start
expect 0 'new.img' duet disk list
expect 0 '' stop
expect 0 'clean' duet check

# Somebody else's log is refused, not replayed.
cp run/nvlog.pmem mine.pmem
start
kill -9 "$server"; wait "$server" 2> /dev/null; server=
expect 0 '' truncate -s 0 run/nvlog.pmem
truncate -s 64M run/nvlog.pmem
expect 2 'event=filer_not_opened.*put back' duetd

[ "$failures" = 0 ] || exit 1
echo "all as promised"
