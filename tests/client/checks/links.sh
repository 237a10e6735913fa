# Hard and symbolic links: counts, names of one file, targets kept to the byte, dangling and long ones.
# Limit: 60 s
echo content >a
ln a b
mkdir d
ln b d/c
same "$(stat -c %h a)" 3
same "$(stat -c %i a)" "$(stat -c %i "$DIR2/d/c")"
rm a
same "$(cat "$DIR2/d/c")" content
same "$(stat -c %h "$DIR2/b")" 2
echo more >>b
same "$(tail -1 "$DIR2/d/c")" more
mv b d/c2
same "$(stat -c %h "$DIR2/d/c")" 2
mv d/c d/c2 2>/dev/null || true # rename between two names of one file leaves both or one, never none
same "$(cat d/c2 | head -1)" content
ln -s d/c2 to-file
ln -s nowhere dangling
ln -s "$(printf 'x%.0s' $(seq 1000))" long
same "$(cat "$DIR2/to-file" | head -1)" content
same "$(readlink "$DIR2/dangling")" nowhere
same "$(readlink "$DIR2/long" | tr -d '\n' | wc -c)" 1000
refused cat dangling
refused ln d hard-to-directory
ln -s . loop
same "$(cat loop/loop/loop/d/c2 | head -1)" content
many=$(scaled 100 1000)
echo x >linked
# One process: a thousand of them would time the guest, not the links.
python3 -c 'import os, sys
for i in range(int(sys.argv[1])): os.link("linked", f"many-{i}")' "$many"
same "$(stat -c %h "$DIR2/linked")" $((many + 1))
rm many-*
same "$(stat -c %h "$DIR2/linked")" 1
same "$(ls | grep -c many || true)" 0
