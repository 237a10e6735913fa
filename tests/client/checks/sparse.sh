# Sparse files: holes read as zeros and take no space; far offsets; cp keeps them.
# Limit: 120 s
python3 - <<'PY'
import os
fd = os.open("sparse", os.O_CREAT | os.O_RDWR)
for offset in (0, 1 << 20, (1 << 32) - 3, 1 << 40, (1 << 43) + 4095):
    os.pwrite(fd, b"data at %d" % offset, offset)
os.fsync(fd)
os.close(fd)
PY
same "$(stat -c %s "$DIR2/sparse")" $(((1 << 43) + 4095 + 21))
[ "$(stat -c %b "$DIR2/sparse")" -le 512 ] || { echo "takes $(stat -c %b "$DIR2/sparse") blocks"; false; }
python3 - "$DIR2/sparse" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
for offset in (0, 1 << 20, (1 << 32) - 3, 1 << 40, (1 << 43) + 4095):
    want = b"data at %d" % offset
    assert os.pread(fd, len(want), offset) == want, offset
for offset in (100, 4096, (1 << 20) - 65536, 1 << 33, (1 << 43) - 65536):
    assert os.pread(fd, 65536, offset).strip(b"\0") == b"", offset
PY
truncate -s $(scaled 128M 1G) image
dd if=/dev/urandom of=image bs=64k count=3 seek=1000 conv=notrunc status=none
cp --sparse=always image copy
cmp image "$DIR2/copy"
sync copy
[ "$(stat -c %b "$DIR2/copy")" -le 4096 ] || { echo "the copy takes $(stat -c %b "$DIR2/copy") blocks"; false; }
