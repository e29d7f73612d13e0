//! What a caller asks for: everything that starting a container or a further process needs.
//!
//! A plan holds only checked values; [`ContainerPlan`] is made from an OCI document and nothing else.

mod capability;
mod container;
mod device_rule;
mod health;
mod log;
mod mapping;
mod mount;
mod process;
mod resources;

pub use capability::{CapabilitySets, holds_capability};
pub use container::{ContainerPlan, NamespaceKind, PlanError};
pub use health::{HealthEvents, HealthPlan};
pub use log::{
    JournaldPlan, LogDriver, LogFilePlan, LogPlan, Overflow, SyslogAddress, SyslogFormat, SyslogPlan, TlsPlan,
};
pub use mount::{MountKind, MountPlan, OF_CONTAINER, SUBPATH_OPTION};
pub use process::{Limit, ProcessPlan};
pub use resources::{BlockLimits, Resources, Throttle, ThrottleKind};

pub(crate) use capability::{CAPABILITY_COUNT, capability_mask, capability_number};
pub(crate) use container::{DevicePlan, NamespacePlan};
pub(crate) use device_rule::{
    ACCESS_MAKE, ACCESS_READ, ACCESS_WRITE, DeviceClass, DeviceException, DeviceRules,
};
pub(crate) use mapping::{IdMaps, map_text, root_of};

use mica_model::ContainerId;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// Everything that the start of a container needs.
#[derive(Debug)]
pub struct StartPlan {
    /// The container's id; must be the one that the launcher was spawned for.
    pub id: ContainerId,
    /// The checked OCI document.
    pub container: ContainerPlan,
    /// Where the root file system comes from; it replaces the document's `root.path`.
    pub root: RootPlan,
    /// `--user` as written (`name`, `name:group`, `uid`, `uid:gid`), looked up in the container's own
    /// `/etc/passwd` and `/etc/group`. `None`: the document's numbers, without any lookup.
    pub user: Option<String>,
    /// Supplementary groups by name or number (`--group-add`), besides the document's.
    pub groups: Vec<String>,
    /// Directory of this run (`/run/mica/...`); it must exist, be empty or left over from a dead run,
    /// and belong to root. The monitor puts `lock`, `state` and `monitor.sock` there.
    pub run_directory: PathBuf,
    /// File that receives the [`crate::ExitRecord`]; written by rename.
    pub exit_file: PathBuf,
    /// Where the output is recorded.
    pub log: LogPlan,
    /// Where the end is announced.
    pub events: Option<EventPlan>,
    /// When it is started again.
    pub restart: crate::RestartPlan,
    /// Whether a process of ours comes first, which reaps and passes signals on to the program.
    pub init: bool,
    /// What the container reads.
    pub stdin: StdinPlan,
    /// Size of the terminal before the first byte, when the document asks for a terminal.
    pub terminal_size: Option<TerminalSize>,
    /// The streams that the starter itself follows; `None` for a detached start.
    pub attach: Option<Attach>,
    /// What to run when everything is over.
    pub after_exit: Option<AfterExit>,
    /// Namespaces of other containers to join; each replaces the document's entry of the same kind. Those of
    /// mounts are not joined: mounts of the type [`OF_CONTAINER`] come from them, one from each, in the order of the
    /// document.
    pub joined: Vec<JoinedNamespace>,
    /// A descriptor that the monitor keeps open until the run can be seen in the run directory: a
    /// lock that is to outlive a starter who is killed after handing the plan over.
    pub held: Option<OwnedFd>,
    /// Whether the container is killed when nobody is attached to it any more, be it that the starter
    /// was killed: for what nobody else would ever look after.
    pub ends_with_clients: bool,
    /// How its health is found out; `None` does not.
    pub health: Option<HealthPlan>,
    /// What the monitor looks after besides, until the run is over.
    pub companion: Option<crate::CompanionPlan>,
}

/// An open namespace of another container, from [`crate::namespace`].
#[derive(Debug)]
pub struct JoinedNamespace {
    /// Which kind it is.
    pub kind: NamespaceKind,
    /// A descriptor of `/proc/PID/ns/KIND`.
    pub descriptor: OwnedFd,
}

/// Where the root file system comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum RootPlan {
    /// An overlay, mounted inside the container's own mount namespace only.
    Overlay {
        /// Read-only layers, the top one first.
        lowers: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// The empty work directory on the same file system as `upper`.
        work: PathBuf,
        /// Skip all syncing: for containers that are thrown away.
        volatile: bool,
    },
    /// A directory, bound as it is.
    Directory {
        /// Where it is.
        path: PathBuf,
    },
}

/// Where and how the end of a container is announced.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPlan {
    /// The event file, appended to under an exclusive `flock`.
    pub path: PathBuf,
    /// The line (without its newline) for the end of the container, in which `@TIME@` (seconds since
    /// the epoch), `@TIMENANO@`, `@EXITCODE@` and `@DURATION@` (whole seconds of run time) are replaced.
    pub die_line: String,
    /// The same for the start, of which only the times are known; written before anybody is told of
    /// it, so that it stands before the end however short the run is.
    pub start_line: Option<String>,
    /// The same for running out of memory, written before the first; `None` announces nothing.
    pub oom_line: Option<String>,
}

/// What a container reads as its standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StdinPlan {
    /// `/dev/null`; with a terminal, the terminal without any writer.
    Null,
    /// A pipe (or the terminal), fed by attached clients.
    Open {
        /// Close it when the first client that feeds it ends its input (docker's `StdinOnce`).
        close_after_first: bool,
    },
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters per line.
    pub columns: u16,
}

/// Which streams a client follows or feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attach {
    /// The client sends [`mica_model::frame::FrameKind::Stdin`] frames.
    pub stdin: bool,
    /// It wants standard output (and the terminal's output).
    pub stdout: bool,
    /// It wants standard error.
    pub stderr: bool,
}

/// The first message of a client that connects to a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// Streams to follow; none at all to wait for the exit frame only.
    pub attach: Attach,
}

/// What a monitor runs last.
#[derive(Debug, Clone)]
pub struct AfterExit {
    /// Arguments of our own binary, without `argv[0]`.
    pub arguments: Vec<OsString>,
    /// Run it only if this directory still exists once no client is attached any more.
    pub only_if_exists: PathBuf,
    /// Where whoever removes the container leaves its files for the monitor to delete.
    pub discards: Option<PathBuf>,
}

/// A further process in a running container.
#[derive(Debug)]
pub struct ExecPlan {
    /// The process; its terminal flag decides between a terminal and pipes.
    pub process: ProcessPlan,
    /// As [`StartPlan::user`].
    pub user: Option<String>,
    /// As [`StartPlan::groups`].
    pub groups: Vec<String>,
    /// What it reads.
    pub stdin: StdinPlan,
    /// Size of its terminal before the first byte.
    pub terminal_size: Option<TerminalSize>,
    /// The streams that the caller follows; `None` for a detached process.
    pub attach: Option<Attach>,
    /// File that receives the [`crate::ExitRecord`].
    pub exit_file: Option<PathBuf>,
    /// Where its end is announced.
    pub events: Option<EventPlan>,
}
