#!/bin/bash
# How much goes through a published port, mica beside docker: each engine has a network namespace of its own with a bridge,
# rules and a neighbouring machine of its own; all ways are measured in turn, round after round.
#
#   throughput.sh MICA [ROUNDS [SECONDS]]
#
# Needs root, and Debian's iperf3, docker.io, iptables and busybox-static. Ends only what it has started.
set -euo pipefail
mica=$(realpath "$1") rounds=${2:-5} seconds=${3:-2}
home=$(mktemp -d /var/tmp/mica-throughput-XXXX)
export MICA_ROOT=$home/root MICA_RUN=$home/run MICA_CONFIG=$home/config.toml
mark=$$
machines=(mica docker)

mica() { nsenter --net="/run/netns/tp-mica-$mark" "$mica" "$@"; }
docker() { command docker -H "unix://$home/docker.sock" "$@"; }
on() { local machine=$1; shift; nsenter --net="/run/netns/tp-$machine-$mark" "$@"; }

clear_away() {
    set +e
    mica rm -f server client >"$home/log" 2>&1
    docker rm -f server client >"$home/log" 2>&1
    if [[ -e $home/docker.pid ]]; then kill "$(cat "$home/docker.pid")"; wait "$daemon"; fi
    for machine in "${machines[@]}"; do
        ip netns delete "tp-$machine-$mark"
        ip netns delete "tp-$machine-lan-$mark"
    done 2>/dev/null
    umount "$home/data"
    rm -rf "$home"
}
trap clear_away EXIT

# One image for both: busybox, iperf3, and the libraries it names.
root=$home/image
mkdir -p "$root/bin" "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
ln -s busybox "$root/bin/sleep"
cp "$(command -v iperf3)" "$root/bin/iperf3"
ldd "$(command -v iperf3)" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
tar -C "$root" -cf "$home/image.tar" .

number=1
for machine in "${machines[@]}"; do
    ip netns add "tp-$machine-$mark"
    ip netns add "tp-$machine-lan-$mark"
    on "$machine" ip link set lo up
    on "$machine" ip link add wire type veth peer name wire netns "tp-$machine-lan-$mark"
    on "$machine" ip address add "10.99.$number.1/24" dev wire
    on "$machine" ip link set wire up
    on "$machine-lan" ip address add "10.99.$number.2/24" dev wire
    on "$machine-lan" ip link set wire up
    on "$machine" ip route add default via "10.99.$number.2"
    declare "address_$machine=10.99.$number.1"
    number=$((number + 1))
done

on docker dockerd --data-root "$home/data" --exec-root "$home/exec" -H "unix://$home/docker.sock" \
    --pidfile "$home/docker.pid" >"$home/dockerd.log" 2>&1 &
daemon=$!
until docker version >"$home/log" 2>&1; do kill -0 "$daemon"; sleep 0.2; done

for machine in "${machines[@]}"; do
    "$machine" import "$home/image.tar" iperf >"$home/log"
    "$machine" run -d --name server -p 5201:5201 iperf iperf3 -s >"$home/log"
    "$machine" run -d --name client iperf sleep 100000 >"$home/log"
done

# The rate a client saw, in Gbit/s.
rate() { "$@" -c "$target" -t "$seconds" -f g | awk '/receiver/ { print $(NF - 2) }'; }

measure() {
    local machine=$1 way=$2 address="address_$1"
    target=${!address}
    case $way in
        host) rate on "$machine" iperf3 ;;
        loopback) target=127.0.0.1; rate on "$machine" iperf3 ;;
        neighbour) rate on "$machine-lan" iperf3 ;;
        container) rate "$machine" exec client iperf3 ;;
        bridge) target=$("$machine" inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' server); rate "$machine" exec client iperf3 ;;
    esac
}

ways=(host container loopback neighbour bridge)
uptime
for round in $(seq "$rounds"); do
    for way in "${ways[@]}"; do
        # Who is first takes turns too.
        order=(mica docker)
        if ((round % 2)); then order=(docker mica); fi
        for machine in "${order[@]}"; do
            echo "$way $machine $(measure "$machine" "$way")" | tee -a "$home/rates"
        done
    done
done
uptime
for way in "${ways[@]}"; do
    for machine in "${machines[@]}"; do
        awk -v way="$way" -v machine="$machine" '$1 == way && $2 == machine { print $3 }' "$home/rates" | sort -n |
            awk -v label="$way $machine" '{ all[NR] = $1 } END {
                printf "%-20s median %5.2f  most %5.2f  least %5.2f Gbit/s (%d rounds)\n", label, all[int((NR + 1) / 2)], all[NR], all[1], NR }'
    done
done
