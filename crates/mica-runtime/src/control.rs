//! Acting on a running container from outside: signals, freezing, resizing, attaching.

use crate::launcher::GROUP_PARENT;
use crate::state::{SOCKET_FILE, STATE_FILE, State, start_ticks};
use crate::{Hello, NamespaceKind, Resources, RuntimeError, TerminalSize, cgroup};
use mica_model::ContainerId;
use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The first process of a running container, held so that its pid cannot come to mean another.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) pidfd: OwnedFd,
    pub(crate) state: State,
}

impl Target {
    /// Finds the container's first process, whether its monitor lives or was killed.
    pub(crate) fn find(run_directory: &Path) -> Result<Self, RuntimeError> {
        let absent = || RuntimeError::NotRunning { path: run_directory.to_owned() };
        let (state, _) = State::read(run_directory)?.ok_or_else(absent)?;
        let pid = i32::try_from(state.pid).ok().and_then(Pid::from_raw).ok_or_else(absent)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| absent())?;
        // Compared after the descriptor is held: from now on the pid is not given to anyone else.
        if start_ticks(state.pid) != Some(state.start_ticks) {
            return Err(absent());
        }
        Ok(Self { pidfd, state })
    }
}

/// Number of the signal that cannot be caught.
const KILL: i32 = 9;

/// Sends signal number `signal` to the first process, never to a process that merely got its pid.
///
/// A frozen container is ended by 9 at once; other signals arrive when it is resumed.
pub fn kill(run_directory: &Path, signal: i32) -> Result<(), RuntimeError> {
    let target = Target::find(run_directory)?;
    match mica_sys::signal::send(target.pidfd.as_fd(), signal) {
        Ok(()) if signal == KILL => match cgroup::thaw_legacy(&target.state.group) {
            // It has ended already.
            Err(error) if is_gone(&error) => Ok(()),
            other => other,
        },
        Ok(()) => Ok(()),
        Err(Errno::SRCH) => Err(RuntimeError::NotRunning { path: run_directory.to_owned() }),
        Err(errno) => Err(RuntimeError::file("signal the process of", run_directory)(errno.into())),
    }
}

/// Freezes all processes of the container and waits until they are.
pub fn pause(run_directory: &Path) -> Result<(), RuntimeError> {
    cgroup::freeze(&Target::find(run_directory)?.state.group).map_err(ended(run_directory))
}

/// Thaws all processes of the container.
pub fn resume(run_directory: &Path) -> Result<(), RuntimeError> {
    cgroup::thaw(&Target::find(run_directory)?.state.group).map_err(ended(run_directory))
}

/// Whether the container is frozen (or about to be).
pub fn is_paused(run_directory: &Path) -> Result<bool, RuntimeError> {
    cgroup::is_frozen(&Target::find(run_directory)?.state.group).map_err(ended(run_directory))
}

/// Cgroup files vanish when the container ends meanwhile.
fn is_gone(error: &RuntimeError) -> bool {
    let vanished = [Errno::NOENT, Errno::NODEV].map(Errno::raw_os_error);
    matches!(error, RuntimeError::File { source, .. }
        if source.raw_os_error().is_some_and(|errno| vanished.contains(&errno)))
}

pub(crate) fn ended(run_directory: &Path) -> impl FnOnce(RuntimeError) -> RuntimeError {
    move |error| {
        if is_gone(&error) { RuntimeError::NotRunning { path: run_directory.to_owned() } } else { error }
    }
}

/// Changes the size of the container's terminal.
pub fn resize(run_directory: &Path, size: TerminalSize) -> Result<(), RuntimeError> {
    let [a, b] = size.rows.to_be_bytes();
    let [c, d] = size.columns.to_be_bytes();
    let mut frame = FrameHeader::new(FrameKind::Resize, 4).encode().to_vec();
    frame.extend([a, b, c, d]);
    tell(run_directory, frame)
}

/// Tells the monitor that the container was frozen or thawed, because it probes nobody who cannot answer;
/// waits until it has taken that in.
pub fn note_pause(run_directory: &Path, is_paused: bool) -> Result<(), RuntimeError> {
    let mut frame = FrameHeader::new(FrameKind::Pause, 1).encode().to_vec();
    frame.push(u8::from(is_paused));
    tell(run_directory, frame)
}

/// Sends a frame that is answered by nothing and waits until it was obeyed: frames are obeyed in their
/// order, and leaving is the next one.
fn tell(run_directory: &Path, mut frames: Vec<u8>) -> Result<(), RuntimeError> {
    let mut stream = attach(run_directory, &Hello::default())?;
    frames.extend(FrameHeader::new(FrameKind::Detach, 0).encode());
    let talk = |source| RuntimeError::Talk { source };
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(talk)?;
    stream.write_all(&frames).map_err(talk)?;
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(RuntimeError::Unanswered { path: run_directory.to_owned() })
        }
        other => other.map(drop).map_err(talk),
    }
}

/// Connects to the monitor and waits until it has taken the client in; frames as in
/// [`mica_model::frame`] follow, the exit frame being the last.
pub fn attach(run_directory: &Path, hello: &Hello) -> Result<UnixStream, RuntimeError> {
    let absent = || RuntimeError::NotRunning { path: run_directory.to_owned() };
    let talk = |source| RuntimeError::Talk { source };
    let mut stream = connect(run_directory, hello)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(talk)?;
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => RuntimeError::Unanswered { path: run_directory.to_owned() },
        // The end of the container may come first; then there is nothing to attach to.
        _ => absent(),
    })?;
    stream.set_read_timeout(None).map_err(talk)?;
    match FrameHeader::decode(head) {
        Ok(FrameHeader { kind: FrameKind::Started, length: 0 }) => Ok(stream),
        _ => Err(absent()),
    }
}

/// The same for one who does something else first: it may be that nobody ever answers, but whatever
/// becomes of the monitor, the connection ends no later than that.
pub fn connect(run_directory: &Path, hello: &Hello) -> Result<UnixStream, RuntimeError> {
    let absent = || RuntimeError::NotRunning { path: run_directory.to_owned() };
    let talk = |source| RuntimeError::Talk { source };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, run_directory, flags, Mode::empty()).map_err(|_| absent())?;
    // By way of /proc/self/fd the length of the run directory's path does not matter.
    let address = format!("/proc/self/fd/{}/{SOCKET_FILE}", directory.as_raw_fd());
    let mut stream = UnixStream::connect(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => absent(),
        _ => talk(error),
    })?;
    let encode = |source| RuntimeError::Encode { what: "the first message", source };
    let body = postcard::to_stdvec(hello).map_err(encode)?;
    let mut message = vec![body.len() as u8];
    message.extend(body);
    stream.write_all(&message).map_err(talk)?;
    Ok(stream)
}

/// How long a monitor may take to answer: it does nothing that takes long, but its host may be busy.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Host pids of all processes of the container, nested cgroups included.
pub fn processes(run_directory: &Path) -> Result<Vec<u32>, RuntimeError> {
    Ok(Target::find(run_directory)?.state.group.processes())
}

/// Changes limits of a running container; returns those that this host does not know.
pub fn update_resources(run_directory: &Path, resources: &Resources) -> Result<Vec<String>, RuntimeError> {
    let absent = || RuntimeError::NotRunning { path: run_directory.to_owned() };
    // Between two lives there is no process, but there are the cgroups of the next one.
    let (state, _) = State::read(run_directory)?.ok_or_else(absent)?;
    Ok(cgroup::apply(&state.group, resources)?)
}

/// Whether this host can limit real-time processor time.
pub fn has_realtime_limits() -> bool {
    cgroup::has_realtime()
}

/// A directory descriptor of the container's root as its own processes see it.
pub fn root(run_directory: &Path) -> Result<OwnedFd, RuntimeError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open_of_target(run_directory, "root", flags)
}

/// A namespace of a running container, for another one to join.
pub fn namespace(run_directory: &Path, kind: NamespaceKind) -> Result<OwnedFd, RuntimeError> {
    open_of_target(run_directory, &format!("ns/{}", kind.file_name()), OFlags::RDONLY | OFlags::CLOEXEC)
}

fn open_of_target(run_directory: &Path, file: &str, flags: OFlags) -> Result<OwnedFd, RuntimeError> {
    let target = Target::find(run_directory)?;
    let path = format!("/proc/{}/{file}", target.state.pid);
    let opened = openat(CWD, path.as_str(), flags, Mode::empty());
    // The pid was right when the file was opened if the process still lives now.
    let is_same = mica_sys::signal::send(target.pidfd.as_fd(), 0).is_ok();
    match opened {
        Ok(descriptor) if is_same => Ok(descriptor),
        Ok(_) | Err(Errno::NOENT | Errno::SRCH) => {
            Err(RuntimeError::NotRunning { path: run_directory.to_owned() })
        }
        Err(errno) => Err(RuntimeError::file("open", path)(errno.into())),
    }
}

/// The cgroups of a monitor that was killed before it could write down what it had made, or after it
/// had taken that back; `None` if it lives or left in order.
fn abandoned_group(run_directory: &Path) -> Option<cgroup::Group> {
    run_directory.join(SOCKET_FILE).symlink_metadata().ok()?;
    let state = run_directory.join(STATE_FILE);
    let file = openat(CWD, &state, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if mica_sys::lock::is_locked(file.as_fd()).ok()? {
        return None;
    }
    // What follows the id is its owner's.
    let id = run_directory.file_name()?.to_str()?.split('.').next()?;
    Some(cgroup::Group::existing(&crate::launcher::default_cgroup(id)))
}

/// How old a cgroup must be to be nobody's, when nobody knows its name.
const STRAY_AGE: Duration = Duration::from_secs(60);

/// Removes empty cgroups of containers that there are none of: a monitor makes them while the record is still being
/// written, and both may be killed then. A name may be known to a store other than the caller's, so groups of a
/// living monitor are left alone, as are those with processes in them.
pub fn remove_stray_groups(is_known: impl Fn(&str) -> bool) {
    let mut strays = cgroup::older_than(STRAY_AGE, GROUP_PARENT);
    strays.retain(|name| name.parse::<ContainerId>().is_ok() && !is_known(name));
    if strays.is_empty() {
        return;
    }
    // Once for all of them: another store may have a thousand containers, each with processes.
    let Ok(arguments) = arguments_of_processes() else { return };
    for name in strays.iter().filter(|name| !arguments.contains(name.as_bytes())) {
        cgroup::Group::existing(&crate::launcher::default_cgroup(name)).remove();
    }
}

/// All that any process was started with, as monitors are with their container's id.
fn arguments_of_processes() -> std::io::Result<HashSet<Vec<u8>>> {
    let mut all = HashSet::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        all.extend(arguments.split(|byte| *byte == 0).map(<[u8]>::to_vec));
    }
    Ok(all)
}

/// Ends the first process of a container whose monitor was killed, and which did not go with it: a
/// program that changes its user is free of that. [`cleanup`] takes the rest away.
pub fn end_orphan(run_directory: &Path) {
    if let Ok(Some((_, false))) = State::read(run_directory)
        && let Ok(target) = Target::find(run_directory)
    {
        // One that has ended meanwhile is what was wanted.
        let _ = mica_sys::signal::send(target.pidfd.as_fd(), KILL);
        let _ = cgroup::thaw_legacy(&target.state.group);
    }
}

/// Ends what a killed monitor has left: processes and cgroups. Does nothing while a monitor lives.
pub fn cleanup(run_directory: &Path) -> Result<(), RuntimeError> {
    let group = match State::read(run_directory)? {
        Some((_, true)) => return Ok(()),
        Some((state, false)) => state.group,
        None => match abandoned_group(run_directory) {
            Some(group) => group,
            None => return Ok(()),
        },
    };
    if let Ok(target) = Target::find(run_directory) {
        let _ = mica_sys::signal::send(target.pidfd.as_fd(), 9);
    }
    group.kill_all();
    crate::monitor::remove_group(&group);
    for file in [STATE_FILE, SOCKET_FILE] {
        let path = run_directory.join(file);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RuntimeError::file("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}
