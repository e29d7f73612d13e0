//! What travels between a caller and the monitor it has spawned, over the monitor's first socket.
//!
//! First comes one message of the caller: two lengths, the monitor's part and the child's part, each
//! in postcard, with open namespaces attached. The child's part is decoded by the child only, so
//! that the long-lived monitor stays small. Then the monitor answers with frames. In front of the
//! message there may be a [`Forecast`] of it, as another one without a child's part.

use crate::companion::CompanionOrder;
use crate::plan::{
    AfterExit, DeviceRules, EventPlan, HealthEvents, LogPlan, NamespacePlan, ProcessPlan, Resources, RootPlan,
};
use crate::{
    Attach, ContainerPlan, Forecast, HealthSchedule, NamespaceKind, RestartPlan, RuntimeError, StdinPlan,
    TerminalSize, cgroup,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// Most descriptors in one message; the kernel takes 253 (unix(7)).
const DESCRIPTORS_MAX: usize = 200;

/// The longest message believed, in bytes.
const MESSAGE_LENGTH_MAX: usize = 64 << 20;

/// What the caller says.
#[derive(Debug, Serialize, Deserialize)]
enum Word<Order> {
    Forecast(Forecast),
    Order(Order),
}

/// The monitor's part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MonitorOrder {
    pub(crate) job: Job,
    pub(crate) exit_file: Option<PathBuf>,
    pub(crate) log: LogPlan,
    pub(crate) events: Option<EventPlan>,
    pub(crate) stdin: StdinPlan,
    pub(crate) terminal: bool,
    /// Host ids of the root of the process's user namespace, when that is not ours.
    pub(crate) mapped_root: Option<(u32, u32)>,
    pub(crate) attach: Option<Attach>,
    pub(crate) after_exit: Option<LastCommand>,
    /// See [`crate::StartPlan::ends_with_clients`].
    pub(crate) ends_with_clients: bool,
    pub(crate) health: Option<HealthOrder>,
    /// Its descriptors are the last of the message.
    pub(crate) companion: Option<CompanionOrder>,
}

/// [`crate::HealthPlan`], the probe's part ready to be sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HealthOrder {
    pub(crate) schedule: HealthSchedule,
    /// A [`ChildOrder`].
    pub(crate) child: Vec<u8>,
    pub(crate) events: HealthEvents,
    pub(crate) kept_file: PathBuf,
}

/// What kind of process the monitor looks after.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// The first process of a container.
    Container(Box<ContainerJob>),
    /// A further one; a pidfd of the first is attached to the message.
    Exec { group: cgroup::Group },
}

/// The first process of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ContainerJob {
    pub(crate) run_directory: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) resources: Resources,
    pub(crate) device_rules: DeviceRules,
    pub(crate) namespaces: Vec<NamespacePlan>,
    /// Kinds of the namespaces attached to the message, in their order.
    pub(crate) joined: Vec<NamespaceKind>,
    pub(crate) restart: RestartPlan,
}

/// [`AfterExit`] as bytes, since arguments need not be UTF-8.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastCommand {
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) only_if_exists: PathBuf,
    pub(crate) discards: Option<PathBuf>,
}

impl From<AfterExit> for LastCommand {
    fn from(after: AfterExit) -> Self {
        let arguments = after.arguments.into_iter().map(OsStringExt::into_vec).collect();
        Self { arguments, only_if_exists: after.only_if_exists, discards: after.discards }
    }
}

/// The child's part.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChildOrder {
    pub(crate) process: ProcessPlan,
    pub(crate) user: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) terminal_size: Option<TerminalSize>,
    /// Whether the process is in another user namespace than ours.
    pub(crate) is_mapped: bool,
    /// `None` for a further process of a running container.
    pub(crate) container: Option<Birth>,
}

/// What only the first process does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Birth {
    pub(crate) plan: ContainerPlan,
    pub(crate) root: RootPlan,
    /// Where the root is attached while it is built, inside the new mount namespace only.
    pub(crate) run_directory: PathBuf,
    /// See [`crate::StartPlan::init`].
    pub(crate) init: bool,
}

/// The monitor's answer to a successful start, in a `Started` frame.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartedMessage {
    pub(crate) pid: u32,
    pub(crate) started_at: i64,
    pub(crate) warnings: Vec<String>,
}

impl ChildOrder {
    /// As it travels.
    pub(crate) fn encoded(&self) -> Result<Vec<u8>, RuntimeError> {
        let encode = |source| RuntimeError::Encode { what: "the plan of the process", source };
        postcard::to_stdvec(self).map_err(encode)
    }
}

/// Sends the message.
pub(crate) fn send(
    socket: &UnixStream,
    monitor: &MonitorOrder,
    child: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), RuntimeError> {
    send_word(socket, &Word::Order(monitor), child, descriptors)
}

/// Sends a forecast of the message.
pub(crate) fn send_forecast(socket: &UnixStream, forecast: Forecast) -> Result<(), RuntimeError> {
    send_word::<()>(socket, &Word::Forecast(forecast), &[], &[])
}

fn send_word<Order: Serialize>(
    socket: &UnixStream,
    word: &Word<Order>,
    child: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), RuntimeError> {
    let encode = |source| RuntimeError::Encode { what: "the plan of the monitor", source };
    let monitor = postcard::to_stdvec(word).map_err(encode)?;
    let mut message = Vec::with_capacity(8 + monitor.len() + child.len());
    message.extend_from_slice(&(monitor.len() as u32).to_le_bytes());
    message.extend_from_slice(&(child.len() as u32).to_le_bytes());
    message.extend_from_slice(&monitor);
    message.extend_from_slice(child);
    let talk = |source: std::io::Error| RuntimeError::Talk { source };
    let (first, more) = descriptors.split_at(descriptors.len().min(DESCRIPTORS_MAX));
    let sent = send_with(socket.as_fd(), &message, first).map_err(|errno| talk(errno.into()))?;
    let mut stream = socket;
    stream.write_all(&message[sent..]).map_err(talk)?;
    // How many follow is told by the order.
    for part in more.chunks(DESCRIPTORS_MAX) {
        send_with(socket.as_fd(), &[0], part).map_err(|errno| talk(errno.into()))?;
    }
    Ok(())
}

/// What was received.
#[derive(Debug)]
pub(crate) enum Received {
    /// What the message will most likely be.
    Forecast(Forecast),
    /// The monitor's part, the child's part still encoded, and the descriptors.
    Order(Box<MonitorOrder>, Vec<u8>, Vec<OwnedFd>),
}

/// Receives the message, or a forecast of it; `None` when the caller went away without one.
pub(crate) fn receive(socket: &UnixStream) -> std::io::Result<Option<Received>> {
    let mut head = [0; 8];
    let (received, descriptors) = receive_with(socket.as_fd(), &mut head)?;
    if received == 0 {
        return Ok(None);
    }
    let mut stream = socket;
    stream.read_exact(&mut head[received..])?;
    let length = |bytes: [u8; 4]| u32::from_le_bytes(bytes) as usize;
    let monitor_length = length([head[0], head[1], head[2], head[3]]);
    let child_length = length([head[4], head[5], head[6], head[7]]);
    if monitor_length.saturating_add(child_length) > MESSAGE_LENGTH_MAX {
        return Err(Errno::MSGSIZE.into());
    }
    let mut monitor = vec![0; monitor_length];
    stream.read_exact(&mut monitor)?;
    let mut child = vec![0; child_length];
    stream.read_exact(&mut child)?;
    let order: MonitorOrder = match postcard::from_bytes(&monitor).map_err(|_| Errno::BADMSG)? {
        Word::Forecast(forecast) => return Ok(Some(Received::Forecast(forecast))),
        Word::Order(order) => order,
    };
    let mut descriptors = descriptors;
    let wanted = order.companion.as_ref().map_or(0, |companion| companion.descriptor_count);
    while descriptors.len() < wanted {
        let (received, more) = receive_with(socket.as_fd(), &mut [0])?;
        if received == 0 || more.is_empty() {
            return Err(Errno::BADMSG.into());
        }
        descriptors.extend(more);
    }
    Ok(Some(Received::Order(Box::new(order), child, descriptors)))
}

/// sendmsg(2) with descriptors (`SCM_RIGHTS`); gives how many bytes went.
pub(crate) fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    rustix::io::retry_on_intr(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))
}

/// recvmsg(2) with descriptors; those received are closed on exec.
pub(crate) fn receive_with(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok((received.bytes, descriptors))
}
