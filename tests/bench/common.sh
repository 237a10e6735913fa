# Sourced by run.sh and growth.sh: where the programs are, free ports, starting and stopping Duet.
# Only processes started here are ever ended, by their ids.

BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$BENCH/../.." && pwd)
BIN=${DUET_BIN:-$REPOSITORY/build/release/bin}
STARTED=()

say() { echo "$(basename "$0"): $*" >&2; }
give_up() { say "$*"; exit 2; }

need() { [ -x "$BIN/$1" ] || give_up "no $BIN/$1: build it first, or set DUET_BIN"; }

note_load() {
  awk '$1 > 0.5 { exit 1 }' /proc/loadavg ||
    say "note: the machine is busy (load $(cut -d' ' -f1 /proc/loadavg)): these numbers mean little"
}

# The first of two neighbouring free TCP ports.
free_port() {
  python3 - <<'PY'
import random, socket
while True:
    port = random.randrange(20100, 32000, 2)
    try:
        for p in (port, port + 1):
            with socket.socket() as s:
                s.bind(("127.0.0.1", p))
        print(port)
        break
    except OSError:
        pass
PY
}

end_process() {  # PID [SIGNAL]: and wait until it is gone
  kill "-${2:-TERM}" "$1" 2>/dev/null
  for _ in $(seq 200); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$1" 2>/dev/null
  wait "$1" 2>/dev/null
}

# write_duet_config FILE DIR MEMORY_DIR PORT DISK_SIZE CACHE MEMORY_SIZE: two disk images in DIR,
# the request log in MEMORY_DIR, a quarter of it for each half of the filer's area.
write_duet_config() {
  cat >"$1" <<CONF
pair:
  name: bench
nodes:
  a:
    memory:
      path: $3/nvlog.pmem
      size: $7
      accept_volatile: true
    admin:
      socket: $2/admin.sock
filers:
  a:
    home: a
    addresses: [127.0.0.1]
    port: $4
    disks:
      - path: $2/a0.img
        size: $5
      - path: $2/a1.img
        size: $5
    cache: $6
    volumes:
      - name: vol0
    exports:
      - path: /vol0
        clients:
          - match: 127.0.0.0/8
            access: rw
            squash: none
CONF
}

# start_duet CONFIG PORT LOG: leaves the id in $DUET_PID and the seconds until it answered in
# $DUET_START_SECONDS.
start_duet() {
  "$BIN/duetd" --config "$1" --node a >>"$3" 2>&1 </dev/null &
  DUET_PID=$!
  STARTED+=("$DUET_PID")
  DUET_START_SECONDS=$("$BIN/duet-bench" --wait 120 --port "$2") || {
    tail -5 "$3" >&2
    give_up "duetd did not come up; its output is above"
  }
}
