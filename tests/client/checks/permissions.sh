# Mode bits hold against users who are not root; groups, sticky and set-id directories.
# Limit: 60 s
chmod 755 .
echo secret >private; chmod 600 private
echo public >public; chmod 644 public
as 1001 1001 cat public
refused as 1001 1001 cat private
refused as 1001 1001 bash -c 'echo x >>public'
refused as 1001 1001 touch new
refused as 1001 1001 rm public
refused as 1001 1001 chmod 777 public
refused as 1001 1001 chown 1001 public
chown 1001:2000 private; chmod 640 private
as 1001 1001 cat private
as 1002 2000 cat private
refused as 1002 2000 bash -c 'echo x >>private'
refused as 1002 1002 cat private
setpriv --reuid 1002 --regid 1002 --groups 5,6,2000 -- cat private
as 1001 1001 chmod 600 private
refused as 1002 2000 cat private
refused as 1001 1001 chown 1002 private
mkdir shared; chmod 1777 shared
as 1001 1001 bash -c 'echo mine >shared/mine'
same "$(stat -c %u:%g "$DIR2/shared/mine")" 1001:1001
refused as 1002 1002 rm -f shared/mine
refused as 1002 1002 mv shared/mine shared/stolen
as 1001 1001 mv shared/mine shared/renamed
mkdir setgid; chgrp 2000 setgid; chmod 2777 setgid
as 1001 1001 touch setgid/file
same "$(stat -c %g "$DIR2/setgid/file")" 2000
mkdir closed; echo deep >closed/file; chmod 644 closed/file; chmod 700 closed
refused as 1001 1001 cat closed/file
refused as 1001 1001 ls closed
chmod 711 closed
as 1001 1001 cat closed/file
refused as 1001 1001 ls closed
# A write by another user takes set-id bits away.
cp /bin/true suid; chmod 6777 suid
as 1001 1001 bash -c 'echo x >>suid'
same "$(stat -c %a "$DIR2/suid")" 777
(umask 027; as 1003 1003 bash -c 'cd shared && umask 027 && touch masked && mkdir maskdir')
same "$(stat -c %a "$DIR2/shared/masked" "$DIR2/shared/maskdir" | tr '\n' ' ')" "640 750 "
