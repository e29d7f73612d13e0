//! Starting monitors: early, so that their start overlaps with the caller's own work.

use crate::companion::CompanionOrder;
use crate::control::{Target, ended};
use crate::error::{SetupError, SetupStep};
use crate::order::{self, Birth, ChildOrder, ContainerJob, HealthOrder, Job, MonitorOrder, StartedMessage};
use crate::plan::{IdMaps, root_of};
use crate::{ExecPlan, Forecast, HealthPlan, LogPlan, RuntimeError, StartPlan, cgroup, sealed};
use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
use mica_model::{ContainerId, Timestamp};
use mica_sys::process::{Fork, NamespaceFlags, fork};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::ffi::{CString, OsString};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// `argv[0]` of a container's monitor.
pub(crate) const MONITOR_NAME: &str = "mica-monitor";

/// `argv[0]` of the monitor of a further process.
pub(crate) const EXEC_NAME: &str = "mica-exec";

/// Monitors spawned by this process, so that a long-lived one leaves no zombies: each spawn reaps
/// those that have ended since the one before.
static SPAWNED: Mutex<Vec<Spawned>> = Mutex::new(Vec::new());

/// A process of our own binary.
#[derive(Debug)]
enum Spawned {
    /// By the standard library, which waits until it is executed.
    Executed(Child),
    /// By a fork that nobody waits for.
    Forked(OwnedFd),
}

impl Spawned {
    /// Whether it runs; when it has ended it is reaped here.
    fn is_running(&mut self) -> bool {
        match self {
            Self::Executed(child) => matches!(child.try_wait(), Ok(None)),
            Self::Forked(pidfd) => {
                let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
                matches!(waitid(WaitId::PidFd(pidfd.as_fd()), options), Ok(None))
            }
        }
    }
}

/// A monitor that waits for its plan. Dropping it makes the monitor end without a trace.
#[derive(Debug)]
pub struct Launcher {
    socket: UnixStream,
    /// The container whose cgroups a forecast has had made.
    foretold: Option<String>,
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Started {
    /// Host pid of its first process.
    pub pid: u32,
    /// When its program was started.
    pub started_at: Timestamp,
    /// Frames of the streams asked for in [`StartPlan::attach`], from the first byte; else the exit
    /// frame only.
    pub stream: UnixStream,
    /// Limits that this host cannot apply.
    pub warnings: Vec<String>,
}

/// A further process that runs.
#[derive(Debug)]
pub struct ExecStarted {
    /// Its host pid.
    pub pid: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// Frames of the streams asked for in [`ExecPlan::attach`]; else the exit frame only. `Resize`
    /// frames may be sent in any case.
    pub stream: UnixStream,
}

/// Starts our own binary beside the caller, which does not wait for it: for chores that nobody
/// should have to wait for. `name` is its `argv[0]`, which the binary's `main` knows it by.
pub fn spawn_aside(name: &str, arguments: &[OsString]) -> Result<(), RuntimeError> {
    let spawn = |source: std::io::Error| RuntimeError::Spawn { source };
    let child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(spawn)?;
    remember(Spawned::Executed(child));
    Ok(())
}

/// Keeps a child until it is reaped.
fn remember(child: Spawned) {
    let mut spawned = SPAWNED.lock().unwrap_or_else(PoisonError::into_inner);
    spawned.retain_mut(Spawned::is_running);
    spawned.push(child);
}

impl Launcher {
    /// Starts a monitor from our own binary.
    pub fn spawn(id: &ContainerId) -> Result<Self, RuntimeError> {
        Self::spawn_with(Path::new("/proc/self/exe"), id)
    }

    /// The same without waiting until it is executed: for a process that has just begun. After a fork each page is
    /// written to for the first time again, which costs one with much memory more than the wait.
    pub fn spawn_early(id: &ContainerId) -> Result<Self, RuntimeError> {
        Self::spawn_by(Path::new("/proc/self/exe"), (MONITOR_NAME, id.as_str()), Standard::fork_monitor)
    }

    /// Starts a monitor for [`Self::exec`].
    pub fn spawn_for_exec() -> Result<Self, RuntimeError> {
        Self::spawn_for_exec_with(Path::new("/proc/self/exe"))
    }

    /// The same from another binary whose `main` asks [`crate::door`].
    pub fn spawn_for_exec_with(program: &Path) -> Result<Self, RuntimeError> {
        Self::spawn_by(program, (EXEC_NAME, ""), Standard::spawn_monitor)
    }

    /// As [`Self::spawn_early`], for [`Self::exec`].
    pub fn spawn_early_for_exec() -> Result<Self, RuntimeError> {
        Self::spawn_by(Path::new("/proc/self/exe"), (EXEC_NAME, ""), Standard::fork_monitor)
    }

    /// Starts a monitor from another binary whose `main` asks [`crate::door`].
    pub fn spawn_with(program: &Path, id: &ContainerId) -> Result<Self, RuntimeError> {
        Self::spawn_by(program, (MONITOR_NAME, id.as_str()), Standard::spawn_monitor)
    }

    fn spawn_by(
        program: &Path,
        (name, argument): (&str, &str),
        way: impl FnOnce(Standard, &str, &str) -> std::io::Result<Spawned>,
    ) -> Result<Self, RuntimeError> {
        let spawn = |source: std::io::Error| RuntimeError::Spawn { source };
        let (ours, theirs) = UnixStream::pair().map_err(spawn)?;
        let program = sealed::Program::open(program).map_err(|errno| spawn(errno.into()))?;
        let standard = Standard { socket: theirs, program };
        remember(way(standard, name, argument).map_err(spawn)?);
        Ok(Self { socket: ours, foretold: None })
    }

    /// Tells what the plan of a new container will most likely be, so that it can be prepared for.
    pub fn foretell(&mut self, id: &ContainerId, forecast: Forecast) -> Result<(), RuntimeError> {
        self.foretold = Some(id.to_string());
        order::send_forecast(&self.socket, forecast)
    }

    /// Hands the plan over and waits until the program runs or cannot run.
    pub fn start(self, plan: StartPlan) -> Result<Started, RuntimeError> {
        let run_directory = plan.run_directory.clone();
        let (monitor, child, kept) = orders(plan)?;
        let descriptors: Vec<BorrowedFd<'_>> = kept.iter().map(AsFd::as_fd).collect();
        let message = order::send(&self.socket, &monitor, &child.encoded()?, &descriptors)
            .and_then(|()| self.await_start())
            .inspect_err(|error| self.clear_up_after(error))
            .map_err(|error| in_use(error, &run_directory))?;
        Ok(Started {
            pid: message.pid,
            started_at: Timestamp::from_nanoseconds(message.started_at),
            stream: self.socket,
            warnings: message.warnings,
        })
    }

    /// Starts a further process in a running container, by a monitor that was spawned for it.
    pub fn exec(self, run_directory: &Path, plan: ExecPlan) -> Result<ExecStarted, RuntimeError> {
        let target = Target::find(run_directory)?;
        if cgroup::is_frozen(&target.state.group).map_err(ended(run_directory))? {
            return Err(RuntimeError::Paused { path: run_directory.to_owned() });
        }
        let (monitor, child) = exec_orders(&target, plan);
        order::send(&self.socket, &monitor, &child.encoded()?, &[target.pidfd.as_fd()])?;
        let message = self.await_start().map_err(|error| not_running(error, run_directory))?;
        Ok(ExecStarted {
            pid: message.pid,
            started_at: Timestamp::from_nanoseconds(message.started_at),
            stream: self.socket,
        })
    }

    /// A monitor that was killed before it had a run directory leaves no other trace than its cgroups.
    fn clear_up_after(&self, error: &RuntimeError) {
        if let (Some(id), RuntimeError::Lost | RuntimeError::Talk { .. }) = (&self.foretold, error) {
            crate::monitor::remove_group(&cgroup::Group::existing(&default_cgroup(id)));
        }
    }

    fn await_start(&self) -> Result<StartedMessage, RuntimeError> {
        let lost = |_| RuntimeError::Lost;
        let mut stream = &self.socket;
        let mut head = [0; HEADER_LENGTH];
        stream.read_exact(&mut head).map_err(lost)?;
        let header = FrameHeader::decode(head).map_err(|_| RuntimeError::Lost)?;
        let mut payload = vec![0; header.length];
        stream.read_exact(&mut payload).map_err(lost)?;
        match header.kind {
            FrameKind::Started => postcard::from_bytes(&payload).map_err(|_| RuntimeError::Lost),
            FrameKind::Failed => {
                let source: SetupError = postcard::from_bytes(&payload).map_err(|_| RuntimeError::Lost)?;
                Err(RuntimeError::Setup { source })
            }
            _ => Err(RuntimeError::Lost),
        }
    }
}

/// Below which cgroup those of containers lie whose plans name none.
pub(crate) const GROUP_PARENT: &str = "mica";

/// What a monitor is executed from, and its end of the socket.
struct Standard {
    socket: UnixStream,
    program: sealed::Program,
}

impl Standard {
    /// The caller waits until it is executed, which takes a third of a millisecond.
    fn spawn_monitor(self, name: &str, argument: &str) -> std::io::Result<Spawned> {
        let mut command = Command::new(self.program.path());
        command.arg0(name).arg(argument).env_clear();
        command.stdin(Stdio::from(OwnedFd::from(self.socket))).stdout(Stdio::null());
        // A monitor has nothing to say there, and nobody to say it to.
        command.stderr(self.program.into_keepsake().map_or_else(Stdio::null, Stdio::from));
        command.spawn().map(Spawned::Executed)
    }

    /// Nobody waits until it is executed.
    fn fork_monitor(self, name: &str, argument: &str) -> std::io::Result<Spawned> {
        match fork(NamespaceFlags::NONE, None) {
            Ok(Fork::Child) => self.become_monitor(name, argument),
            Ok(Fork::Parent { pidfd, .. }) => Ok(Spawned::Forked(pidfd)),
            // A process with threads cannot be forked; one that was forbidden to says so again.
            Err(_) => self.spawn_monitor(name, argument),
        }
    }

    /// The same in a forked process. If it fails nobody hears more of it than that the socket is closed.
    fn become_monitor(self, name: &str, argument: &str) -> ! {
        let _ = self.execute(name, argument);
        mica_sys::process::exit_now(127)
    }

    fn execute(self, name: &str, argument: &str) -> Option<()> {
        mica_sys::signal::reset_all();
        let texts = [self.program.path().as_os_str().as_bytes(), name.as_bytes(), argument.as_bytes()];
        let [program, name, argument] = texts.map(|text| CString::new(text).ok());
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
        rustix::stdio::dup2_stdin(&self.socket).ok()?;
        rustix::stdio::dup2_stdout(&null).ok()?;
        match self.program.into_keepsake() {
            // The one that is executed is open until then.
            Some(keepsake) => {
                rustix::stdio::dup2_stderr(&keepsake).ok()?;
                std::mem::forget(keepsake);
            }
            None => rustix::stdio::dup2_stderr(&null).ok()?,
        }
        let name = name?;
        mica_sys::process::execute(&program?, &[&name, &argument?], &[]);
        None
    }
}

/// The cgroup of a container whose plan names none.
pub(crate) fn default_cgroup(id: &str) -> String {
    format!("{GROUP_PARENT}/{id}")
}

/// Divides a plan into what the monitor and what the child must know, and the descriptors: those of
/// joined namespaces, the one that is held, the companion's.
fn orders(plan: StartPlan) -> Result<(MonitorOrder, ChildOrder, Vec<OwnedFd>), RuntimeError> {
    let container = plan.container;
    let cgroup =
        if container.cgroup.is_empty() { default_cgroup(plan.id.as_str()) } else { container.cgroup.clone() };
    let kinds = plan.joined.iter().map(|join| join.kind).collect();
    let mut descriptors: Vec<OwnedFd> = plan.joined.into_iter().map(|join| join.descriptor).collect();
    descriptors.extend(plan.held);
    let companion = plan.companion.map(|companion| {
        let count = companion.descriptors.len();
        descriptors.extend(companion.descriptors);
        (companion.order, count)
    });
    let monitor = MonitorOrder {
        job: Job::Container(Box::new(ContainerJob {
            run_directory: plan.run_directory.clone(),
            cgroup,
            resources: container.resources.clone(),
            device_rules: container.device_rules.clone(),
            namespaces: container.namespaces.clone(),
            joined: kinds,
            restart: plan.restart,
        })),
        exit_file: Some(plan.exit_file),
        log: plan.log,
        events: plan.events,
        stdin: plan.stdin,
        terminal: container.process.terminal,
        mapped_root: container.id_maps.as_ref().map(IdMaps::root),
        attach: plan.attach,
        after_exit: plan.after_exit.map(Into::into),
        ends_with_clients: plan.ends_with_clients,
        health: plan.health.map(|health| health_order(health, container.id_maps.is_some())).transpose()?,
        companion: companion.map(|(order, descriptor_count)| CompanionOrder { order, descriptor_count }),
    };
    let child = ChildOrder {
        process: container.process.clone(),
        user: plan.user,
        groups: plan.groups,
        terminal_size: plan.terminal_size,
        is_mapped: container.id_maps.is_some(),
        container: Some(Birth {
            plan: container,
            root: plan.root,
            run_directory: plan.run_directory,
            init: plan.init,
        }),
    };
    Ok((monitor, child, descriptors))
}

/// What the monitor needs of a plan for probes.
fn health_order(plan: HealthPlan, is_mapped: bool) -> Result<HealthOrder, RuntimeError> {
    let HealthPlan { schedule, process, user, groups, events, kept_file } = plan;
    let child = ChildOrder { process, user, groups, terminal_size: None, is_mapped, container: None };
    Ok(HealthOrder { schedule, child: child.encoded()?, events, kept_file })
}

/// Divides the plan of a further process as [`orders`] does that of a container.
fn exec_orders(target: &Target, plan: ExecPlan) -> (MonitorOrder, ChildOrder) {
    // Read before the pidfd is used: what a successor of the pid has would be joined by nobody.
    let mapped_root = root_of(target.state.pid);
    let monitor = MonitorOrder {
        job: Job::Exec { group: target.state.group.clone() },
        exit_file: plan.exit_file,
        log: LogPlan::default(),
        events: plan.events,
        stdin: plan.stdin,
        terminal: plan.process.terminal,
        mapped_root,
        attach: plan.attach,
        after_exit: None,
        ends_with_clients: false,
        health: None,
        companion: None,
    };
    let child = ChildOrder {
        process: plan.process,
        user: plan.user,
        groups: plan.groups,
        terminal_size: plan.terminal_size,
        is_mapped: mapped_root.is_some(),
        container: None,
    };
    (monitor, child)
}

/// The lock of a run directory tells that another monitor has it.
fn in_use(error: RuntimeError, run_directory: &Path) -> RuntimeError {
    match error {
        RuntimeError::Setup { source: SetupError { step: SetupStep::RunDirectory, errno, .. } }
            if errno == Errno::BUSY.raw_os_error() =>
        {
            RuntimeError::Running { path: run_directory.to_owned() }
        }
        other => other,
    }
}

/// A container that ends while it is joined is not running, whatever the kernel calls it.
fn not_running(error: RuntimeError, run_directory: &Path) -> RuntimeError {
    match error {
        RuntimeError::Setup {
            source: SetupError { step: SetupStep::Namespace | SetupStep::Cgroup, errno, .. },
        } if [Errno::SRCH, Errno::NODEV, Errno::NOENT].map(Errno::raw_os_error).contains(&errno) => {
            RuntimeError::NotRunning { path: run_directory.to_owned() }
        }
        other => other,
    }
}
