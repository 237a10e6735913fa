# The server is killed with -9 and comes back, again and again, under clients that write: a hard
# mount sees a pause and no error, and all that was written is there.
# Limit: 300 s
cat >/tmp/writer.py <<'PY'
# Appends numbered records with fsync, makes, renames and removes files, until the flag file appears;
# remembers what was acknowledged and checks it at the end.
import os, sys, time
top, name, flag = sys.argv[1], sys.argv[2], sys.argv[3]
os.mkdir(f"{top}/{name}")
log = os.open(f"{top}/{name}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
i, longest, alive = 0, 0.0, set()
while not os.path.exists(flag):
    start = time.monotonic()
    os.write(log, b"%s record %010d %s\n" % (name.encode(), i, b"x" * (i % 3000)))
    os.fsync(log)
    with open(f"{top}/{name}/new-{i}", "w") as out:
        out.write(f"file {i}\n")
    os.rename(f"{top}/{name}/new-{i}", f"{top}/{name}/file-{i}")
    alive.add(i)
    if i % 3 == 0:
        os.unlink(f"{top}/{name}/file-{i}")
        alive.discard(i)
    if i % 5 == 0:
        os.mkdir(f"{top}/{name}/dir-{i}")
        os.rmdir(f"{top}/{name}/dir-{i}")
    longest = max(longest, time.monotonic() - start)
    i += 1
os.close(log)
print(f"{name}: {i} rounds, longest {longest:.1f} s", flush=True)
with open(sys.argv[4] + f"/{name}/log", "rb") as file:
    for n in range(i):
        want = b"%s record %010d %s\n" % (name.encode(), n, b"x" * (n % 3000))
        assert file.readline() == want, f"record {n} of {i} is wrong"
    assert file.read() == b""
listed = {entry for entry in os.listdir(sys.argv[4] + f"/{name}") if entry != "log"}
assert listed == {f"file-{n}" for n in alive}, (listed ^ {f"file-{n}" for n in alive})
for n in alive:
    with open(sys.argv[4] + f"/{name}/file-{n}") as file:
        assert file.read() == f"file {n}\n"
PY
head -c 40000000 /dev/urandom >/tmp/large
writers=()
for w in 1 2 3; do
  top=$DIR; [ $w = 3 ] && top=$DIR2
  python3 /tmp/writer.py "$top" "w$w" /tmp/stop "$DIR2" & writers+=($!)
done
for n in $(seq $(scaled 2 6)); do
  cp /tmp/large "large-$n" & copier=$!
  sleep 1.$n
  ask crash $((n % 3))
  wait $copier
  cmp /tmp/large "$DIR2/large-$n"
done
sleep 1
touch /tmp/stop
for pid in "${writers[@]}"; do wait "$pid"; done
for n in $(seq $(scaled 2 6)); do cmp /tmp/large "$DIR2/large-$n"; done
ask ping
