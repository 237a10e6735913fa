#!/bin/bash
# A sample pair on this machine: two shelves, two nodes; all of it under ./run of the current directory.
# Usage: deploy/samples/pair.sh [--bin DIR] [--config FILE] shelves|start|stop|status
#        deploy/samples/pair.sh ... start a|b
#        deploy/samples/pair.sh ... kill a|b|all
#   shelves      starts the two shelves only; `duet init` needs them
#   start        starts the shelves, runs `duet init` if it never was, starts both nodes, or one
#   stop         stops both nodes, then the shelves
#   kill         ends a node, or all of it, as a crash would (kill -9)
#   status       what runs, and what the pair says of itself; 0 if all of it runs, else 1
#   --bin DIR    where duet, duetd and duet-shelf are (default: build/release/bin, else the PATH)
#   --config FILE   instead of pair.yaml beside this script: pair-raid.yaml, pair-shared.yaml or one of
#                your own; its disks on run/shelf1.sock and run/shelf2.sock are made and served
# DUET_PAIR_DISK is the size of each disk image that is made (default 1G).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$here/../../build/release/bin
[ -x "$bin/duetd" ] || bin=
config=$here/pair.yaml
verb=
nodes="a b"
while [ $# -gt 0 ]; do
  case "$1" in
    --bin) bin=${2:?"--bin: name a directory"}; shift 2 ;;
    --config) config=${2:?"--config: name a file"}; shift 2 ;;
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    shelves | start | stop | status)
      [ -z "$verb" ] || { echo "pair: say one of $verb and $1" >&2; exit 2; }
      verb=$1; shift
      case "$verb ${1:-}" in "start a" | "start b") nodes=$1; shift ;; esac ;;
    kill) verb=kill; victim=${2:?"kill: name a node, or all"}; shift 2 ;;
    *) echo "pair: $1 is not known; see --help" >&2; exit 2 ;;
  esac
done
[ -n "$verb" ] || { echo "pair: say shelves, start, stop or status; see --help" >&2; exit 2; }
program() { # NAME
  if [ -n "$bin" ]; then echo "$bin/$1"; else command -v "$1" || echo "$1"; fi
}
duet=$(program duet) duetd=$(program duetd) shelf=$(program duet-shelf)
for each in "$duet" "$duetd" "$shelf"; do
  [ -x "$each" ] || { echo "pair: $each is not there; build it (deploy/build.sh), or give --bin" >&2; exit 2; }
done

# Which disks stand on which shelf, as the configuration has them.
disks_of() { # SHELF
  sed -nE "s|^[^#]*url: *\"?shelf\\+unix://run/$1\\.sock#([A-Za-z0-9._-]+).*|\\1|p" "$config" | tr '\n' ' '
}
wait_s=30

pid_file() { # shelf1, shelf2, a, b
  case "$1" in shelf*) echo "run/$1.pid" ;; *) echo "run/$1/duetd.pid" ;; esac
}
log_file() {
  case "$1" in shelf*) echo "run/$1.log" ;; *) echo "run/$1/duetd.trace" ;; esac
}
# Whether the process is there and no zombie that nobody waits for.
alive() { # PID
  grep -qE '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$1/status" 2> /dev/null
}
# Its pid, if it runs: a number that another process has meanwhile is not taken for it.
running() {
  local file pid name
  file=$(pid_file "$1")
  case "$1" in shelf*) name="duet-shelf" ;; *) name="duetd" ;; esac
  [ -r "$file" ] && pid=$(cat "$file") && alive "$pid" &&
    [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$name" ] && echo "$pid"
}
# launch WHO COMMAND...: in the background, with its log and its pid beside it.
launch() {
  local who=$1 log
  log=$(log_file "$who")
  shift
  [ ! -e "$log" ] || mv "$log" "$log.before"
  setsid "$@" > "$log" 2>&1 < /dev/null &
  echo $! > "$(pid_file "$who")"
  # Until it is the program itself running() would not know it.
  while grep -qxFe setsid -e "$(cat /proc/$$/comm)" "/proc/$!/comm" 2> /dev/null; do
    sleep 0.01
  done
}
# await WHO TEST...: until it succeeds, as long as WHO runs.
await() {
  local who=$1 end=$((SECONDS + wait_s))
  shift
  until "$@" > /dev/null 2>&1; do
    if ! running "$who" > /dev/null || [ $SECONDS -ge $end ]; then
      echo "pair: $who does not come up; its log, $(log_file "$who"), ends with:" >&2
      tail -n 5 "$(log_file "$who")" >&2
      return 1
    fi
    sleep 0.1
  done
}

start_shelf() { # WHO DISKS...
  local who=$1 options=() disk
  shift
  if running "$who" > /dev/null; then
    echo "$who runs already, pid $(running "$who")"
    return
  fi
  mkdir -p run/disks
  for disk in "$@"; do
    [ -e "run/disks/$disk.img" ] || "$shelf" create "run/disks/$disk.img" --size "${DUET_PAIR_DISK:-1G}"
    options+=(--disk "$disk=run/disks/$disk.img")
  done
  launch "$who" "$shelf" serve --listen "unix://run/$who.sock" "${options[@]}"
  await "$who" grep -q '^duet-shelf: ready' "$(log_file "$who")"
  echo "$who serves $*, pid $(running "$who")"
}
start_shelves() {
  local who disks
  [ -r "$config" ] || { echo "pair: $config cannot be read" >&2; return 2; }
  for who in shelf1 shelf2; do
    disks=$(disks_of $who)
    [ -n "$disks" ] ||
      { echo "pair: $config names no disk there: shelf+unix://run/$who.sock#NAME" >&2; return 2; }
    # shellcheck disable=SC2086
    start_shelf $who $disks
  done
}
start_nodes() {
  local node
  for node in $nodes; do
    if running "$node" > /dev/null; then
      echo "node $node runs already, pid $(running "$node")"
    else
      mkdir -p "run/$node"
      launch "$node" "$duetd" --config "$config" --node "$node"
    fi
  done
  for node in $nodes; do
    await "$node" "$duet" --config "$config" --node "$node" failover show
    echo "node $node is up, pid $(running "$node"); its trace is $(log_file "$node")"
  done
  [ "$nodes" = "a b" ] || return 0  # what one alone may serve is not for this script to know
  local end=$((SECONDS + wait_s))
  until "$duet" --config "$config" failover show 2> /dev/null |
    awk '/^[ab] .* serving/ { served++ } END { exit served != 2 }'; do
    if [ $SECONDS -ge $end ]; then
      echo "pair: not both filers are served; $duet --config $config failover check says why" >&2
      return 1
    fi
    sleep 0.1
  done
}
# stop WHO...: all at once, so that no node takes over what another puts down.
stop() {
  local who pid pids=() end=$((SECONDS + wait_s))
  for who in "$@"; do
    if pid=$(running "$who"); then
      kill -TERM "$pid"
      pids+=("$pid")
    fi
  done
  for pid in "${pids[@]}"; do
    while alive "$pid"; do
      if [ $SECONDS -ge $end ]; then
        echo "pair: process $pid does not end; its log tells why; kill -9 $pid ends it" >&2
        return 1
      fi
      sleep 0.1
    done
  done
  for who in "$@"; do
    rm -f "$(pid_file "$who")"
    echo "$who is stopped"
  done
}
kill_hard() { # WHO...
  local who pid
  for who in "$@"; do
    if pid=$(running "$who"); then
      kill -9 "$pid"
      while alive "$pid"; do sleep 0.02; done
      echo "$who is killed"
    fi
    rm -f "$(pid_file "$who")"
  done
}
status() {
  local who all=0
  for who in shelf1 shelf2 a b; do
    if running "$who" > /dev/null; then
      echo "$who runs, pid $(running "$who")"
    else
      echo "$who does not run"
      all=1
    fi
  done
  for who in a b; do
    if running "$who" > /dev/null && "$duet" --config "$config" --node "$who" failover show 2> /dev/null; then
      break
    fi
  done
  return $all
}

case "$verb" in
  shelves) start_shelves ;;
  start)
    start_shelves
    # A memory that is there was formatted, or is not ours to touch.
    if [ ! -e run/a/nvlog.pmem ] && [ ! -e run/b/nvlog.pmem ]; then
      "$duet" --config "$config" init
    fi
    start_nodes
    ;;
  stop) stop a b && stop shelf1 shelf2 ;;
  kill)
    case "$victim" in
      a | b) kill_hard "$victim" ;;
      all) kill_hard a b shelf1 shelf2 ;;
      *) echo "pair: kill a, b or all" >&2; exit 2 ;;
    esac
    ;;
  status) status ;;
esac
