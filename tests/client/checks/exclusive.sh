# O_EXCL: of many who try at once through two mounts exactly one makes the file.
# Limit: 90 s
cat >/tmp/race.py <<'PY'
import os, sys
made = 0
for i in range(int(sys.argv[2])):
    try:
        os.close(os.open(f"{sys.argv[1]}/file-{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
        made += 1
    except FileExistsError:
        pass
print(made)
PY
count=$(scaled 100 1000)
for i in 1 2 3; do
  python3 /tmp/race.py "$DIR" "$count" >/tmp/made.$i & 
  python3 /tmp/race.py "$DIR2" "$count" >/tmp/made2.$i &
done
wait
same "$(cat /tmp/made.* /tmp/made2.* | awk '{ n += $1 } END { print n }')" "$count"
same "$(ls "$DIR2" | wc -l)" "$count"
same "$(stat -c %a file-0)" 640
for i in $(seq 20); do refused mkdir file-0; done
mkdir lock; refused mkdir lock
