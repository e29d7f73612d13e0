#!/usr/bin/env python3
"""What networks add to a start, and what a query of a name costs: mica beside docker, in one run.

    starts.py MICA [ROUNDS]

Each engine has a network namespace of its own. Every work is done once by each in turn, docker in every third round, because
it takes that much longer. Needs root, and Debian's docker.io, iptables and busybox-static. Ends only what it has started.
"""
import ctypes, os, socket, statistics, struct, subprocess, sys, time

from engines import ENVIRONMENT, PLACES, Engines, do, words

ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 24


def timed(engine, *arguments):
    begun = time.perf_counter()
    do(engine, *arguments)
    return (time.perf_counter() - begun) * 1000


def forty(engine, *flags):
    """Forty containers, eight at a time; milliseconds for each."""
    names = [f"forty{number}" for number in range(40)]
    left, begun = list(names), time.perf_counter()
    running = []
    while left or running:
        while left and len(running) < 8:
            name = left.pop()
            command = words(engine, "run", "-d", "--name", name, *flags, "busybox", "sleep", "1000")
            running.append(subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL))
        if running.pop(0).wait():
            raise RuntimeError(engine)
    took = (time.perf_counter() - begun) * 1000 / len(names)
    do(engine, "rm", "-f", *names)
    return took


def queries(engine):
    """The median of 500 queries of a neighbour's name, from a container's network."""
    do(engine, "network", "create", "names")
    for name in ("server", "client"):
        do(engine, "run", "-d", "--name", name, "--network", "names", "busybox", "sleep", "1000")
    pid = do(engine, "inspect", "-f", "{{.State.Pid}}", "client")
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    library = ctypes.CDLL(None, use_errno=True)
    assert library.setns(there, 0) == 0
    question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\x06server\x00" + struct.pack(">2H", 1, 1)
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect(("127.0.0.11", 53))
        for _ in range(500):
            begun = time.perf_counter()
            asker.send(question)
            answer = asker.recv(512)
            times.append((time.perf_counter() - begun) * 1000)
            assert struct.unpack(">H", answer[6:8]) == (1,)
    assert library.setns(here, 0) == 0
    do(engine, "rm", "-f", "server", "client")
    do(engine, "network", "rm", "names")
    return statistics.median(times)


RUN = ("run", "--rm")
TRUE = ("busybox", "true")
WORKS = {
    "run --rm --network none": lambda engine: timed(engine, *RUN, "--network", "none", *TRUE),
    "run --rm on the bridge": lambda engine: timed(engine, *RUN, *TRUE),
    "run --rm -p 18080:80": lambda engine: timed(engine, *RUN, "-p", "18080:80", *TRUE),
    "run --rm with 100 ports": lambda engine: timed(engine, *RUN, "-p", "18100-18199:8000-8099", *TRUE),
}
LONG = {
    "40 run -d, 8 at a time, each": forty,
    "a query of a name": queries,
}


def main():
    with Engines() as engines:
        for engine in PLACES:
            engines.begin(engine)
            do(engine, *RUN, *TRUE)
        print(open("/proc/loadavg").read().strip(), flush=True)
        times = {}
        for number in range(ROUNDS):
            for work, act in WORKS.items():
                for engine in PLACES:
                    # Docker starts a process for each port.
                    if engine == "docker" and number % (ROUNDS if "100" in work else 3):
                        continue
                    times.setdefault((work, engine), []).append(act(engine))
        for _ in range(3):
            for work, act in LONG.items():
                for engine in PLACES:
                    times.setdefault((work, engine), []).append(act(engine))
        print(open("/proc/loadavg").read().strip())
        for work, engine in sorted(times, key=lambda key: (list({**WORKS, **LONG}).index(key[0]), key[1] != "mica")):
            all_times = times[(work, engine)]
            print(f"{work:32} {engine:7} least {min(all_times):7.2f}  median {statistics.median(all_times):7.2f}  "
                  f"mean {statistics.mean(all_times):7.2f} ms ({len(all_times)})")


main()
