# Appending through two mounts, truncating down and up, times that move with them.
# Limit: 60 s
for i in $(seq 200); do echo "line $i" >>log; done
same "$(wc -l <"$DIR2/log")" 200
for i in $(seq 50); do echo "one $i" >>both; echo "two $i" >>"$DIR2/both"; done
same "$(sort -u "$DIR2/both" | wc -l)" 100
head -c 1000003 /dev/urandom >data; cp data /tmp/data
for size in 1000002 700000 4097 4096 4095 1 0; do
  truncate -s $size data; truncate -s $size /tmp/data
  cmp data /tmp/data
  cmp "$DIR2/data" /tmp/data
  same "$(stat -c %s "$DIR2/data")" $size
done
echo start >data; truncate -s 3G data
same "$(stat -c %s "$DIR2/data")" 3221225472
same "$(head -c 5 "$DIR2/data")" start
same "$(tail -c 4096 "$DIR2/data" | tr -d '\0' | wc -c)" 0
[ "$(stat -c %b "$DIR2/data")" -le 64 ] || { echo "a hole takes $(stat -c %b "$DIR2/data") blocks"; false; }
# Growing again must not show what was cut off.
head -c 8192 /dev/zero | tr '\0' X >cut; truncate -s 100 cut; truncate -s 8192 cut
same "$(tr -d '\0' <"$DIR2/cut" | wc -c)" 100
touch -d '2001-02-03 04:05:06.123456789' cut
same "$(stat -c %y "$DIR2/cut" | cut -c1-29)" "2001-02-03 04:05:06.123456789"
truncate -s 50 cut
[ "$(stat -c %Y "$DIR2/cut")" -gt 1000000000 ]
