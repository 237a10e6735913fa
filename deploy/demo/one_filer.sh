#!/bin/bash
# The first half of deploy/demo.sh: a tree is copied into one filer, which is killed in the middle.
# Usage: one_filer.sh --bin DIR --tree DIR --files N --clients N [--reactors N]
set -euo pipefail

reactors=1
while [ $# -gt 0 ]; do
  case "$1" in
    --bin) bin=$2 ;;
    --tree) tree=$2 ;;
    --files) files=$2 ;;
    --clients) clients=$2 ;;
    --reactors) reactors=$2 ;;
    *) echo "one_filer.sh: $1 is not known" >&2; exit 2 ;;
  esac
  shift 2
done

run=$(mktemp -d "${TMPDIR:-/tmp}/duet-demo.XXXXXX")
server=
copier=
failed=yes
cleanup() {
  if [ "$failed" = yes ]; then
    echo "demo: FAILED; the server's trace:" >&2
    tail -n "${TAIL:-20}" "$run/trace" >&2 || true
  fi
  for process in $copier $server; do
    kill -9 "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
  done
  rm -rf "$run"
}
trap cleanup EXIT

port=20049
while (: < "/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
  port=$((port + 1))
done

cat > "$run/duet.yaml" <<YAML
pair:
  name: demo
nodes:
  a:
    memory:
      path: $run/nvlog.pmem
      size: 256MiB
      accept_volatile: true
    reactors: $reactors
    admin:
      socket: $run/admin.sock
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    port: $port
    disks:
      - path: $run/0.img
        size: 1GiB
      - path: $run/1.img
        size: 1GiB
    cache: 128MiB
    cp_interval: 2s
    volumes:
      - name: vol0
    exports:
      - path: /vol0
        clients:
          - match: 127.0.0.0/8
            access: rw
            squash: none
YAML

began=$(date +%s.%N)
say() {
  printf '%6.1f s  %s\n' "$(echo "$(date +%s.%N) $began" | awk '{print $1 - $2}')" "$*"
}
duet() { "$bin/duet" --config "$run/duet.yaml" "$@"; }
client() { "$bin/duet-demo-client" "$@" --port "$port" --clients "$clients" --tree "$tree" --files "$files"; }
acknowledged() { wc -l < "$run/journal"; }
traced() { grep -o "$1=[^ ]*" "$run/trace" | tail -n 1 | cut -d= -f2; }

start() {
  : > "$run/trace"
  "$bin/duetd" --config "$run/duet.yaml" --node a 2>> "$run/trace" &
  server=$!
  for _ in $(seq 600); do
    ! grep -q event=serving "$run/trace" || return 0
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

duet init > "$run/init.out"
say "formatted: two disks of 1 GiB, a log of 256 MiB, the volume vol0"
start
# Its clients would wait for a server that ended by itself.
lives() { kill -0 "$server" 2> /dev/null || { echo "demo: duetd has ended" >&2; exit 1; }; }
say "duetd serves /vol0 on 127.0.0.1:$port (process $server)"
total=$(client list)
say "$clients clients copy $tree over NFSv3: $total"
touch "$run/journal"
client copy --journal "$run/journal" 2> "$run/copy.err" &
copier=$!
count=${total%% *}
while [ "$(acknowledged)" -lt $((count / 3)) ]; do
  kill -0 "$copier" || { cat "$run/copy.err" >&2; exit 1; }
  lives
  sleep 0.02
done

{ kill -9 "$server" && wait "$server"; } 2> /dev/null || true
# No server runs: what the journal holds now is all that was ever acknowledged.
cp "$run/journal" "$run/acknowledged"
say "kill -9 in the middle of it: $(wc -l < "$run/acknowledged") files acknowledged so far"
start
say "restarted: $(traced replayed_records) log records replayed in $(traced replay_ms) ms; the clients go on"
say "compared with the originals: $(client verify --journal "$run/acknowledged")"
while kill -0 "$copier" 2> /dev/null; do
  lives
  sleep 0.2
done
wait "$copier" || { cat "$run/copy.err" >&2; exit 1; }
copier=
say "the copy is complete: $(acknowledged) files acknowledged"
say "compared with the originals: $(client verify)"

duet snapshot create vol0 before > /dev/null
say "snapshot 'before' taken"
client remove
say "everything removed from the live tree"
say "read back from .snapshot/before: $(client verify --prefix /.snapshot/before)"
duet status > "$run/status"
say "status: $(grep -o '[0-9,]* done; .*' "$run/status" | head -n 1 | sed 's/^\([0-9,]*\) done;/\1 CPs;/')"

kill -TERM "$server"
wait "$server"
server=
say "stopped gracefully"
check=$(duet check 2> /dev/null)
say "offline check: $(echo "$check" | tail -n 1)"
failed=no
echo "demo: every acknowledged file survived the kill, and every removed one was in the snapshot"
