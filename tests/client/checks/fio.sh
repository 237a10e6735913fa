# fio with verification: mixed block sizes, buffered and direct, several jobs; then all read again
# through the mount without a cache.
# Limit: 400 s
size=$(scaled 8m 96m)
common="--directory=$DIR --size=$size --verify=crc32c --verify_fatal=1 --randseed=1 --thread --output=/tmp/fio.out"
run() { fio $common "$@" || { cat /tmp/fio.out; return 1; }; }
run --name=seq --rw=write --bs=64k --do_verify=1 --end_fsync=1
run --name=rand --rw=randwrite --bsrange=512-40k --bs_unaligned=1 --do_verify=1 --numjobs=2
run --name=direct --rw=randwrite --bs=4k --direct=1 --do_verify=1
run --name=sync --rw=randwrite --bs=8k --sync=1 --do_verify=1 --io_size=$(scaled 1m 8m)
run --name=mmap --rw=randwrite --bs=4k --ioengine=mmap --do_verify=1 --io_size=$(scaled 4m 32m)
for file in seq.0.0 rand.0.0 rand.1.0 direct.0.0; do cmp "$file" "$DIR2/$file"; done
