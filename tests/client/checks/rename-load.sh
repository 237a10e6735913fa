# Renames and removals under load: several processes shuffle files between directories; every file
# stays reachable under exactly one name; a file removed while open can still be read.
# Limit: 180 s
cat >/tmp/shuffle.py <<'PY'
import os, random, sys
top, worker, files, moves = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rand = random.Random(worker)
where = {}
for i in range(files):
    where[i] = f"{top}/{rand.randrange(4)}/w{worker}-{i}-0"
    with open(where[i], "w") as out:
        out.write(f"{worker} {i}\n")
for turn in range(1, moves + 1):
    i = rand.randrange(files)
    new = f"{top}/{rand.randrange(4)}/w{worker}-{i}-{turn}"
    if rand.random() < 0.2:  # onto an existing file of our own, which disappears
        with open(new, "w") as out:
            out.write("to be replaced\n")
    os.rename(where[i], new)
    where[i] = new
    if rand.random() < 0.1:
        with open(new) as kept:
            os.unlink(new)
            assert kept.read() == f"{worker} {i}\n", "a removed open file lost its content"
        with open(new, "w") as out:
            out.write(f"{worker} {i}\n")
for i, path in where.items():
    with open(path) as file:
        assert file.read() == f"{worker} {i}\n", path
PY
mkdir 0 1 2 3
files=$(scaled 30 200) moves=$(scaled 300 3000)
workers=()
for w in 1 2 3 4; do
  top=$DIR
  [ $((w % 2)) = 0 ] && top=$DIR2
  python3 /tmp/shuffle.py "$top" "$w" "$files" "$moves" & workers+=($!)
done
for pid in "${workers[@]}"; do wait "$pid"; done
same "$(find "$DIR2" -name 'w*' | wc -l)" $((files * 4))
same "$(cat "$DIR2"/*/w* | sort -u | wc -l)" $((files * 4))
# Directories: into one another, over an empty one, never into themselves or over a full one.
mkdir -p from/inner to empty
mv -T from to/from
same "$(ls "$DIR2/to/from")" inner
refused mv -T to to/from/inner/to
mv -T to/from empty
refused python3 -c 'import os; os.rename("empty", "0")'
same "$(stat -c %h "$DIR2/empty")" 3
refused rmdir empty
rm -r 0 1 2 3
