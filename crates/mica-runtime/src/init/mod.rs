//! The child's story: what happens between clone and exec, one file per chapter.
//!
//! Everything up to `pivot` runs with the host's files in view and therefore touches the
//! container's only by descriptors resolved inside its root. Nothing is undone on failure: the
//! process ends, and its namespaces with it.

pub(crate) mod ahead;
mod cgroups;
mod credentials;
mod devices;
pub(crate) mod mapping;
mod masks;
mod mounts;
mod namespaces;
mod program;
mod root;
mod settings;
mod steward;
mod terminal;
mod user;
mod visit;

use crate::error::{SetupError, SetupStep};
use crate::monitor::{MESSAGE_FAILED, MESSAGE_LENGTH_MAX, MESSAGE_ROOT};
use crate::order::{Birth, ChildOrder, send_with};
use crate::{MountPlan, NamespaceKind, RootPlan, TerminalSize, cgroup};
use ahead::Preparations;
use mapping::Provision;
use program::Limits;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
pub use visit::visit;

/// What the monitor leaves to its child.
#[derive(Debug)]
pub(crate) struct Inheritance {
    /// For messages to the monitor; its end of file tells that the exec succeeded.
    pub(crate) channel: OwnedFd,
    /// Standard streams; without any, the process gets a terminal or `/dev/null`.
    pub(crate) streams: [Option<OwnedFd>; 3],
    pub(crate) entrance: cgroup::Entrance,
    pub(crate) new_cgroup_namespace: bool,
    /// Namespaces to join, those of pids excepted.
    pub(crate) joined: Vec<(NamespaceKind, OwnedFd)>,
    /// First process of the container to join, for a further process.
    pub(crate) target: Option<OwnedFd>,
    pub(crate) group: Option<cgroup::Group>,
}

impl Inheritance {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let streams = self.streams.iter().flatten().map(AsFd::as_fd);
        let joined = self.joined.iter().map(|(_, descriptor)| descriptor.as_fd());
        let target = self.target.iter().map(AsFd::as_fd);
        streams
            .chain(joined)
            .chain(target)
            .chain(self.entrance.descriptors())
            .chain([self.channel.as_fd()])
            .collect()
    }
}

/// Result of a chapter.
type Chapter<T = ()> = Result<T, SetupError>;

/// Names a step and its subject for `map_err`.
fn at(step: SetupStep, subject: impl Into<String>) -> impl FnOnce(Errno) -> SetupError {
    move |errno| SetupError::new(step, subject, errno)
}

/// Lives the story; ends in the container's program or, with a message, in nothing.
pub(crate) fn run(order: &[u8], inheritance: Inheritance) -> ! {
    let closed = leave_the_monitors_files(&inheritance.descriptors());
    match closed {
        Ok(()) => tell_of(order, inheritance, Preparations::default()),
        Err(error) => {
            report(inheritance.channel.as_fd(), error);
            mica_sys::process::exit_now(1)
        }
    }
}

/// A process of the container that may trace must not find the monitor's descriptors here, among them the one of
/// our own binary in the place of an error stream.
fn leave_the_monitors_files(kept: &[BorrowedFd<'_>]) -> Chapter {
    rustix::stdio::dup2_stderr(std::io::stdout())
        .and_then(|()| mica_sys::process::close_all_but(kept))
        .map_err(at(SetupStep::Streams, ""))
}

/// The story from its first chapter.
fn tell_of(order: &[u8], inheritance: Inheritance, preparations: Preparations) -> ! {
    let channel = rustix::io::fcntl_dupfd_cloexec(&inheritance.channel, 3);
    let error = match live(order, inheritance, preparations) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    if let Ok(channel) = channel {
        report(channel.as_fd(), error);
    }
    mica_sys::process::exit_now(1)
}

/// Tells the monitor why there will be no program.
fn report(channel: BorrowedFd<'_>, error: SetupError) {
    let mut message = vec![MESSAGE_FAILED];
    message.extend(postcard::to_stdvec(&shortened(error)).unwrap_or_default());
    let _ = send_with(channel, &message, &[]);
}

/// A subject that came from the container may be of any length; a message may not.
fn shortened(mut error: SetupError) -> SetupError {
    const SUBJECT_LENGTH_MAX: usize = MESSAGE_LENGTH_MAX / 2;
    if error.subject.len() > SUBJECT_LENGTH_MAX {
        error.subject = error.subject.chars().take(SUBJECT_LENGTH_MAX / 4).collect();
    }
    error
}

fn live(
    order: &[u8],
    inheritance: Inheritance,
    preparations: Preparations,
) -> Chapter<std::convert::Infallible> {
    let order: ChildOrder =
        postcard::from_bytes(order).map_err(|_| SetupError::new(SetupStep::Plan, "", Errno::BADMSG))?;
    let Inheritance { channel, streams, entrance, new_cgroup_namespace, joined, target, group } = inheritance;
    entrance.enter()?;
    drop(entrance);
    let mut streams = streams;
    let size = order.terminal_size;
    match (&order.container, target) {
        (Some(birth), _) => {
            let lent = namespaces::join_given(&birth.plan, joined)?;
            if !preparations.is_settled {
                namespaces::freshen(new_cgroup_namespace)?;
            }
            if !preparations.is_loopback_up && birth.plan.is_new(NamespaceKind::Network) {
                namespaces::loopback()?;
            }
            namespaces::name(&birth.plan)?;
            let provision = order.is_mapped.then(|| Provision::receive(&channel)).transpose()?;
            let surroundings = Surroundings { group, provision, lent, preparations };
            let terminal = build(birth, surroundings, &channel, size)?;
            if let Some(terminal) = terminal {
                streams = terminal::streams(terminal)?;
            }
        }
        (None, Some(target)) => {
            if order.is_mapped {
                settings::limits(&order.process, None)?;
            }
            namespaces::join(&target, order.is_mapped)?;
            drop(target);
            if order.process.terminal {
                let devices = terminal::open_devpts()?;
                let terminal = terminal::open(&devices, size, &channel)?;
                streams = terminal::streams(terminal)?;
            }
        }
        (None, None) => return Err(SetupError::new(SetupStep::Plan, "target", Errno::BADMSG)),
    }
    let limits = if order.is_mapped { Limits::AreSet } else { Limits::ToSet };
    program::become_it(&order, streams, &channel, limits)
}

/// What a root is built with, besides its plan.
struct Surroundings {
    group: Option<cgroup::Group>,
    provision: Option<Provision>,
    lent: Vec<OwnedFd>,
    preparations: Preparations,
}

/// Builds the file system and moves into it; gives the terminal, if one is wanted.
fn build(
    birth: &Birth,
    Surroundings { group, provision, lent, preparations }: Surroundings,
    channel: &OwnedFd,
    size: Option<TerminalSize>,
) -> Chapter<Option<OwnedFd>> {
    let Preparations { is_settled, null, cgroups, file_systems, .. } = preparations;
    let plan = &birth.plan;
    if is_settled && plan.mounts.iter().any(MountPlan::hears_of_the_host) {
        // A forecast is for those who have none; too late to hear anything.
        return Err(SetupError::new(SetupStep::Plan, "mounts", Errno::INVAL));
    }
    // Modes are given exactly; the process's own mask is set when it is about to run.
    rustix::process::umask(Mode::empty());
    // Before anything covers them: sources, and a null device that no image could have made.
    let early = match provision {
        None => mounts::open_sources(&plan.mounts, mounts::Moment::BeforePrivacy)?,
        Some(_) => Vec::new(),
    };
    if !is_settled {
        root::keep_mounts_private()?;
    }
    let null = null.map_or_else(devices::open_null, Ok)?;
    let cgroups = match cgroups {
        None => cgroups::open(&plan.mounts, group.as_ref())?,
        ready => ready,
    };
    let (root, mounted) = match provision {
        None => {
            let late = mounts::open_sources(&plan.mounts, mounts::Moment::Privately)?;
            let sources = early.into_iter().zip(late).map(|(early, late)| early.or(late));
            let sources = mounts::with_lent(sources.collect(), &plan.mounts, lent)?;
            let root = attach_root(root::mount(&birth.root)?, birth, channel)?;
            let mounted = mounts::mount_all(&root, &plan.mounts, sources, (cgroups, file_systems))?;
            devices::make(&root, mounted.dev.as_ref(), &plan.devices)?;
            (root, mounted)
        }
        Some(mut provision) => {
            // The host's root is the one that may walk to the place, the container's to make files.
            let root = attach_root(provision.root()?, birth, channel)?;
            mapping::become_root()?;
            let dev = provision.dev(&plan.mounts)?;
            let sources = provision.sources(&plan.mounts)?;
            let mounted = mounts::mount_all(&root, &plan.mounts, sources, (cgroups, dev))?;
            (root, mounted)
        }
    };
    let terminal = match (&mounted.devpts, plan.process.terminal) {
        (_, false) => None,
        (Some(devpts), true) => Some(terminal::open(devpts, size, channel)?),
        (None, true) => {
            return Err(SetupError::new(SetupStep::Terminal, "/dev/pts is not mounted", Errno::NODEV));
        }
    };
    if let (Some(terminal), Some(dev)) = (&terminal, &mounted.dev) {
        terminal::show_as_console(terminal, dev)?;
    }
    settings::sysctls(mounted.proc.as_ref(), &plan.sysctls)?;
    masks::apply(&root, plan, &null)?;
    // As docker does for the first process, and only for it. What cannot be made is noticed when
    // it is to be changed to.
    let _ = root.open_or_make(&plan.process.directory, root::Place::Directory, root::Links::Follow);
    if plan.root_read_only {
        root::make_read_only(&root)?;
    }
    root::pivot(&root)?;
    Ok(terminal)
}

/// Attaches the root, and lets the monitor hold one that is dear to close.
fn attach_root(mount: OwnedFd, birth: &Birth, channel: &OwnedFd) -> Chapter<root::Root> {
    let root = root::attach(mount, &birth.run_directory)?;
    if let RootPlan::Overlay { volatile: false, .. } = birth.root {
        send_with(channel.as_fd(), &[MESSAGE_ROOT], &[root.descriptor.as_fd()])
            .map_err(at(SetupStep::Root, root_subject(&birth.root)))?;
    }
    Ok(root)
}

/// Whether the root is an overlay or a directory, for messages.
fn root_subject(plan: &RootPlan) -> String {
    match plan {
        RootPlan::Overlay { upper, .. } => upper.display().to_string(),
        RootPlan::Directory { path } => path.display().to_string(),
    }
}
