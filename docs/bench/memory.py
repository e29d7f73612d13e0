#!/usr/bin/env python3
"""Memory of an idle container with everything, the kernel included: mica beside docker.

    memory.py MICA [MICA_COUNT [DOCKER_COUNT]]

Counts what the machine has less while the containers run: free memory and what the kernel gives back when it wants to (page
cache, reclaimable slabs). Each engine has a network namespace of its own. Needs root, and Debian's docker.io, iptables and
busybox-static. Ends only what it has started.
"""
import os, shutil, signal, subprocess, sys, tempfile, time

MICA = os.path.realpath(sys.argv[1])
COUNTS = {"mica": int(sys.argv[2]) if len(sys.argv) > 2 else 200, "docker": int(sys.argv[3]) if len(sys.argv) > 3 else 50}
HOME = tempfile.mkdtemp(prefix="mica-memory-", dir="/var/tmp")
ENVIRONMENT = dict(os.environ, MICA_ROOT=HOME + "/root", MICA_RUN=HOME + "/run", MICA_CONFIG=HOME + "/config.toml")
PLACES = {name: f"me-{name}-{os.getpid()}" for name in ("mica", "docker")}
PROGRAMS = {"mica": [MICA], "docker": ["docker", "-H", f"unix://{HOME}/docker.sock"]}


def do(engine, *arguments):
    words = ["nsenter", f"--net=/run/netns/{PLACES[engine]}", *PROGRAMS[engine], *arguments]
    done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{engine} {arguments}: {done.stderr}")
    return done.stdout.strip()


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
    daemon = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        for place in PLACES.values():
            subprocess.run(["ip", "netns", "add", place], check=True)
            subprocess.run(["nsenter", f"--net=/run/netns/{place}", "ip", "link", "set", "lo", "up"], check=True)
        image = HOME + "/image"
        os.makedirs(image + "/bin")
        shutil.copy(shutil.which("busybox"), image + "/bin/busybox")
        for applet in ("sleep", "sh"):
            os.symlink("busybox", f"{image}/bin/{applet}")
        subprocess.run(["tar", "-C", image, "-cf", HOME + "/image.tar", "."], check=True)
        do("mica", "import", HOME + "/image.tar", "busybox")
        measure("mica")
        measure("mica")
        if not COUNTS["docker"]:
            return
        daemon = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{PLACES['docker']}", "dockerd", "--data-root", HOME + "/data", "--exec-root",
             HOME + "/exec", "-H", f"unix://{HOME}/docker.sock", "--pidfile", HOME + "/docker.pid"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while subprocess.run([*PROGRAMS["docker"], "version"], capture_output=True).returncode:
            time.sleep(0.2)
        do("docker", "import", HOME + "/image.tar", "busybox")
        measure("docker")
    finally:
        if daemon:
            daemon.terminate()
            daemon.wait()
        for place in PLACES.values():
            subprocess.run(["ip", "netns", "delete", place])
        subprocess.run(["umount", HOME + "/data"], stderr=subprocess.DEVNULL)
        shutil.rmtree(HOME, ignore_errors=True)


main()
