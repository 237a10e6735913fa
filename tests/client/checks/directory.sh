# A directory with 100,000 entries: create, list, count, look up, remove while listing.
# Limit: 600 s
count=$(scaled 5000 100000)
python3 - "$DIR2" "$count" <<'PY'
import os, sys
second, count = sys.argv[1], int(sys.argv[2])
os.mkdir("big")
for i in range(count):
    os.close(os.open(f"big/a-file-with-number-{i}", os.O_CREAT | os.O_WRONLY))
want = {f"a-file-with-number-{i}" for i in range(count)}
for top in (".", second):
    listed = os.listdir(f"{top}/big")
    assert len(listed) == count, f"{top}: {len(listed)} entries listed, {len(set(listed))} different"
    assert set(listed) == want
for i in range(0, count, 997):
    assert os.stat(f"{second}/big/a-file-with-number-{i}").st_size == 0
# Removing every entry while one listing runs: each is seen at most once, none comes back.
seen = []
with os.scandir("big") as entries:
    for entry in entries:
        seen.append(entry.name)
        os.unlink(f"big/{entry.name}")
assert len(seen) == len(set(seen)), "an entry was listed twice"
assert set(seen) == want, f"{count - len(set(seen))} entries were not listed"
assert os.listdir(f"{second}/big") == []
os.rmdir("big")
PY
mkdir some
(cd some && seq 1 $(scaled 500 20000) | sed s/^/f/ | xargs touch)
same "$(ls -l some | grep -c '^-')" "$(scaled 500 20000)"
same "$(find "$DIR2/some" -type f | wc -l)" "$(scaled 500 20000)"
rm -r some
