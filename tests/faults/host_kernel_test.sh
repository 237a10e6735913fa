#!/bin/bash
# A Linux kernel as host of a virtual disk: ext4 on a multipath device over both nodes' NBD devices,
# while one node after the other is killed and comes back.
# Usage: host_kernel_test.sh BIN [ROUNDS]
# Needs root, user-mode-linux, nbd-client, dmsetup; exit code 77 with the reason where they are not.
set -euo pipefail
bin=$(realpath "$1")
rounds=${2:-2}
here=$(cd "$(dirname "$0")/../.." && pwd)
seed=${SEED:-$RANDOM}
RANDOM=$seed
cannot() { echo "host_kernel_test: SKIPPED: $*"; exit 77; }
[ "$(id -u)" = 0 ] || cannot "needs root for a network namespace and a tap"
for program in nbd-client dmsetup mkfs.ext4 ip; do
  command -v $program > /dev/null || cannot "needs $program"
done
"$here/tests/guest/boot.sh" --check || exit 77
export SAMPLE=pair-shared.yaml DUET_PAIR_DISK=400M
# shellcheck source=tests/faults/common.sh
. "$here/tests/faults/common.sh"
# shellcheck source=tests/faults/sample.sh
. "$here/tests/faults/sample.sh"
# The pair lives in a namespace of its own, with the guest at a tap.
net=duet-host-$$
guest=
pair() { ip netns exec "$net" "$here/deploy/samples/pair.sh" --bin "$bin" --config pair.yaml "$@"; }
pair_kill() {
  pair kill all
  local process
  for process in $(ip netns pids "$net"); do kill -9 "$process" 2> /dev/null || true; done
  ip netns del "$net"
}
ip netns add "$net" || cannot "no network namespace"
ip -n "$net" link set lo up
ip -n "$net" tuntap add dev tap0 mode tap || cannot "no tap"
ip -n "$net" addr add 10.9.9.11/24 dev tap0
ip -n "$net" addr add 10.9.9.12/24 dev tap0
ip -n "$net" link set tap0 up
sed -i 's/127\.0\.1\.11/10.9.9.11/; s/127\.0\.1\.12/10.9.9.12/; s|match: 127\.0\.0\.0/8|match: "*"|' pair.yaml

say "seed $seed"
pair start > start.out
await_home
mkdir guest
ip netns exec "$net" "$here/tests/guest/boot.sh" "$run/guest" "$here/tests/faults/host_kernel_init.sh" mem=512M \
  vec0:transport=tap,ifname=tap0,depth=64,gro=1 TESTS="$here/tests/faults" GUEST=10.9.9.1 PORT="$nbd_port" \
  NODES=10.9.9.11,10.9.9.12 DISK=tank/host USERS=3 ROUNDS="$rounds" > guest/console &
guest=$!
await_guest() { # FILE
  for _ in $(seq ${WAIT:-900}); do
    [ ! -e "guest/$1" ] || return 0
    [ ! -e guest/result ] || break
    sleep 0.1
  done
  echo "the guest does not come to $1" >&2
  cat guest/result guest/host-* guest/guest.log >&2 || true
  curl -s --unix-socket run/a/admin.sock http://localhost/v1/nbd >&2 || true
  curl -s --unix-socket run/b/admin.sock http://localhost/v1/nbd >&2 || true
  ip netns exec "$net" ss -tn >&2 || true
  return 1
}
for round in $(seq "$rounds"); do
  victim=$([ $((round % 2)) = 1 ] && echo a || echo b)
  await_guest "working-$round"
  sleep 2
  say "round $round: attached: $(duet raid status | grep -cE '^[ab] +tank/host +.* [1-9]') nodes; node $victim is killed"
  pair kill "$victim" > kill.out
  await "$victim" "$(other "$victim")" ""
  sleep 3
  [ ! -e guest/result ] || { cat guest/result guest/host-* >&2; exit 1; }
  pair start > start.out
  await "$victim" "$(other "$victim")" "in sync"
  give_back
  await_home
  touch "guest/stop-$round"
done
await_guest result
for user in guest/host-*; do
  say "$(head -n 1 "$user"); longest waits, ms: $(awk '$1 == "stall" { print $6 }' "$user" | sort -rn | head -n 6 | xargs)"
done
say "$(cat guest/result): $(cat guest/paths-*)"
[ "$(cat guest/result)" = good ] || { cat guest/host-* guest/guest.log >&2; exit 1; }
if grep -E "EXT4-fs error|Buffer I/O error on dev dm|BUG:|Oops" guest/dmesg; then
  echo "the host's kernel complains" >&2
  exit 1
fi
wait "$guest" || true
pair stop > stop.out
failed=no
