#!/bin/sh
# Lays out a package's files, after deploy/build.sh.  Usage: deploy/stage.sh DIRECTORY [--deb FILE]
#   --deb FILE   also builds a binary Debian package of it (needs dpkg-deb)
set -eu
cd "$(dirname "$0")/.."
directory=${1:?usage: deploy/stage.sh DIRECTORY [--deb FILE]}
grep -v '^#' deploy/debian/layout.txt | while read -r from to mode; do
  install -D -m "$mode" "$from" "$directory/$to"
done
[ "${2:-}" = --deb ] || exit 0
deb=${3:?usage: deploy/stage.sh DIRECTORY --deb FILE}
version=$(build/release/bin/duetd --version)
install -D -m 0755 deploy/debian/postinst "$directory/DEBIAN/postinst"
# The libraries that the programs name, as the packages of this machine that hold them.
libraries=$(ldd build/release/bin/duetd build/release/bin/duet build/release/bin/duet-shelf | awk '$2 == "=>" { print $3 }' | sort -u)
depends=$(for library in $libraries; do
  dpkg-query -S "$(readlink -f "$library")" 2>/dev/null | cut -d: -f1
done | sort -u | grep -vx libc-bin | paste -sd, | sed 's/,/, /g')
cat > "$directory/DEBIAN/control" <<CONTROL
Package: duet
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: Duet developers <duet@localhost>
Depends: adduser, $depends
Section: net
Priority: optional
Description: NFS filer that loses nothing it acknowledged
 Serves NFSv3 from a write-anywhere file system with snapshots; each request
 that changes something is in persistent memory before it is answered.
CONTROL
dpkg-deb --root-owner-group --build "$directory" "$deb"
