# Fifos, sockets and devices keep their kind and numbers, and fifos work.
# Limit: 60 s
mkfifo pipe
mknod character c 1 3
mknod block b 259 1048575
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
same "$(stat -c %F "$DIR2/pipe")" fifo
same "$(stat -c '%F %t:%T' "$DIR2/character")" "character special file 1:3"
same "$(stat -c '%F %t:%T' "$DIR2/block")" "block special file 103:fffff"
same "$(stat -c %F "$DIR2/socket")" socket
echo through >pipe &
same "$(cat pipe)" through
wait
echo gone >character
chmod 600 pipe
same "$(stat -c %a "$DIR2/pipe")" 600
mv pipe renamed
same "$(ls "$DIR2" | tr '\n' ' ')" "block character renamed socket "
