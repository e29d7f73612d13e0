#!/bin/busybox sh
# The first process of the virtual machine: leaves the initial RAM file system, which nothing can be pivoted away
# from, for a tmpfs, mounts what a machine with cgroup v2 has mounted, and hands over to the smoke set.
B=/bin/busybox
if [ ! -e /moved ]; then
    $B mkdir /new
    $B mount -t tmpfs -o size=80%,mode=755 tmpfs /new
    $B mv /bin /fixtures /modules /*.sh /new/
    # switch_root wants to see this file at both ends before it empties the old root.
    /new/bin/busybox cp /init /new/
    cd /new
    ./bin/busybox mkdir -p proc sys dev run tmp etc var/lib root
    ./bin/busybox touch moved
    exec ./bin/busybox switch_root /new /init
fi
$B --install -s /bin
export PATH=/bin HOME=/root TZ=UTC
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in /modules/*.ko; do insmod "$module"; done
ip link set lo up
sh /smoke.sh
sh /networks.sh
echo "SMOKE END"
poweroff -f
