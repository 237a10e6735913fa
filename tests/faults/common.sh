# What the fault tests share; to be sourced.  Before it: $bin, $here (the repository), $seed.
# A test defines pair_kill (ends all of it, hard), host_of() and $port; where they differ, $log_files and
# in_client(), the clients' place.  Its directory is made, entered and removed here.

run=$(mktemp -d "${TMPDIR:-/tmp}/duet-faults.XXXXXX")
cd "$run"
workers=
failed=yes
ask=
log_files="run/a/duetd.trace.before run/a/duetd.trace run/b/duetd.trace.before run/b/duetd.trace"

duet() { "$bin/duet" --config pair.yaml "$@"; }
in_client() { "$@"; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
say() { echo "$(date +%T) $*"; }
pause() { sleep "$((RANDOM % 2)).$((RANDOM % 10))"; }
a_node() { if [ $((RANDOM % 2)) = 0 ]; then echo a; else echo b; fi; }

client() {  # JOB FILER ...; its manifest is $manifest-FILER
  local job=$1 filer=$2
  shift 2
  in_client "$bin/duet-demo-client" "$job" --host "$(host_of "$filer")" --port "$port" \
    --export "/vol$filer" --manifest "${manifest:-manifest}-$filer" "$@"
}
# The filer is served by that node, and `failover show` (of $ask alone, if set) says so with these words.
await() {  # FILER NODE WORDS
  for _ in $(seq 300); do
    if duet ${ask:+--node "$ask"} failover show 2> /dev/null | grep -E "^$1 +[ab] +$2 +[0-9]+ +serving.*$3" > /dev/null; then
      return 0
    fi
    sleep 0.1
  done
  echo "filer $1 is not served by node $2 ($3):" >&2
  duet ${ask:+--node "$ask"} failover show >&2 || true
  return 1
}
await_home() { await a a "in sync" && await b b "in sync"; }
# A node that has only just come back says so, and is asked again.
give_back() {
  for _ in $(seq 100); do
    ! duet giveback > giveback.out 2>&1 || return 0
    sleep 0.2
  done
  cat giveback.out >&2
  return 1
}

# Of redundancy groups.
groups() { duet ${ask:+--node "$ask"} raid status --json 2> /dev/null || true; }  # its exit code says whether all is well
in_sync() {  # COUNT of disks
  local got
  for _ in $(seq 600); do
    got=$(groups | jq '[.groups[].disks[] | select(.state == "in_sync")] | length')
    [ "$got" != "$1" ] || return 0
    sleep 0.1
  done
  echo "$got disks are in sync, not $1:" >&2
  duet ${ask:+--node "$ask"} raid status >&2 || true
  return 1
}
# Data and check data match, says a scrub of both nodes.
scrub() {
  local found
  duet raid scrub tank > scrub.out
  for _ in $(seq 600); do
    found=$(groups | jq -c '.groups[0].scrub | [.running, .repaired_rows, .unreadable_rows, .unsure_rows]')
    case "$found" in "[true,"*) sleep 0.1 ;; *) break ;; esac
  done
  say "scrub: $found of $(groups | jq -c '.groups[0].scrub | [.done, .node_shares]')"
  [ "$found" = "[false,0,0,0]" ]
}

# How a takeover went, from the node that did it.
phases() { duet --node "$1" failover show | grep "^last takeover by node $1" || true; }

start_clients() {  # COUNT of each filer, or of those in $filers
  local filer
  for filer in ${filers:-a b}; do
    client work "$filer" --clients "$1" --stop stop > "out-$filer" 2>&1 &
    workers="$workers $!"
  done
}
clients_work() {
  local process
  for process in $workers; do
    kill -0 "$process" 2> /dev/null || { echo "a client ended early" >&2; return 1; }
  done
}
# Waits for them; then every file must be as its client left it, also without the pair.
finish_clients() {
  local process filer
  touch stop
  for process in $workers; do
    wait "$process"
  done
  workers=
  for filer in ${filers:-a b}; do
    say "filer $filer: $(head -n 1 "out-$filer")"
    say "filer $filer: longest waits, ms: $(awk '$1 == "stall" { print $7 }' "out-$filer" | sort -rn | head -n 8 | xargs)"
    client verify-work "$filer"
  done
}
clean_up() {
  local process
  touch stop
  if [ "$failed" = yes ]; then
    echo "FAILED; SEED=$seed; the nodes' traces, the older ones first:" >&2
    # shellcheck disable=SC2086
    tail -n "${TAIL:-40}" $log_files >&2 || true
    tail -n 5 out-a out-b >&2 || true
  fi
  for process in $workers; do
    pkill -9 -P "$process" 2> /dev/null || true  # the client; this is the shell around it
    kill -9 "$process" 2> /dev/null && wait "$process" 2> /dev/null || true
  done
  pair_kill > /dev/null 2>&1 || true
  cd /
  if [ -n "${KEEP:-}" ]; then
    echo "kept $run" >&2
  else
    rm -rf "$run"
  fi
}
trap clean_up EXIT
