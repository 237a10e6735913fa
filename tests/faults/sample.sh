# The sample pair (deploy/samples; SAMPLE names another file there) in the test's directory, on a port
# that nobody has; to be sourced after common.sh.  pair.yaml is the test's to change before `pair start`.

pair() { "$here/deploy/samples/pair.sh" --bin "$bin" --config pair.yaml "$@"; }
pair_kill() { pair kill all; }
host_of() { if [ "$1" = a ]; then echo 127.0.1.1; else echo 127.0.1.2; fi; }
pid_of() { cat "run/$1/duetd.pid"; }

# A disk of the configuration on a shelf of its own, so that nothing else is lost with it.
start_third_shelf() {  # DISK
  mkdir -p run/disks
  [ -e run/disks/alone.img ] ||
    "$bin/duet-shelf" create run/disks/alone.img --size "${DUET_PAIR_DISK:-1G}" > /dev/null
  setsid "$bin/duet-shelf" serve --listen unix://run/shelf3.sock --disk "$1=run/disks/alone.img" \
    > run/shelf3.log 2>&1 < /dev/null &
  echo $! > run/shelf3.pid
  for _ in $(seq 100); do
    ! grep -q '^duet-shelf: ready' run/shelf3.log || return 0
    sleep 0.1
  done
  cat run/shelf3.log >&2
  return 1
}
kill_third_shelf() { [ ! -e run/shelf3.pid ] || kill -9 "$(cat run/shelf3.pid)" 2> /dev/null || true; }

port=$((20100 + seed % 2000))
while (: < "/dev/tcp/127.0.1.1/$port") 2> /dev/null || (: < "/dev/tcp/127.0.1.2/$port") 2> /dev/null; do
  port=$((port + 1))
done
# Where hosts attach virtual disks.
nbd_port=$((port + 4000))
nbd_of() { if [ "$1" = a ]; then echo "127.0.1.11:$nbd_port"; else echo "127.0.1.12:$nbd_port"; fi; }
sed "s/20049/$port/;s/10809/$nbd_port/" "$here/deploy/samples/${SAMPLE:-pair.yaml}" > pair.yaml
