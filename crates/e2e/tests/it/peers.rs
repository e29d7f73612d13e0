//! Archives from and for the other tools of Debian: docker, podman and skopeo. A test whose peer is not installed says
//! so and ends; `cargo xtask test` installs them all.

use e2e::World;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether a program is there; says what is skipped if not.
pub(crate) fn has(program: &str) -> bool {
    let found = ["/usr/bin", "/usr/sbin"].iter().any(|place| Path::new(place).join(program).is_file());
    if !found {
        eprintln!("skipped: {program} is not installed, `cargo xtask test` would install it");
    }
    found
}

/// Runs a peer to its end; answers its output without the last line end.
#[track_caller]
pub(crate) fn peer(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {shown}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Podman with a store of the world's own.
pub(crate) fn podman(world: &World) -> Command {
    let mut command = Command::new("podman");
    command
        .arg("--root")
        .arg(world.scratch().join("podman"))
        .arg("--runroot")
        .arg(world.scratch().join("podman-run"))
        .args(["--storage-driver", "vfs"]);
    command
}

fn skopeo() -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--insecure-policy"]);
    command
}

/// A docker daemon of one's own.
pub(crate) struct Dockerd {
    process: Child,
    directory: PathBuf,
}

impl Dockerd {
    /// One without any network.
    pub(crate) fn start(world: &World) -> Self {
        Self::start_with(world, &["--iptables=false", "--bridge=none"])
    }

    /// One with these flags.
    pub(crate) fn start_with(world: &World, flags: &[&str]) -> Self {
        let directory = world.scratch().join("dockerd");
        fs::create_dir(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        let log = fs::File::create(path("log")).unwrap();
        let process = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("-H")
            .arg(format!("unix://{}", path("socket").display()))
            // The store is thrown away in a moment; vfs needs no kernel feature and leaves no mounts.
            .arg("--storage-driver=vfs")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { process, directory };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !daemon.docker().arg("version").output().is_ok_and(|output| output.status.success()) {
            let log = || fs::read_to_string(daemon.directory.join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "dockerd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// A command for it.
    pub(crate) fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.directory.join("socket").display()));
        command
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // It ends its containerd only if it is asked kindly.
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        drop(self.process.wait());
    }
}

/// A world with an image of two layers, `stack:v1`: its archive, its id and its diffIDs.
struct Stack {
    world: World,
    archive: PathBuf,
    id: String,
    layers: String,
}

const IDENTITY: &str = "{{.Id}} {{json .RootFS.Layers}}";

impl Stack {
    fn new() -> Self {
        let world = World::with_busybox();
        let script = "echo two > /two; rm /etc/group; ln /two /again; mkfifo /pipe; chmod 4755 /two; rm -r /usr/sbin; \
                      mkdir /usr/sbin";
        world.mica(["run", "--name", "source", "--network", "none", "busybox", "sh", "-c", script]).success();
        world.mica(["commit", "-c", "CMD [\"cat\", \"/two\"]", "source", "stack:v1"]).success();
        let archive = world.scratch().join("stack.tar");
        world.mica(["save".as_ref(), "-o".as_ref(), archive.as_os_str(), "stack:v1".as_ref()]).success();
        let id = world.inspect("stack:v1", "{{.Id}}");
        let layers = world.inspect("stack:v1", "{{json .RootFS.Layers}}");
        Self { world, archive, id, layers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.scratch().join(name)
    }

    /// Loads an archive into an empty world and runs its image.
    #[track_caller]
    fn loads(&self, archive: &Path) -> (World, String) {
        let other = World::new();
        other.mica(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), archive.as_os_str()]).success();
        let id = other.mica(["images", "-q", "--no-trunc"]).success().line();
        assert_eq!(other.inspect(&id, "{{json .RootFS.Layers}}"), self.layers, "{}", archive.display());
        other.mica(["run", "--rm", "--network", "none", &id]).success().stdout_is("two\n");
        (other, id)
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_docker_reads_and_writes_the_same_image() {
    if !has("dockerd") || !has("docker") {
        return;
    }
    let stack = Stack::new();
    let daemon = Dockerd::start(&stack.world);
    let loaded = peer(daemon.docker().args(["load", "-i"]).arg(&stack.archive));
    assert_eq!(loaded, "Loaded image: stack:v1");
    let seen = peer(daemon.docker().args(["inspect", "--format", IDENTITY, "stack:v1"]));
    assert_eq!(seen, format!("{} {}", stack.id, stack.layers));
    let back = stack.path("docker.tar");
    peer(daemon.docker().args(["save", "stack:v1", "-o"]).arg(&back));
    let (_other, id) = stack.loads(&back);
    assert_eq!(id, stack.id);
    // What one exports the other imports.
    let root = stack.path("root.tar");
    stack.world.mica(["export".as_ref(), "-o".as_ref(), root.as_os_str(), "source".as_ref()]).success();
    peer(daemon.docker().arg("import").arg(&root).arg("flat:1"));
    peer(daemon.docker().args(["create", "--name", "flat", "flat:1", "true"]));
    let again = stack.path("again.tar");
    peer(daemon.docker().args(["export", "flat", "-o"]).arg(&again));
    stack.world.mica(["import".as_ref(), again.as_os_str(), "flat:1".as_ref()]).success();
    let run = ["run", "--rm", "--network", "none", "flat:1", "cat", "/again"];
    stack.world.mica(run).success().stdout_is("two\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_podman_reads_and_writes_the_same_image() {
    if !has("podman") {
        return;
    }
    let stack = Stack::new();
    peer(podman(&stack.world).args(["load", "-q", "-i"]).arg(&stack.archive));
    let seen = peer(podman(&stack.world).args(["inspect", "--format", "sha256:{{.Id}}", "stack:v1"]));
    assert_eq!(seen, stack.id);
    for (format, keeps_id) in [("docker-archive", true), ("oci-archive", false), ("oci-dir", false)] {
        let back = stack.path(format);
        peer(podman(&stack.world).args(["save", "-q", "--format", format, "stack:v1", "-o"]).arg(&back));
        let (other, id) = stack.loads(&back);
        // As OCI podman writes the config anew.
        assert!(!keeps_id || id == stack.id, "{format}");
        other.mica(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success().stdout_contains("stack:v1");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_skopeo_copies_to_and_fro() {
    if !has("skopeo") {
        return;
    }
    let stack = Stack::new();
    let from =
        |transport: &str, reference: &str| format!("{transport}:{}:{reference}", stack.archive.display());
    let (layout, archive, docker) = (stack.path("layout"), stack.path("oci.tar"), stack.path("docker.tar"));
    peer(skopeo().arg(from("docker-archive", "stack:v1")).arg(format!("oci:{}:v1", layout.display())));
    peer(skopeo().arg(from("oci-archive", "v1")).arg(format!("oci-archive:{}:v1", archive.display())));
    peer(
        skopeo().arg(from("oci-archive", "v1")).arg(format!("docker-archive:{}:stack:v1", docker.display())),
    );
    for path in [&layout, &archive] {
        stack.loads(path);
    }
    let (other, id) = stack.loads(&docker);
    assert_eq!(id, stack.id);
    other.mica(["inspect", "stack:v1"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_compressed_archives_are_read_from_files_and_streams() {
    if !has("zstd") {
        return;
    }
    let stack = Stack::new();
    for (compressor, ending) in [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")] {
        let packed = stack.path(&format!("packed.{ending}"));
        let bytes = Command::new(compressor).args(["-c", "-q"]).arg(&stack.archive).output().unwrap().stdout;
        fs::write(&packed, &bytes).unwrap();
        let (_other, id) = stack.loads(&packed);
        assert_eq!(id, stack.id);
        let other = World::new();
        other.invoke(["load"]).stdin(bytes).run().success().stdout_is("Loaded image: stack:v1\n");
        assert_eq!(other.inspect("stack:v1", "{{.Id}}"), stack.id);
    }
    for magic in [&b"\xfd7zXZ\0"[..], b"BZh91AY&SY"] {
        World::new().invoke(["load"]).stdin(magic.repeat(200)).run().code(1);
    }
}
