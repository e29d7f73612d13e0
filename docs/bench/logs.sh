#!/bin/bash
# 50 MB of log in lines of 60 bytes: a container that writes them is run to its end and its log is read back.
#
#   logs.sh MICA [ROUNDS]
#
# Needs root and busybox-static. Prints milliseconds: all of it, and the reading alone.
set -euo pipefail
mica=$(realpath "$1") rounds=${2:-20}
home=$(mktemp -d /var/tmp/mica-logs-XXXX)
export MICA_ROOT=$home/root MICA_RUN=$home/run MICA_CONFIG=$home/config.toml
trap 'rm -rf "$home"' EXIT
mkdir -p "$home/image/bin"
cp "$(command -v busybox)" "$home/image/bin/busybox"
ln -s busybox "$home/image/bin/cat"
tar -C "$home/image" -cf "$home/image.tar" .
"$mica" import "$home/image.tar" busybox >"$home/id"
yes 01234567890123456789012345678901234567890123456789012345678 2>"$home/id" | head -n 833334 >"$home/lines" || true
now() { date +%s%N; }
uptime
for _ in $(seq "$rounds"); do
    begun=$(now)
    "$mica" run -d --name log --network none -v "$home/lines:/lines:ro" busybox cat /lines >"$home/id"
    "$mica" wait log >"$home/id"
    written=$(now)
    bytes=$("$mica" logs log | wc -c)
    ended=$(now)
    [[ $bytes == $(stat -c %s "$home/lines") ]]
    echo "$(((ended - begun) / 1000000)) $(((ended - written) / 1000000))" | tee -a "$home/times"
    "$mica" rm log >"$home/id"
done
uptime
for column in 1 2; do
    cut -d' ' -f$column "$home/times" | sort -n | awk '{ all[NR] = $1; sum += $1 } END {
        printf "least %d, median %d, mean %d, most %d ms\n", all[1], all[int((NR + 1) / 2)], sum / NR, all[NR] }'
done
