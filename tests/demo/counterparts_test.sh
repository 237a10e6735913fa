#!/bin/bash
# duetd beside what it finds on a real machine: systemd's readiness socket, a system rpcbind, the
# package and its unit file.  Usage: counterparts_test.sh BIN_DIRECTORY
# Needs root (namespaces of its own for rpcbind); exits with 77 without.
set -uo pipefail
bin=$(readlink -f "$1")
here=$(cd "$(dirname "$0")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "skipped: not root"; exit 77; }
for tool in unshare rpcbind rpcinfo python3 dpkg-deb; do
  command -v $tool > /dev/null || { echo "skipped: no $tool"; exit 77; }
done
if [ "${DUET_INSIDE:-}" != yes ]; then
  # rpcbind's socket is in /run and is shared by all network namespaces: hide both.
  DUET_INSIDE=yes exec unshare --mount --net bash "$0" "$bin"
fi
ip link set lo up
mount -t tmpfs none /run
run=$(mktemp -d /tmp/duet-counterparts.XXXXXX)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill -9 "$pid" 2> /dev/null; wait "$pid" 2> /dev/null; done
  rm -rf "$run"
}
trap cleanup EXIT
cd "$run" || exit 1
fail() { echo "FAILED: $*"; cat trace 2> /dev/null; exit 1; }
# until COMMAND...: it succeeds within 20 s
until_true() {
  for _ in $(seq 400); do "$@" > output 2>&1 && return 0; sleep 0.05; done
  cat output
  return 1
}

cat > duet.yaml <<YAML
pair:
  name: counterparts
nodes:
  a:
    register_rpcbind: true
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
    port: 2049
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
"$bin/duet" init --config duet.yaml > output 2>&1 || { cat output; fail "duet init"; }

rpcbind -i -f > rpcbind.log 2>&1 &
started+=($!)
until_true rpcinfo -p 127.0.0.1 || fail "rpcbind does not answer"

# systemd's side of sd_notify(3): a datagram socket that keeps what it is told.
python3 - > notified <<'PY' &
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify.sock")
while True:
    print(s.recv(4096).decode(), flush=True)
PY
started+=($!)
until_true test -S notify.sock || fail "no readiness socket"
NOTIFY_SOCKET=$run/notify.sock "$bin/duetd" --config duet.yaml --node a 2> trace &
server=$!
started+=($server)
until_true grep -qx READY=1 notified || fail "duetd never said READY=1"

# registered PROGRAM VERSION: at TCP port 2049
registered() { rpcinfo -p 127.0.0.1 | grep -Eq "^ +$1 +$2 +tcp +2049( |$)"; }
registered 100003 3 || fail "NFS v3 is not registered: $(rpcinfo -p 127.0.0.1)"
registered 100005 3 || fail "MOUNT v3 is not registered: $(rpcinfo -p 127.0.0.1)"
rpcinfo -T tcp 127.0.0.1 100003 3 > output 2>&1 || { cat output; fail "NULL through rpcbind"; }
if command -v showmount > /dev/null; then
  showmount -e 127.0.0.1 2>&1 | grep -q '^/vol0 ' || fail "showmount: $(showmount -e 127.0.0.1 2>&1)"
fi

kill -TERM $server
wait $server || fail "duetd did not stop cleanly"
grep -qx STOPPING=1 notified || fail "duetd never said STOPPING=1"
registered 100003 3 && fail "NFS is still registered after the end"
registered 100005 3 && fail "MOUNT is still registered after the end"

# The package holds what the unit file names, and runs from there.
(cd "$here" && deploy/stage.sh "$run/root" --deb "$run/duet.deb") > output 2>&1 || { cat output; fail "stage.sh"; }
dpkg-deb --extract duet.deb unpacked || fail "no package"
unpacked/usr/sbin/duetd --version > output 2>&1 || { cat output; fail "the package's duetd"; }
[ "$(dpkg-deb --field duet.deb Version)" = "$(unpacked/usr/sbin/duetd --version)" ] || fail "the package's version"
unit=unpacked/lib/systemd/system/duetd@.service
program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' $unit)
[ -x "unpacked$program" ] || fail "the unit file starts $program, which the package lacks"
if command -v systemd-analyze > /dev/null; then
  # Only what it says of our unit: the machine's own are not ours.
  mkdir -p units && sed "s#$program#$run/unpacked$program#" $unit > units/duetd@.service
  cp units/duetd@.service units/duetd@a.service
  systemd-analyze verify "$run/units/duetd@a.service" 2>&1 | grep 'duetd@' > output
  [ ! -s output ] || { cat output; fail "systemd-analyze verify"; }
fi
echo "systemd's readiness, rpcbind, showmount, package and unit file: as they should be"
