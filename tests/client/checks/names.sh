# Names are bytes: 255 of them, not UTF-8, spaces, newlines; longer ones are refused; deep paths.
# Limit: 60 s
long=$(printf 'n%.0s' $(seq 255))
echo long >"$long"
same "$(cat "$DIR2/$long")" long
refused touch "${long}x"
refused mkdir "${long}x"
python3 - "$DIR2" <<'PY'
import os, sys
names = [b"\xff\xfe", b"new\nline", b" leading", b"trailing ", b"-dash", b"*", b"..x", b"...",
         "na\u00efve".encode(), "nai\u0308ve".encode(), b"A", b"a", b"\x01", b"quote'\"", b"back\\slash"]
for name in names:
    with open(name, "wb") as out:
        out.write(name)
listed = set(os.listdir(os.fsencode(sys.argv[1])))
for name in names:
    assert name in listed, name
    with open(os.path.join(os.fsencode(sys.argv[1]), name), "rb") as file:
        assert file.read() == name, name
    os.rename(name, name + b".r")
for name in names:
    os.unlink(name + b".r")
PY
same "$(ls | wc -l)" 1
mkdir -p $(printf 'd/%.0s' $(seq 100))
echo deep >$(printf 'd/%.0s' $(seq 100))file
same "$(cat "$DIR2"/$(printf 'd/%.0s' $(seq 100))file)" deep
same "$(cd d/d/d && cd ../.. && pwd)" "$DIR/d"
same "$(ls -a | head -2 | tr '\n' ' ')" ". .. "
