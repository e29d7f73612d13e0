//! A container on a busybox root, with everything it needs and everything it leaves behind.

use mica_model::ContainerId;
use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
use mica_runtime::{
    Attach, ContainerPlan, ExecPlan, ExecStarted, Launcher, LogPlan, ProcessPlan, RestartPlan, RestartPolicy,
    RootPlan, RuntimeError, StartPlan, Started, Status, StdinPlan,
};
use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilitiesBuilder, Process, ProcessBuilder, Root, Spec,
};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// All streams.
pub(crate) const ALL: Attach = Attach { stdin: true, stdout: true, stderr: true };

/// Output only.
pub(crate) const OUTPUT: Attach = Attach { stdin: false, stdout: true, stderr: true };

/// The example binary that asks the monitors' door, built by cargo along with the tests.
pub(crate) fn probe() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/probe")
}

/// Busybox where roots can link to it, written once and before any process is started: a copy made
/// while another test forks is still open for writing in that fork, and cannot be executed (ETXTBSY).
fn busybox() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let path = Path::new(SCRATCH).join(format!("busybox-{}", std::process::id()));
        let copied = Command::new("/bin/cp").arg("/bin/busybox").arg(&path).status().unwrap();
        assert!(copied.success());
        // One name for all runs, so that none are left behind.
        let settled = Path::new(SCRATCH).join("busybox");
        std::fs::rename(path, &settled).unwrap();
        settled
    })
}

/// Cargo's own place for what tests write, on one file system.
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// A container to be, with its own root and run directory.
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) directory: TempDir,
    pub(crate) spec: Spec,
    pub(crate) terminal: bool,
}

/// What a container said until its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: u32,
}

impl Container {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("mica-runtime-").tempdir_in(SCRATCH).unwrap();
        let root = directory.path().join("root");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::hard_link(busybox(), root.join("bin/busybox")).unwrap();
        let installed = Command::new("/bin/busybox").args(["--list"]).output().unwrap();
        for applet in String::from_utf8(installed.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nalice:x:1000:\nwheel:x:10:alice\n").unwrap();
        std::fs::create_dir(directory.path().join("run")).unwrap();
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&std::process::id().to_le_bytes());
        bytes[4..8].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let mut spec = Spec::default();
        spec.set_process(Some(process(arguments))).set_hostname(Some("probe".to_owned()));
        let mut spec_root = Root::default();
        spec_root.set_path(root).set_readonly(Some(false));
        spec.set_root(Some(spec_root));
        Self { id: ContainerId::from_random(bytes), directory, spec, terminal: false }
    }

    pub(crate) fn shell(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    pub(crate) fn exit_file(&self) -> PathBuf {
        self.directory.path().join("exit.json")
    }

    /// A plan with all output attached and no input.
    pub(crate) fn plan(&self) -> StartPlan {
        let mut spec = self.spec.clone();
        let mut process = spec.process().clone().unwrap();
        process.set_terminal(Some(self.terminal));
        spec.set_process(Some(process));
        StartPlan {
            id: self.id.clone(),
            container: ContainerPlan::from_spec(&spec).unwrap().0,
            root: RootPlan::Directory { path: self.root() },
            user: None,
            groups: Vec::new(),
            run_directory: self.run_directory(),
            exit_file: self.exit_file(),
            log: LogPlan::default(),
            events: None,
            restart: RestartPlan {
                policy: RestartPolicy::Never,
                stop_file: self.directory.path().join("stopped"),
            },
            init: false,
            stdin: StdinPlan::Null,
            terminal_size: None,
            attach: Some(OUTPUT),
            after_exit: None,
            joined: Vec::new(),
            held: None,
            ends_with_clients: false,
            health: None,
            companion: None,
        }
    }

    pub(crate) fn start(&self, plan: StartPlan) -> Result<Started, RuntimeError> {
        Launcher::spawn_with(&probe(), &self.id)?.start(plan)
    }

    pub(crate) fn run(&self) -> Outcome {
        outcome(self.start(self.plan()).unwrap().stream)
    }

    pub(crate) fn exec(&self, plan: ExecPlan) -> Result<ExecStarted, RuntimeError> {
        Launcher::spawn_for_exec_with(&probe())?.exec(&self.run_directory(), plan)
    }

    pub(crate) fn exec_shell(&self, script: &str) -> Outcome {
        outcome(self.exec(exec_plan(&["/bin/sh", "-c", script])).unwrap().stream)
    }

    /// Directories of the container's cgroups that still exist.
    pub(crate) fn cgroups_left(&self) -> Vec<PathBuf> {
        let name = format!("mica/{}", self.id);
        let tops = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        tops.chain([PathBuf::from("/sys/fs/cgroup")])
            .map(|top| top.join(&name))
            .filter(|path| path.exists())
            .collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let directory = self.run_directory();
        let _ = mica_runtime::kill(&directory, 9);
        let _ = mica_runtime::cleanup(&directory);
        // Else its monitor would write the record while the directory is being removed.
        for _ in 0..400 {
            if matches!(mica_runtime::status(&directory), Ok(Status::Absent) | Err(_)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// A process with docker's usual capabilities.
pub(crate) fn process(arguments: &[&str]) -> Process {
    use Capability::{
        AuditWrite, Chown, DacOverride, Fowner, Fsetid, Kill, Mknod, NetBindService, NetRaw, Setfcap, Setgid,
        Setpcap, Setuid, SysChroot,
    };
    let usual: Capabilities = [
        AuditWrite,
        Chown,
        DacOverride,
        Fowner,
        Fsetid,
        Kill,
        Mknod,
        NetBindService,
        NetRaw,
        Setfcap,
        Setgid,
        Setpcap,
        Setuid,
        SysChroot,
    ]
    .into();
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(usual.clone())
        .effective(usual.clone())
        .permitted(usual)
        .build()
        .unwrap();
    let words: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    let environment = vec!["PATH=/bin".to_owned()];
    ProcessBuilder::default().args(words).cwd("/").env(environment).capabilities(sets).build().unwrap()
}

/// A further process with all output attached and no input.
pub(crate) fn exec_plan(arguments: &[&str]) -> ExecPlan {
    ExecPlan {
        process: ProcessPlan::from_oci(&process(arguments)).unwrap(),
        user: None,
        groups: Vec::new(),
        stdin: StdinPlan::Null,
        terminal_size: None,
        attach: Some(OUTPUT),
        exit_file: None,
        events: None,
    }
}

/// Reads one frame; `None` at the end of the stream.
pub(crate) fn frame(stream: &mut UnixStream) -> Option<(FrameKind, Vec<u8>)> {
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head).ok()?;
    let header = FrameHeader::decode(head).unwrap();
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload).ok()?;
    Some((header.kind, payload))
}

pub(crate) fn send(stream: &mut UnixStream, kind: FrameKind, payload: &[u8]) {
    stream.write_all(&FrameHeader::new(kind, payload.len()).encode()).unwrap();
    stream.write_all(payload).unwrap();
}

/// Reads all frames; the exit frame must be the last.
pub(crate) fn outcome(mut stream: UnixStream) -> Outcome {
    let mut outcome = Outcome { code: u32::MAX, ..Outcome::default() };
    while let Some((kind, payload)) = frame(&mut stream) {
        assert_eq!(outcome.code, u32::MAX, "a frame after the exit frame");
        let text = String::from_utf8_lossy(&payload);
        match kind {
            FrameKind::Stdout => outcome.stdout.push_str(&text),
            FrameKind::Stderr => outcome.stderr.push_str(&text),
            FrameKind::Exit => outcome.code = u32::from_be_bytes(payload[..4].try_into().unwrap()),
            other => panic!("unexpected frame {other:?}"),
        }
    }
    outcome
}

/// Reads frames until standard output holds `text`.
pub(crate) fn wait_for(stream: &mut UnixStream, text: &str) {
    let mut seen = String::new();
    while !seen.contains(text) {
        let (_, payload) = frame(stream).unwrap_or_else(|| panic!("{text:?} never came, only {seen:?}"));
        seen.push_str(&String::from_utf8_lossy(&payload));
    }
}

/// Pid of the monitor: the parent of the container's first process.
pub(crate) fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).unwrap()
}

/// Waits until `is_done`; a real wait for an event where there is none to wait for.
pub(crate) fn until(what: &str, is_done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{what} did not happen within ten seconds");
}

/// Whether a directory tree holds any regular file or directory.
pub(crate) fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}
