"""What measurements of mica beside docker share: each engine in a network namespace of its own, with an image of busybox.

Not a program. Needs root, and Debian's docker.io, iptables and busybox-static. Ends only what it has started.
"""
import os, shutil, signal, subprocess, sys, tempfile, time

HOME = tempfile.mkdtemp(prefix="mica-bench-", dir="/var/tmp")
ENVIRONMENT = dict(os.environ, MICA_ROOT=HOME + "/root", MICA_RUN=HOME + "/run", MICA_CONFIG=HOME + "/config.toml")
PLACES = {name: f"be-{name}-{os.getpid()}" for name in ("mica", "docker")}
PROGRAMS = {"mica": [os.path.realpath(sys.argv[1])], "docker": ["docker", "-H", f"unix://{HOME}/docker.sock"]}
DAEMON = ["dockerd", "--data-root", HOME + "/data", "--exec-root", HOME + "/exec", "-H", f"unix://{HOME}/docker.sock",
          "--pidfile", HOME + "/docker.pid"]


def within(engine, program):
    """The words that run a program in an engine's network namespace."""
    return ["nsenter", f"--net=/run/netns/{PLACES[engine]}", *program]


def words(engine, *arguments):
    return within(engine, [*PROGRAMS[engine], *arguments])


def do(engine, *arguments):
    done = subprocess.run(words(engine, *arguments), env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{engine} {arguments}: {done.stderr}")
    return done.stdout.strip()


class Engines:
    """Namespaces and an archive of busybox, for as long as it is entered; the engines are made ready one by one."""

    def __init__(self):
        self.daemon = None

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            self.make()
        except BaseException:
            self.clear_away()
            raise
        return self

    def __exit__(self, *_):
        self.clear_away()

    def make(self):
        for engine, place in PLACES.items():
            subprocess.run(["ip", "netns", "add", place], check=True)
            subprocess.run(within(engine, ["ip", "link", "set", "lo", "up"]), check=True)
        image = HOME + "/image"
        os.makedirs(image + "/bin")
        shutil.copy(shutil.which("busybox"), image + "/bin/busybox")
        for applet in ("true", "sleep", "sh"):
            os.symlink("busybox", f"{image}/bin/{applet}")
        subprocess.run(["tar", "-C", image, "-cf", HOME + "/image.tar", "."], check=True)

    def begin(self, engine):
        """Has an engine ready, with the image."""
        if engine == "docker":
            self.daemon = subprocess.Popen(within(engine, DAEMON), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while subprocess.run(words(engine, "version"), capture_output=True).returncode:
                if self.daemon.poll() is not None:
                    raise RuntimeError("dockerd has ended")
                time.sleep(0.2)
        do(engine, "import", HOME + "/image.tar", "busybox")

    def clear_away(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
        for place in PLACES.values():
            subprocess.run(["ip", "netns", "delete", place])
        subprocess.run(["umount", HOME + "/data"], stderr=subprocess.DEVNULL)
        shutil.rmtree(HOME, ignore_errors=True)
