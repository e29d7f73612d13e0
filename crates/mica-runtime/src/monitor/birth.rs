//! From an order to a running program: run directory, cgroups, streams, clone, and the wait for exec.

use super::ahead::{Ahead, Waiting};
use super::now;
use crate::error::{SetupError, SetupStep};
use crate::init::{self, Inheritance};
use crate::order::{ChildOrder, ContainerJob, Job, MonitorOrder, receive_with};
use crate::plan::NamespacePlan;
use crate::state::{SOCKET_FILE, STATE_FILE, State, boot, start_ticks};
use crate::{Companion, NamespaceKind, StdinPlan, cgroup};
use mica_model::Timestamp;
use mica_sys::process::{Fork, NamespaceFlags, fork};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// First byte of the child's messages.
pub(crate) const MESSAGE_TERMINAL: u8 = 1;
/// See [`MESSAGE_TERMINAL`]; the rest is a [`SetupError`] in postcard.
pub(crate) const MESSAGE_FAILED: u8 = 2;
/// See [`MESSAGE_TERMINAL`]; the container's root comes along.
pub(crate) const MESSAGE_ROOT: u8 = 3;

/// Longest message of the child, in bytes.
pub(crate) const MESSAGE_LENGTH_MAX: usize = 8 << 10;

/// Everything that is ready before the process exists.
#[derive(Debug)]
pub(super) struct Nursery {
    group: Option<cgroup::Group>,
    /// Whether the cgroups were made for this birth and go if it fails.
    is_group_new: bool,
    entrance: cgroup::Entrance,
    flags: NamespaceFlags,
    new_cgroup_namespace: bool,
    joined: Vec<(NamespaceKind, OwnedFd)>,
    target: Option<OwnedFd>,
    warnings: Vec<String>,
    /// See [`crate::StartPlan::held`].
    held: Vec<OwnedFd>,
    /// The child, if it is there already.
    early: Option<Waiting>,
}

/// The run directory as its monitor holds it.
#[derive(Debug)]
pub(super) struct Residence {
    /// Locked for as long as it is open.
    pub(super) state: OwnedFd,
    pub(super) listener: UnixListener,
    directory: OwnedFd,
    /// See [`State::boot`]; asked for once, because later there may be no descriptor for it.
    pub(super) boot: String,
}

/// A process whose program runs, with our ends of its streams.
#[derive(Debug)]
pub(super) struct Newborn {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    pub(super) started_at: Timestamp,
    /// Cgroups to remove at the end: those of a container, not of a further process.
    pub(super) group: Option<cgroup::Group>,
    pub(super) warnings: Vec<String>,
    /// The network namespace, if it was made for this process.
    pub(super) network: Option<OwnedFd>,
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) root: Option<OwnedFd>,
}

impl Residence {
    pub(super) fn open(run_directory: &Path) -> Result<Self, SetupError> {
        let failed =
            |errno| SetupError::new(SetupStep::RunDirectory, run_directory.display().to_string(), errno);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, run_directory, flags, Mode::empty()).map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let state =
            rustix::fs::openat(&directory, STATE_FILE, flags, Mode::from_raw_mode(0o600)).map_err(failed)?;
        lock(&state).map_err(failed)?;
        rustix::fs::ftruncate(&state, 0).map_err(failed)?;
        let _ = rustix::fs::unlinkat(&directory, SOCKET_FILE, rustix::fs::AtFlags::empty());
        // By way of /proc/self/fd the length of the run directory's path does not matter.
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{SOCKET_FILE}", directory.as_raw_fd()));
        let listener = listener.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let nonblocking = listener.set_nonblocking(true);
        nonblocking.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        Ok(Self { state, listener, directory, boot: boot() })
    }

    /// Tells those who ask what is true now.
    pub(super) fn tell(&self, state: &State) -> Result<(), SetupError> {
        let written = state.write(&self.state);
        written.map_err(|errno| SetupError::new(SetupStep::RunDirectory, STATE_FILE, errno))
    }

    /// Makes the container absent for those who ask; the lock stays until this value is dropped.
    pub(super) fn vacate(&self) {
        let _ = rustix::fs::ftruncate(&self.state, 0);
    }

    /// The last that is done: a socket that is found without its monitor says that the monitor was
    /// killed, with things left to tidy up.
    pub(super) fn leave(&self) {
        let _ = rustix::fs::unlinkat(&self.directory, SOCKET_FILE, rustix::fs::AtFlags::empty());
    }
}

impl Drop for Residence {
    /// Also where the birth fails half way. A forked child never gets here.
    fn drop(&mut self) {
        self.leave();
    }
}

/// Takes the lock; waits only for a predecessor that is tidying up, which has emptied its state.
/// One that is only starting has an empty state too, so the state is looked at again and again:
/// waiting for the lock alone could last as long as that container runs.
fn lock(state: &OwnedFd) -> Result<(), Errno> {
    while !mica_sys::lock::try_exclusive(state.as_fd())? {
        if rustix::fs::fstat(state)?.st_size > 0 {
            return Err(Errno::BUSY);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(())
}

/// What a newborn finds there.
#[derive(Debug)]
pub(super) struct Household<'a> {
    /// Of a container.
    pub(super) residence: Option<&'a Residence>,
    /// How often it was started again.
    pub(super) restarts: u32,
    /// See [`Companion`].
    pub(super) companion: Option<&'a mut (dyn Companion + 'static)>,
}

impl Nursery {
    fn empty() -> Self {
        Self {
            group: None,
            is_group_new: false,
            entrance: cgroup::Entrance::default(),
            flags: NamespaceFlags::NONE,
            new_cgroup_namespace: false,
            joined: Vec::new(),
            target: None,
            warnings: Vec::new(),
            held: Vec::new(),
            early: None,
        }
    }

    /// For the first process that this monitor looks after.
    pub(super) fn prepare(
        order: &MonitorOrder,
        mut descriptors: Vec<OwnedFd>,
        (hierarchies, early): (Vec<cgroup::Hierarchy>, Option<Ahead>),
    ) -> Result<Self, SetupError> {
        let mut nursery = Self::empty();
        match &order.job {
            Job::Container(job) => {
                nursery.held = descriptors.split_off(job.joined.len().min(descriptors.len()));
                let joined = job.joined.iter().copied().zip(descriptors).collect();
                nursery.take_user_namespace(order);
                nursery.take_namespaces(&job.namespaces, joined)?;
                let fits =
                    |early: &Ahead| early.fits(&job.cgroup, nursery.flags, nursery.new_cgroup_namespace);
                // One that does not fit is gone with its cgroups before others are made.
                match early.filter(fits) {
                    Some(early) => nursery.take_over(early, job)?,
                    None => nursery.make_group(hierarchies, job)?,
                }
                nursery.is_group_new = true;
            }
            Job::Exec { group } => {
                let target = descriptors.pop().ok_or_else(|| lost("the container's pidfd"))?;
                nursery.entrance = group.entrance()?;
                rustix::thread::move_into_thread_name_spaces(target.as_fd(), ThreadNameSpaceType::PROCESS_ID)
                    .map_err(|errno| SetupError::new(SetupStep::Namespace, "pid", errno))?;
                nursery.target = Some(target);
            }
        }
        Ok(nursery)
    }

    /// Takes a child and its cgroups, which get their limits while it waits.
    fn take_over(&mut self, early: Ahead, job: &ContainerJob) -> Result<(), SetupError> {
        self.warnings = cgroup::apply(early.group(), &job.resources)?;
        cgroup::restrict(early.group(), &job.device_rules)?;
        self.group = Some(early.group().clone());
        self.early = early.hand_over();
        Ok(())
    }

    fn make_group(
        &mut self,
        hierarchies: Vec<cgroup::Hierarchy>,
        job: &ContainerJob,
    ) -> Result<(), SetupError> {
        let group = cgroup::Group::create(hierarchies, &job.cgroup)?;
        let entrance = cgroup::apply(&group, &job.resources).and_then(|warnings| {
            self.warnings = warnings;
            cgroup::restrict(&group, &job.device_rules)?;
            group.entrance()
        });
        self.entrance = entrance.inspect_err(|_| {
            group.remove();
        })?;
        self.group = Some(group);
        Ok(())
    }

    fn take_user_namespace(&mut self, order: &MonitorOrder) {
        if order.mapped_root.is_some() {
            self.flags = self.flags.with(NamespaceFlags::USER);
        }
    }

    /// For the next life of a container whose cgroups have stayed.
    pub(super) fn prepare_again(
        order: &MonitorOrder,
        job: &ContainerJob,
        joined: Vec<(NamespaceKind, OwnedFd)>,
        group: Option<&cgroup::Group>,
    ) -> Result<Self, SetupError> {
        let mut nursery = Self::empty();
        let group = group.ok_or_else(|| lost("the cgroups"))?;
        nursery.take_user_namespace(order);
        nursery.take_namespaces(&job.namespaces, joined)?;
        nursery.entrance = group.entrance()?;
        nursery.group = Some(group.clone());
        Ok(nursery)
    }

    /// Sorts the namespaces into new ones, which the clone makes, and existing ones, which are joined.
    fn take_namespaces(
        &mut self,
        plans: &[NamespacePlan],
        joined: Vec<(NamespaceKind, OwnedFd)>,
    ) -> Result<(), SetupError> {
        self.joined = joined;
        for plan in plans {
            let is_joined = self.joined.iter().any(|(kind, _)| *kind == plan.kind);
            if is_joined && plan.kind != NamespaceKind::Mount {
                continue;
            }
            match &plan.path {
                Some(path) => {
                    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                    let failed = |errno| SetupError::new(SetupStep::Namespace, path.clone(), errno);
                    self.joined.push((plan.kind, file.map_err(failed)?));
                }
                None => match flag(plan.kind) {
                    Some(flag) => self.flags = self.flags.with(flag),
                    None => self.new_cgroup_namespace = true,
                },
            }
        }
        // A process is born into its pid namespace, so it is the parent that joins it.
        for (_, file) in self.joined.extract_if(.., |(kind, _)| *kind == NamespaceKind::Pid) {
            rustix::thread::move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::ProcessID))
                .map_err(|errno| SetupError::new(SetupStep::Namespace, "pid", errno))?;
        }
        Ok(())
    }

    /// Makes the process and waits until its program runs. The residence of a container is told who
    /// it is, and how often it was started again.
    pub(super) fn deliver(
        mut self,
        order: &MonitorOrder,
        child_order: &[u8],
        Household { residence, restarts, companion }: Household<'_>,
    ) -> Result<Newborn, SetupError> {
        // Descriptors may have run out; the cgroups must not stay then.
        let streams = Streams::open(order).inspect_err(|_| self.abandon(residence))?;
        let Streams { ours: our_streams, theirs } = streams;
        let born = match self.early.take() {
            Some(child) => {
                // If it could not be told it has ended: the channel says why, or is at its end.
                let told = child.brief(child_order, &theirs, &self.joined);
                drop(theirs);
                Ok((child, told))
            }
            None => self.bear(child_order, theirs).map(|child| (child, Ok(()))),
        };
        let (Waiting { pid, pidfd, channel: ours }, told) = born.inspect_err(|_| self.abandon(residence))?;
        // Now, because a short-lived program may be gone when the start is known to have succeeded. One that
        // belongs to a user namespace goes with that.
        let is_kept = self.flags.contains(NamespaceFlags::NETWORK) && order.mapped_root.is_none();
        let network = is_kept.then(|| open_network(pid)).flatten();
        let written = self.write_state(pid, residence, restarts).and_then(|started_at| {
            if order.mapped_root.is_some() && self.group.is_some() {
                fit_out(companion, pid)?;
                provide(&ours, pid, child_order)?;
            }
            Ok(started_at)
        });
        self.held.clear();
        let began = written.and_then(|started_at| {
            let sent = await_exec(&ours)?;
            told.map(|()| (started_at, sent))
        });
        match began {
            Ok((started_at, Sent { terminal, root })) => {
                let [stdin, stdout, stderr] = our_streams;
                Ok(Newborn {
                    pid,
                    pidfd,
                    started_at,
                    group: self.group,
                    warnings: self.warnings,
                    network,
                    stdin,
                    stdout,
                    stderr,
                    terminal,
                    root,
                })
            }
            Err(error) => {
                let _ = mica_sys::signal::send(pidfd.as_fd(), 9);
                let _ = rustix::process::waitid(
                    rustix::process::WaitId::PidFd(pidfd.as_fd()),
                    rustix::process::WaitIdOptions::EXITED,
                );
                self.abandon(residence);
                Err(error)
            }
        }
    }

    /// Makes the process; its streams are closed here.
    fn bear(&mut self, child_order: &[u8], streams: [Option<OwnedFd>; 3]) -> Result<Waiting, SetupError> {
        let (channel, theirs) = channel()?;
        let unified = self.entrance.unified.take();
        let forked = fork(self.flags, unified.as_ref().map(AsFd::as_fd));
        match forked.map_err(|errno| SetupError::new(SetupStep::Clone, "", errno))? {
            Fork::Parent { pid, pidfd } => Ok(Waiting { pid, pidfd, channel }),
            Fork::Child => init::run(
                child_order,
                Inheritance {
                    channel: theirs,
                    streams,
                    entrance: std::mem::take(&mut self.entrance),
                    new_cgroup_namespace: self.new_cgroup_namespace,
                    joined: std::mem::take(&mut self.joined),
                    target: self.target.take(),
                    group: self.group.take(),
                },
            ),
        }
    }

    /// While the child sets itself up, records who it is.
    fn write_state(
        &self,
        pid: u32,
        residence: Option<&Residence>,
        restarts: u32,
    ) -> Result<Timestamp, SetupError> {
        let started_at = now();
        let (Some(residence), Some(group)) = (residence, &self.group) else { return Ok(started_at) };
        let ticks = start_ticks(pid).unwrap_or(0);
        let state =
            State::new((pid, ticks), started_at.nanoseconds(), group.clone(), (restarts, &residence.boot));
        residence.tell(&state)?;
        Ok(started_at)
    }

    fn abandon(&self, residence: Option<&Residence>) {
        if !self.is_group_new {
            return;
        }
        if let Some(residence) = residence {
            residence.vacate();
        }
        if let Some(group) = &self.group {
            super::end::remove_group(group);
        }
    }
}

/// The network namespace of a child that has not been waited for.
fn open_network(pid: u32) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, format!("/proc/{pid}/ns/net"), flags, Mode::empty()).ok()
}

/// Has the companion see to the network namespace of a child that waits for its users.
fn fit_out(companion: Option<&mut (dyn Companion + 'static)>, pid: u32) -> Result<(), SetupError> {
    let Some(companion) = companion else { return Ok(()) };
    let network = open_network(pid).ok_or_else(|| lost("the network namespace"))?;
    let told = |subject| SetupError { step: SetupStep::Network, subject, errno: 0 };
    companion.fit_out(network.as_fd()).map_err(told)
}

/// Gives a child in a user namespace of its own what it cannot make itself.
fn provide(channel: &OwnedFd, pid: u32, child_order: &[u8]) -> Result<(), SetupError> {
    let order: ChildOrder = postcard::from_bytes(child_order).map_err(|_| lost("the child's plan"))?;
    let birth = order.container.ok_or_else(|| lost("the child's plan"))?;
    let maps = birth.plan.id_maps.as_ref().ok_or_else(|| lost("the maps of ids"))?;
    init::mapping::provide(channel, pid, &birth, maps)
}

fn lost(what: &str) -> SetupError {
    SetupError::new(SetupStep::Plan, what, Errno::BADMSG)
}

/// Both ends of what a child and its monitor tell each other by, the monitor's first.
pub(super) fn channel() -> Result<(OwnedFd, OwnedFd), SetupError> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| SetupError::new(SetupStep::Streams, "", errno))
}

/// What clone3(2) is told of a new namespace.
pub(super) fn flag(kind: NamespaceKind) -> Option<NamespaceFlags> {
    Some(match kind {
        NamespaceKind::Mount => NamespaceFlags::MOUNT,
        NamespaceKind::Pid => NamespaceFlags::PID,
        NamespaceKind::Ipc => NamespaceFlags::IPC,
        NamespaceKind::Uts => NamespaceFlags::UTS,
        NamespaceKind::Network => NamespaceFlags::NETWORK,
        // Its root is the cgroup that the process is in, so it is made after moving there.
        NamespaceKind::Cgroup => return None,
    })
}

/// What the child sends of what it makes.
#[derive(Debug, Default)]
struct Sent {
    terminal: Option<OwnedFd>,
    root: Option<OwnedFd>,
}

/// Reads the child's messages until its exec closes the channel.
fn await_exec(channel: &OwnedFd) -> Result<Sent, SetupError> {
    let mut sent = Sent::default();
    let mut message = vec![0; MESSAGE_LENGTH_MAX];
    loop {
        let received = receive_with(channel.as_fd(), &mut message);
        let (length, mut descriptors) =
            received.map_err(|errno| SetupError::new(SetupStep::Streams, "", errno))?;
        match message[..length].split_first() {
            None => return Ok(sent),
            Some((&MESSAGE_TERMINAL, _)) => sent.terminal = descriptors.pop(),
            Some((&MESSAGE_ROOT, _)) => sent.root = descriptors.pop(),
            Some((_, rest)) => {
                return Err(postcard::from_bytes(rest).unwrap_or_else(|_| lost("the child's report")));
            }
        }
    }
}

/// Both sides of the standard streams, in the order of their numbers.
#[derive(Debug)]
struct Streams {
    ours: [Option<OwnedFd>; 3],
    theirs: [Option<OwnedFd>; 3],
}

impl Streams {
    fn open(order: &MonitorOrder) -> Result<Self, SetupError> {
        let failed = |errno| SetupError::new(SetupStep::Streams, "", errno);
        let mut streams = Self { ours: [None, None, None], theirs: [None, None, None] };
        if order.terminal {
            return Ok(streams);
        }
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed);
        if order.stdin != StdinPlan::Null {
            let (read, write) = pipe()?;
            (streams.theirs[0], streams.ours[0]) = (Some(read), Some(write));
        }
        for number in 1..3 {
            let (read, write) = pipe()?;
            (streams.ours[number], streams.theirs[number]) = (Some(read), Some(write));
        }
        if let Some((uid, gid)) = order.mapped_root {
            // So that the container's root can hand them on to another user.
            for theirs in streams.theirs.iter().flatten() {
                rustix::fs::fchown(theirs, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                    .map_err(failed)?;
            }
        }
        for ours in streams.ours.iter().flatten() {
            rustix::io::ioctl_fionbio(ours, true).map_err(failed)?;
        }
        Ok(streams)
    }
}
