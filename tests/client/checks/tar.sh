# tar onto the mount, comparing with the archive, and from the mount.
# Limit: 300 s
mkdir /tmp/source
cp -a /usr/share/$(scaled perl5 doc) /tmp/source/tree 2>/dev/null || true
tar -C /tmp/source -cf archive.tar tree
mkdir out
tar -C out -xpf archive.tar
tar -C out -df archive.tar
tar -C "$DIR2/out" -cf - tree | tar -C /tmp/source -df -
diff -r --no-dereference /tmp/source/tree "$DIR2/out/tree"
rm -r /tmp/source
