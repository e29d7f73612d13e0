//! How does a specification become a process? Start, exec, cgroups, monitor.
//!
//! Each running container has one small monitor process, a re-exec of our own binary, which is the
//! parent of the container's first process. [`Launcher`] starts it; everything else here talks to
//! it through its run directory, or acts on the container's processes by pidfd and cgroup.
//! Nothing here knows images, the state database, or what a terminal shows.

mod cgroup;
mod companion;
mod control;
mod error;
mod forecast;
mod health;
mod init;
mod launcher;
mod monitor;
mod order;
mod plan;
mod restart;
mod sealed;
mod seccomp;
mod state;
mod stats;

pub use companion::{Companion, CompanionPlan, MakeCompanion};
pub use control::{
    attach, cleanup, connect, end_orphan, has_realtime_limits, is_paused, kill, namespace, note_pause, pause,
    processes, remove_stray_groups, resize, resume, root, update_resources,
};
pub use error::{RuntimeError, SetupError, SetupStep};
pub use forecast::Forecast;
pub use health::{HealthRecord, HealthSchedule, HealthStatus, ProbeResult, health};
pub use init::visit;
pub use launcher::{ExecStarted, Launcher, Started, spawn_aside};
pub use monitor::log_file_identity;
pub use plan::{
    AfterExit, Attach, BlockLimits, CapabilitySets, ContainerPlan, EventPlan, ExecPlan, HealthEvents,
    HealthPlan, Hello, JoinedNamespace, JournaldPlan, Limit, LogDriver, LogFilePlan, LogPlan, MountKind,
    MountPlan, NamespaceKind, OF_CONTAINER, Overflow, PlanError, ProcessPlan, Resources, RootPlan,
    SUBPATH_OPTION, StartPlan, StdinPlan, SyslogAddress, SyslogFormat, SyslogPlan, TerminalSize, Throttle,
    ThrottleKind, TlsPlan, holds_capability,
};
pub use restart::{
    RestartPlan, RestartPolicy, StopMark, forget_stop, mark_stopped, set_restart_policy, stop_mark,
};
pub use seccomp::{FILTER_VERSION, Filter, ProfileError, kernel_version};
pub use state::{ExitRecord, Status, exit_record, forget_exit, is_attended, last_exit, status};
pub use stats::{BlockIo, NetworkCounters, Stats, stats};

use std::ffi::OsStr;
use std::process::ExitCode;

/// The door of monitors: when the binary was started as one, does its work and gives its exit code.
///
/// To be asked before anything else in `main`; `None` means that this is an ordinary command. A monitor
/// whose plan has a companion makes it by `companion`.
pub fn door(argv0: &OsStr, companion: MakeCompanion) -> Option<ExitCode> {
    match argv0.to_str() {
        Some(launcher::MONITOR_NAME) => Some(monitor::main(c"mica-monitor", companion)),
        Some(launcher::EXEC_NAME) => Some(monitor::main(c"mica-exec", companion)),
        Some(monitor::COMPRESS_NAME) => Some(monitor::compress()),
        _ => None,
    }
}
