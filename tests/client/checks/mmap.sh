# mmap: shared writable mappings, written and read back through both mounts.
# Limit: 120 s
python3 - "$DIR/mapped" "$DIR2/mapped" $(scaled 8 64) <<'PY'
import hashlib, mmap, os, random, sys
path, second, mib = sys.argv[1], sys.argv[2], int(sys.argv[3])
size = mib << 20
rand = random.Random(7)
model = bytearray(size)
fd = os.open(path, os.O_CREAT | os.O_RDWR)
os.ftruncate(fd, size)
with mmap.mmap(fd, size) as mapped:
    for _ in range(2000):
        length = rand.randrange(1, 9000)
        at = rand.randrange(size - length)
        data = rand.randbytes(length)
        mapped[at:at + length] = data
        model[at:at + length] = data
    mapped.flush()
os.close(fd)
with open(second, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
    assert hashlib.sha256(mapped).digest() == hashlib.sha256(model).digest(), "mapping differs"
with open(second, "rb") as file:
    assert file.read() == bytes(model), "read differs"
PY
cp /bin/busybox busybox
same "$(./busybox echo runs)" runs
