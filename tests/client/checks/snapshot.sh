# .snapshot: a deleted and a changed file come back from it; it is read-only; it is in every directory.
# Limit: 120 s
[ "$KIND" = duet ] || skip "only Duet has .snapshot"
mkdir -p made/inner
for i in $(seq 50); do echo "file $i" >made/inner/$i; done
ln -s inner/1 made/link
head -c 3000000 /dev/urandom >made/large
cp -a made /tmp/before
ask snapshot create before
cleanup() { ask snapshot delete before || true; }
trap cleanup EXIT
rm -r made/inner
echo changed >made/large
ls "$TOP/.snapshot" | grep -qx before
diff -r --no-dereference /tmp/before "$TOP/.snapshot/before/$NAME/made"
diff -r --no-dereference /tmp/before "$SECOND/.snapshot/before/$NAME/made"
ls "$DIR/made/.snapshot/before" | grep -qx inner # in every directory, there the directory's own
ls -a | (! grep -x .snapshot)                    # and hidden from listings
refused touch "$TOP/.snapshot/before/new"
refused rm "$TOP/.snapshot/before/$NAME/made/large"
refused bash -c "echo x >>$TOP/.snapshot/before/$NAME/made/large"
refused mkdir "$TOP/.snapshot/mine"
cp -a "$DIR/made/.snapshot/before/inner" made/
cp "$TOP/.snapshot/before/$NAME/made/large" made/large
diff -r --no-dereference /tmp/before "$DIR2/made"
# An open file of the snapshot stays readable while the live tree changes.
exec 7<"$TOP/.snapshot/before/$NAME/made/large"
rm made/large
cmp - /tmp/before/large <&7
exec 7<&-
ask snapshot delete before
trap - EXIT
for _ in $(seq 70); do [ -e "$SECOND/.snapshot/before" ] || break; sleep 1; done
refused ls "$SECOND/.snapshot/before"
