# The sample pair (deploy/samples; SAMPLE names another file there) in the test's directory, on a port
# that nobody has; to be sourced after common.sh.  pair.yaml is the test's to change before `pair start`.

pair() { "$here/deploy/samples/pair.sh" --bin "$bin" --config pair.yaml "$@"; }
pair_kill() { pair kill all; }
host_of() { if [ "$1" = a ]; then echo 127.0.1.1; else echo 127.0.1.2; fi; }
pid_of() { cat "run/$1/duetd.pid"; }

port=$((20100 + seed % 2000))
while (: < "/dev/tcp/127.0.1.1/$port") 2> /dev/null || (: < "/dev/tcp/127.0.1.2/$port") 2> /dev/null; do
  port=$((port + 1))
done
# Where hosts attach virtual disks.
nbd_port=$((port + 4000))
nbd_of() { if [ "$1" = a ]; then echo "127.0.1.11:$nbd_port"; else echo "127.0.1.12:$nbd_port"; fi; }
sed "s/20049/$port/;s/10809/$nbd_port/" "$here/deploy/samples/${SAMPLE:-pair.yaml}" > pair.yaml
