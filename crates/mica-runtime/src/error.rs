//! What can go wrong between a plan and a process.

use crate::plan::PlanError;
use mica_model::ErrorKind;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a container or process could not be started, watched or changed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The document cannot be run.
    #[error(transparent)]
    Plan {
        /// Which field of it, and why.
        #[from]
        source: PlanError,
    },
    /// The start failed inside the container-to-be.
    #[error(transparent)]
    Setup {
        /// What failed there.
        #[from]
        source: SetupError,
    },
    /// No monitor could be started.
    #[error("start a monitor")]
    Spawn {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The monitor ended without an answer.
    #[error("the monitor ended before the process was started")]
    Lost,
    /// A monitor already looks after this run directory.
    #[error("{} is already in use by a running container", path.display())]
    Running {
        /// The run directory.
        path: PathBuf,
    },
    /// Nothing runs there.
    #[error("the container is not running")]
    NotRunning {
        /// The run directory.
        path: PathBuf,
    },
    /// The container is frozen.
    #[error("the container is paused, unpause it first")]
    Paused {
        /// The run directory.
        path: PathBuf,
    },
    /// The freezer did not reach the wanted state in time.
    #[error("the cgroup freezer of {} did not settle", path.display())]
    Freeze {
        /// The cgroup directory.
        path: PathBuf,
    },
    /// A file or directory could not be used.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried, as "read".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The state file of a run directory cannot be understood.
    #[error("{} is damaged", path.display())]
    State {
        /// The file.
        path: PathBuf,
    },
    /// The monitor could not be talked to.
    #[error("talk to the monitor")]
    Talk {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The monitor lives, but it does not do anything.
    #[error("the monitor of the container does not answer ({})", path.display())]
    Unanswered {
        /// The run directory.
        path: PathBuf,
    },
    /// What was to be sent cannot be encoded, or what was received not decoded.
    #[error("{what} could not be encoded")]
    Encode {
        /// The message.
        what: &'static str,
        /// Why.
        #[source]
        source: postcard::Error,
    },
}

impl RuntimeError {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Plan { source } => source.kind(),
            Self::Setup { source } => source.kind(),
            Self::Spawn { source } | Self::File { source, .. } | Self::Talk { source } => kind_of(source),
            Self::Running { .. } | Self::NotRunning { .. } | Self::Paused { .. } => ErrorKind::Conflict,
            Self::State { .. } => ErrorKind::DataLoss,
            Self::Lost | Self::Unanswered { .. } | Self::Freeze { .. } | Self::Encode { .. } => {
                ErrorKind::Internal
            }
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => ErrorKind::Forbidden,
        Some(Errno::NOSPC | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::DQUOT) => {
            ErrorKind::Exhausted
        }
        Some(Errno::NOSYS | Errno::OPNOTSUPP) => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}

/// A failure of the container's first moments, carried from the child to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupError {
    /// Which chapter of the child's story failed.
    pub step: SetupStep,
    /// On what: a path, a name; may be empty.
    pub subject: String,
    /// The kernel's error number, or 0 when the kernel was not the one to refuse.
    pub errno: i32,
}

/// The chapters of a start, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetupStep {
    /// The plan could not be read by the child.
    Plan,
    /// The run directory, its lock or its socket.
    RunDirectory,
    /// The log file.
    Log,
    /// The receiver of a log: the subject tells which, and how it was to be reached.
    LogReceiver,
    /// The cgroup directories or limits.
    Cgroup,
    /// Making the process with its namespaces.
    Clone,
    /// Joining a namespace of another container.
    Namespace,
    /// Fitting out the network of a user namespace: the subject is the whole message.
    Network,
    /// The user namespace and what is mapped through it.
    Mapping,
    /// The loopback interface.
    Loopback,
    /// The host or domain name.
    Hostname,
    /// The root file system.
    Root,
    /// One of the mounts.
    Mount,
    /// A mount target that is not an ordinary file or directory.
    MountTarget,
    /// The part of a volume or image that is to be mounted.
    Part,
    /// A device node or link in `/dev`.
    Device,
    /// The terminal.
    Terminal,
    /// Changing into the root.
    Pivot,
    /// A masked or read-only path.
    Mask,
    /// A kernel setting.
    Sysctl,
    /// A resource limit.
    Limit,
    /// Looking up a user: the subject is the whole message.
    User,
    /// Changing user, groups or capabilities.
    Credentials,
    /// Loading the filter on system calls.
    Filter,
    /// The working directory.
    Directory,
    /// The standard streams.
    Streams,
    /// The program could not be found.
    CommandNotFound,
    /// The program could not be executed.
    CannotExecute,
}

impl SetupError {
    pub(crate) fn new(step: SetupStep, subject: impl Into<String>, errno: Errno) -> Self {
        Self { step, subject: subject.into(), errno: errno.raw_os_error() }
    }

    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self.step {
            SetupStep::CommandNotFound => ErrorKind::CommandNotFound,
            SetupStep::CannotExecute => ErrorKind::CannotExecute,
            // Docker gives these the exit codes of a program that is missing or cannot run.
            SetupStep::Directory if self.errno == Errno::NOENT.raw_os_error() => ErrorKind::CommandNotFound,
            SetupStep::Directory => ErrorKind::CannotExecute,
            SetupStep::User
            | SetupStep::MountTarget
            | SetupStep::Part
            | SetupStep::Sysctl
            | SetupStep::Limit => ErrorKind::InvalidArgument,
            // Who was to be told is not there, or does not answer.
            SetupStep::LogReceiver | SetupStep::Network => ErrorKind::Internal,
            _ => kind_of(&io::Error::from_raw_os_error(self.errno)),
        }
    }

    fn reason(&self) -> &'static str {
        if self.errno == 0 {
            return "";
        }
        match Errno::from_raw_os_error(self.errno) {
            Errno::NOENT => "no such file or directory",
            Errno::PERM => "operation not permitted",
            Errno::ACCESS => "permission denied",
            Errno::ISDIR => "is a directory",
            Errno::NOTDIR => "not a directory",
            Errno::NOEXEC => "exec format error",
            Errno::TXTBSY => "text file busy",
            Errno::LOOP => "too many levels of symbolic links",
            Errno::NAMETOOLONG => "file name too long",
            Errno::TOOBIG => "argument list too long",
            Errno::NOSPC => "no space left on device",
            Errno::NOMEM => "cannot allocate memory",
            Errno::INVAL => "invalid argument",
            Errno::BUSY => "device or resource busy",
            Errno::EXIST => "file exists",
            Errno::NODEV => "no such device",
            Errno::NOSYS => "function not implemented",
            Errno::AGAIN => "resource temporarily unavailable",
            Errno::XDEV => "invalid cross-device link",
            Errno::CONNREFUSED => "connection refused",
            Errno::TIMEDOUT => "i/o timeout",
            _ => "",
        }
    }

    /// What an administrator can do about it, where the errno tells.
    fn remedy(&self) -> Option<&'static str> {
        if self.errno == 0 {
            return None;
        }
        let errno = Errno::from_raw_os_error(self.errno);
        Some(match (self.step, errno) {
            (SetupStep::Clone, Errno::PERM) => "creating namespaces needs root (CAP_SYS_ADMIN)",
            (SetupStep::Clone, Errno::INVAL) => {
                "this kernel lacks a namespace: it needs CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS and CONFIG_UTS_NS"
            }
            (SetupStep::Clone, Errno::NOSPC) => "raise the sysctls user.max_*_namespaces",
            (SetupStep::Mapping, Errno::INVAL) => {
                "a file system with idmapped mounts is needed (ext4, xfs, btrfs) and Linux 5.19: see --root, or use --userns host"
            }
            (SetupStep::Clone, Errno::AGAIN) => "the limit of processes is reached",
            (SetupStep::Root, Errno::NODEV) => "this kernel has no overlay file system: modprobe overlay",
            (SetupStep::Root, Errno::PERM) => "mounting needs root (CAP_SYS_ADMIN)",
            (SetupStep::Root, Errno::INVAL) => {
                "the layers must be on a file system with xattrs and d_type that is no overlay itself: choose one with --root"
            }
            (SetupStep::Mount, Errno::NODEV) => "this kernel lacks that file system",
            (SetupStep::Cgroup, Errno::ROFS) => "the cgroup file system is mounted read-only here",
            (_, Errno::NOSYS) => "this kernel is too old: 5.12 or later is needed",
            _ => return None,
        })
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match self.step {
            SetupStep::User | SetupStep::Network => return formatter.write_str(subject),
            SetupStep::MountTarget => {
                return write!(formatter, "{subject} must be mounted on an ordinary directory or file");
            }
            SetupStep::Part if self.errno == Errno::XDEV.raw_os_error() => {
                return write!(formatter, "subpath {subject:?} escapes base: it leads out of its volume");
            }
            SetupStep::CommandNotFound if !subject.contains('/') => {
                return write!(formatter, "exec: {subject:?}: executable file not found in $PATH");
            }
            SetupStep::CommandNotFound | SetupStep::CannotExecute => {
                write!(formatter, "exec: {subject:?}")?;
            }
            step => {
                formatter.write_str(step.action())?;
                if !subject.is_empty() {
                    write!(formatter, " {subject}")?;
                }
            }
        }
        match self.reason() {
            _ if self.errno == 0 => {}
            "" => write!(formatter, ": {}", io::Error::from_raw_os_error(self.errno))?,
            reason => write!(formatter, ": {reason}")?,
        }
        match self.remedy() {
            Some(remedy) => write!(formatter, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SetupError {}

impl SetupStep {
    fn action(self) -> &'static str {
        match self {
            Self::Plan => "read the plan",
            Self::RunDirectory => "prepare the run directory",
            Self::Log => "open the log",
            Self::LogReceiver => "failed to initialize logging driver:",
            Self::Cgroup => "set up the cgroup",
            Self::Clone => "create the container's process",
            Self::Namespace => "join the namespace",
            Self::Network => "fit out the network",
            Self::Mapping => "map the container's users",
            Self::Loopback => "bring up the loopback interface",
            Self::Hostname => "set the host name",
            Self::Root => "mount the root file system",
            Self::Mount => "mount",
            Self::MountTarget => "check the mount target",
            Self::Part => "find the subpath",
            Self::Device => "create the device",
            Self::Terminal => "open a terminal",
            Self::Pivot => "change the root",
            Self::Mask => "mask",
            Self::Sysctl => "set the sysctl",
            Self::Limit => "set the limit",
            Self::User => "find the user",
            Self::Credentials => "change the credentials",
            Self::Filter => "load the seccomp filter",
            Self::Directory => "change to the working directory",
            Self::Streams => "connect the standard streams",
            Self::CommandNotFound => "find the program",
            Self::CannotExecute => "execute",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_docker() {
        let missing = SetupError::new(SetupStep::CommandNotFound, "nope", Errno::NOENT);
        assert_eq!(missing.to_string(), "exec: \"nope\": executable file not found in $PATH");
        assert_eq!(missing.kind(), ErrorKind::CommandNotFound);
        let path = SetupError::new(SetupStep::CommandNotFound, "/bin/nope", Errno::NOENT);
        assert_eq!(path.to_string(), "exec: \"/bin/nope\": no such file or directory");
        let denied = SetupError::new(SetupStep::CannotExecute, "/etc", Errno::ACCESS);
        assert_eq!(denied.to_string(), "exec: \"/etc\": permission denied");
    }

    #[test]
    fn a_missing_right_names_its_remedy() {
        let error = SetupError::new(SetupStep::Clone, "", Errno::PERM);
        assert_eq!(
            error.to_string(),
            "create the container's process: operation not permitted (creating namespaces needs root (CAP_SYS_ADMIN))"
        );
        assert_eq!(error.kind(), ErrorKind::Forbidden);
    }
}
