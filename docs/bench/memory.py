#!/usr/bin/env python3
"""Memory of an idle container with everything, the kernel included: mica beside docker.

    memory.py MICA [MICA_COUNT [DOCKER_COUNT]]

Counts what the machine has less while the containers run: free memory and what the kernel gives back when it wants to (page
cache, reclaimable slabs). Each engine has a network namespace of its own. Needs root, and Debian's docker.io, iptables and
busybox-static. Ends only what it has started.
"""
import os, sys, time

from engines import Engines, do

COUNTS = {"mica": int(sys.argv[2]) if len(sys.argv) > 2 else 200, "docker": int(sys.argv[3]) if len(sys.argv) > 3 else 50}


def available():
    """KiB that nobody needs; read when the machine has come to rest."""
    os.sync()
    time.sleep(2)
    fields = dict(line.split(":") for line in open("/proc/meminfo"))
    return sum(int(fields[name].split()[0]) for name in ("MemFree", "Buffers", "Cached", "SReclaimable")) - int(
        fields["Shmem"].split()[0])


def private(pid):
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Private_Dirty"):
            return int(line.split()[1])
    return 0


def measure(engine):
    count = COUNTS[engine]
    names = [f"idle{number}" for number in range(count)]
    do(engine, "run", "-d", "--name", "first", "busybox", "sleep", "100000")
    before = available()
    for name in names:
        do(engine, "run", "-d", "--name", name, "busybox", "sleep", "100000")
    used = before - available()
    pids = do(engine, "inspect", "-f", "{{.State.Pid}}", *names).split()
    parents = {open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1] for pid in pids}
    monitors = sorted(private(pid) for pid in parents)
    print(f"{engine}: {count} containers, {used / count:.0f} KiB each with everything; "
          f"the process above each: {monitors[len(monitors) // 2]} KiB private, {monitors[-1]} at the most", flush=True)
    do(engine, "rm", "-f", "first", *names)


def main():
    with Engines() as engines:
        engines.begin("mica")
        measure("mica")
        measure("mica")
        if COUNTS["docker"]:
            engines.begin("docker")
            measure("docker")


main()
