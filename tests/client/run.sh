#!/bin/bash
# A real Linux kernel NFS client against Duet: boots user-mode Linux in a network namespace of its
# own, mounts the export and runs the checks of checks/.  `run.sh --help` says the rest.
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
BIN=${DUET_BIN:-$REPOSITORY/build/release/bin}

usage() {
  cat <<'TEXT'
usage: tests/client/run.sh [--quick | --full] [--only "CHECK ..."] [--ganesha] [--keep]
                           [--server-command COMMAND]
  --quick     a subset with small numbers, under three minutes (default)
  --full      every check, full size
  --only L    these checks (names of checks/*.sh), in this order
  --ganesha   against nfs-ganesha instead of Duet: shows that a failure is ours, not the check's
  --server-command C   another server: it must serve /vol0, MOUNT and NFS, at $ADDRESS:$PORT, which
              are 10.99.0.1 and 20049
  --keep      leaves the logs behind and says where
Needs root, taps, user-mode-linux, nfs-common; exit code 77 with the reason where the machine
cannot; 0 when every check passed; 1 when one failed.  Duet is taken from $DUET_BIN or
build/release/bin.  Runs can go on side by side.
TEXT
}

SCALE=quick ONLY= KIND=duet KEEP= COMMAND=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) SCALE=quick ;;
    --full) SCALE=full ;;
    --only) ONLY=$2; shift ;;
    --ganesha) KIND=ganesha ;;
    --server-command) COMMAND=$2 KIND=other; shift ;;
    --keep) KEEP=1 ;;
    *) usage; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
  shift
done

cannot() { echo "client: SKIPPED: $*"; exit 77; }
broken() { echo "client: $*"; exit 1; }
[ "$(id -u)" = 0 ] || cannot "needs root for a network namespace and a tap"
"$HERE/../guest/boot.sh" --check || exit 77
command -v mount.nfs >/dev/null || cannot "needs the package nfs-common"

NAMESPACE=duet-client-$$
ADDRESS=10.99.0.1 GUEST=10.99.0.2 PORT=20049 CONTROL=20050
mkdir -p "$REPOSITORY/build"
WORK=$(mktemp -d "$REPOSITORY/build/client.XXXXXX")
SHM=$(mktemp -d /dev/shm/duet-client.XXXXXX)
CONTROL_PID=
clean_up() {
  trap - EXIT INT TERM
  # Only what was started here is in this namespace.
  [ -n "$CONTROL_PID" ] && kill "$CONTROL_PID" 2>/dev/null && wait "$CONTROL_PID" 2>/dev/null
  local pids
  pids=$(ip netns pids "$NAMESPACE" 2>/dev/null)
  [ -n "$pids" ] && kill -KILL $pids 2>/dev/null
  ip netns del "$NAMESPACE" 2>/dev/null
  rm -rf "$SHM"
  if [ -n "$KEEP" ]; then echo "client: kept $WORK"; else rm -rf "$WORK"; fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM

in_namespace() { ip netns exec "$NAMESPACE" "$@"; }
{ ip netns add "$NAMESPACE" && in_namespace ip link set lo up &&
  in_namespace ip tuntap add dev tap0 mode tap && in_namespace ip addr add $ADDRESS/24 dev tap0 &&
  in_namespace ip link set tap0 up; } >"$WORK/network.log" 2>&1 ||
  cannot "no network namespace with a tap: $(tail -1 "$WORK/network.log")"

QUICK="tree links permissions append-truncate exclusive sparse special names rename-load mmap git sqlite fio snapshot crash directory"
if [ -z "$ONLY" ]; then
  ONLY=$QUICK
  [ $SCALE = full ] && ONLY="$QUICK tar"
fi
for check in $ONLY; do [ -f "$HERE/checks/$check.sh" ] || broken "no check named $check"; done

. "$REPOSITORY/tests/bench/common.sh"
. "$REPOSITORY/tests/bench/ganesha.sh"
SNAPSHOT= MOUNT_PORT=$PORT MORE_OPTIONS=rw
case $KIND in
  duet)
    [ -x "$BIN/duetd" ] && [ -x "$BIN/duet" ] || broken "no $BIN/duetd: build it, or set DUET_BIN"
    write_duet_config "$WORK/duet.yaml" "$WORK/state" "$SHM" $PORT 8GiB 256MiB 256MiB
    sed -i "s/addresses: .*/addresses: [$ADDRESS]/; s/match: .*/match: 10.99.0.0\/24/" "$WORK/duet.yaml"
    mkdir -p "$WORK/state"
    "$BIN/duet" init --config "$WORK/duet.yaml" >"$WORK/init.log" 2>&1 || {
      cat "$WORK/init.log"; broken "duet init failed"; }
    COMMAND="$BIN/duetd --config $WORK/duet.yaml --node a"
    SNAPSHOT="$BIN/duet --config $WORK/duet.yaml snapshot VERB vol0 NAME"
    ;;
  ganesha)
    [ -x "$GANESHA_PROGRAM" ] || cannot "needs the packages nfs-ganesha and nfs-ganesha-vfs"
    MOUNT_PORT=$((PORT + 1)) CONTROL=$((PORT + 2))
    MORE_OPTIONS=noacl  # its answers to the ACL protocol are I/O errors
    mkdir -p "$WORK/tree" "$WORK/state/recovery"
    write_ganesha_config "$WORK/tree" $PORT "$WORK/state" $ADDRESS
    COMMAND="env LD_PRELOAD=$BIN/rpcb_shim.so $GANESHA_PROGRAM -F -f $WORK/state/ganesha.conf -L $WORK/ganesha.log -p $WORK/ganesha.pid"
    ;;
  other) export ADDRESS PORT ;;
esac

mkdir -p "$WORK/log"
: >"$WORK/results"
ip netns exec "$NAMESPACE" python3 "$HERE/control.py" --listen $ADDRESS:$CONTROL --server "$COMMAND" \
  --log "$WORK/server.log" --snapshot "$SNAPSHOT" >"$WORK/control.log" 2>&1 &
CONTROL_PID=$!
for _ in $(seq 300); do
  in_namespace bash -c "exec 3<>/dev/tcp/$ADDRESS/$PORT && exec 4<>/dev/tcp/$ADDRESS/$MOUNT_PORT" 2>/dev/null && break
  kill -0 $CONTROL_PID 2>/dev/null || { tail -5 "$WORK/server.log"; broken "the server did not start"; }
  sleep 0.1
done

LIMIT=$([ $SCALE = quick ] && echo 300 || echo 1500)
in_namespace timeout -k 10 "$LIMIT" "$HERE/../guest/boot.sh" "$WORK" "$HERE/init.sh" mem=768M \
  vec0:transport=tap,ifname=tap0,depth=64,gro=1 TESTS="$HERE" SERVER=$ADDRESS PORT=$PORT MOUNT_PORT=$MOUNT_PORT CONTROL=$CONTROL \
  MORE_OPTIONS=$MORE_OPTIONS GUEST=$GUEST KIND=$KIND SCALE=$SCALE CHECKS="${ONLY// /,}" >"$WORK/console.log"

failed=0
cat "$WORK/results"
grep -q "^FAIL" "$WORK/results" && failed=1
if [ "$(cat "$WORK/result" 2>/dev/null)" != done ]; then
  echo "FAIL guest: $(cat "$WORK/result" 2>/dev/null || echo "did not come to its end within $LIMIT s"); console:"
  tail -15 "$WORK/console.log" "$WORK/guest.log" 2>/dev/null
  failed=1
fi
kill $CONTROL_PID 2>/dev/null
wait $CONTROL_PID
code=$?
CONTROL_PID=
[ $code = 0 ] || { echo "FAIL server: code $code: $(tail -1 "$WORK/control.log")"; tail -20 "$WORK/server.log"; failed=1; }
for check in $ONLY; do
  grep -q "^[A-Z]* $check\b" "$WORK/results" || { echo "FAIL $check: no result"; failed=1; }
  grep -q "^FAIL $check\b" "$WORK/results" && { echo "--- $check:"; tail -15 "$WORK/log/$check.log"; }
done
exit $failed
