# Copying a real tree in and comparing it, through both mounts, and copying it within the mount.
# Limit: 240 s
source=/usr/share/$(scaled perl5 doc)
[ -d "$source" ] || source=/usr/lib/python3
mkdir /tmp/source
cp -a "$source" /tmp/source/tree 2>/dev/null || true
rm -f /tmp/source/tree/**/core
cp -a /tmp/source/tree copy
diff -r --no-dereference /tmp/source/tree copy
diff -r --no-dereference /tmp/source/tree "$DIR2/copy"
cp -a copy again
diff -r --no-dereference copy again
# Kinds, modes, sizes, times and targets; directories' sizes are the file system's own business.
[ "$KIND" = ganesha ] && links='-type l -o' || links= # its symbolic links do not take times
(cd /tmp/source/tree && find . $links -printf '%p %y %m %s %T@ %l\n' | sed '/ d /s/ d \([0-7]*\) [0-9]* / d \1 /' | sort) >/tmp/want
(cd "$DIR2/again" && find . $links -printf '%p %y %m %s %T@ %l\n' | sed '/ d /s/ d \([0-7]*\) [0-9]* / d \1 /' | sort) >/tmp/got
diff /tmp/want /tmp/got
echo "$(wc -l </tmp/want) entries"
rm -r copy
same "$(ls)" again
rm -r /tmp/source
