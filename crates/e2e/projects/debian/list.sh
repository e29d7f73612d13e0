#!/bin/sh
# Tells of every file what an image must keep of it: what is mounted while it is looked at is left out.
set -e
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /etc/mtab \
    -o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf \) -prune -o ! -path / ! -path /etc \
    \( -type d -printf '%T@ %y %m %U %G %p\n' -o -printf '%T@ %y %m %U %G %n %s %l %p\n' \) |
    sed 's/^\([0-9]*\)\.[0-9]*/\1/' | LC_ALL=C sort
# Which names mean the same file.
find / -xdev -type f -links +1 ! -path '/tmp/*' -printf '%i %p\n' | LC_ALL=C sort -k 2 | awk '{
    inode = $1; $1 = ""; names[inode] = names[inode] $0; if (!(inode in order)) { order[inode] = ++count; inodes[count] = inode }
} END { for (place = 1; place <= count; place++) print names[inodes[place]] }'
getcap -r / 2>/dev/null | LC_ALL=C sort
getfattr -h -d -P --absolute-names /opt/* | LC_ALL=C sort
getfacl -p /opt/* | LC_ALL=C sort
