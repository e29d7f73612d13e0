//! Messages on their way to a receiver, which may be slow, or gone for a while.
//!
//! Nothing here blocks. In blocking mode the container's output waits while too much is queued; in
//! the other, what finds no room is left out, the newest first, as docker's ring does. A receiver
//! that is gone is tried again once a second, and what comes meanwhile is left out in either mode:
//! no container stops because nobody listens.

use super::Log;
use super::tls::{Security, Session};
use crate::{Overflow, SyslogAddress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with, sockopt,
};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Above this the container's output waits, in bytes.
const QUEUE_LENGTH_MAX: usize = 64 << 10;

/// How long the first connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a receiver that is gone is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Where the host's own syslog daemon may listen.
const LOCAL_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Messages and where they go.
#[derive(Debug)]
pub(super) struct Outbox {
    address: SyslogAddress,
    security: Option<Security>,
    line: Option<Line>,
    queue: VecDeque<Vec<u8>>,
    /// How much of the first one has gone.
    sent: usize,
    queued_bytes: usize,
    overflow: Overflow,
    retry_at: Instant,
    /// Sends what is too long for a datagram in another way.
    oversized: fn(&OwnedFd, &[u8]) -> Result<(), Errno>,
}

/// A connection to a receiver.
#[derive(Debug)]
enum Line {
    Plain(OwnedFd),
    Secure(Box<Session>),
}

/// Why a receiver cannot be reached.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// The kernel says so.
    System(Errno),
    /// There is no trust between the two.
    Insecure(String),
}

impl From<Errno> for Unreachable {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl Outbox {
    /// Connects, so that a receiver that is missing from the start is an error.
    pub(super) fn open(
        address: &SyslogAddress,
        overflow: Overflow,
        oversized: fn(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<Self, Unreachable> {
        let security = match address {
            SyslogAddress::Tls(plan) => Some(Security::of(plan).map_err(Unreachable::Insecure)?),
            _ => None,
        };
        let socket = dial(address)?;
        await_connection(&socket)?;
        let mut line = Line::over(socket, security.as_ref()).map_err(Unreachable::Insecure)?;
        if let Line::Secure(session) = &mut line {
            agree(session)?;
        }
        Ok(Self {
            address: address.clone(),
            security,
            line: Some(line),
            queue: VecDeque::new(),
            sent: 0,
            queued_bytes: 0,
            overflow,
            retry_at: Instant::now(),
            oversized,
        })
    }

    /// Queues a message.
    pub(super) fn push(&mut self, message: Vec<u8>) {
        if let Overflow::Discard { max_bytes } = self.overflow
            && !self.queue.is_empty()
            && self.queued_bytes + message.len() > max_bytes
        {
            self.flush();
            if !self.queue.is_empty() && self.queued_bytes + message.len() > max_bytes {
                return;
            }
        }
        self.queued_bytes += message.len();
        self.queue.push_back(message);
    }

    /// Sends what can be sent now.
    pub(super) fn flush(&mut self) {
        self.flush_queue();
        if let Some(Line::Secure(session)) = &mut self.line
            && session.exchange().is_err()
        {
            (self.line, self.sent) = (None, 0);
        }
    }

    fn flush_queue(&mut self) {
        loop {
            if !self.queue.is_empty() && self.line.is_none() && !self.reconnect() {
                (self.sent, self.queued_bytes) = (0, 0);
                return self.queue.clear();
            }
            let (Some(message), Some(line)) = (self.queue.front(), &mut self.line) else { return };
            match line.send(&message[self.sent..]) {
                Ok(length) if self.sent + length < message.len() => self.sent += length,
                Ok(_) => self.forget_first(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                // Of a port that nobody listened on when the message before was sent.
                Err(Errno::CONNREFUSED) if matches!(self.address, SyslogAddress::Udp(_)) => {
                    if line.send(message) != Err(Errno::AGAIN) {
                        self.forget_first();
                    }
                }
                Err(Errno::MSGSIZE) => {
                    if let Line::Plain(socket) = line {
                        let _ = (self.oversized)(socket, message);
                    }
                    self.forget_first();
                }
                // What was half sent is sent again in full: the other end has not read a whole one.
                Err(_) => (self.line, self.sent) = (None, 0),
            }
        }
    }

    fn forget_first(&mut self) {
        self.sent = 0;
        if let Some(message) = self.queue.pop_front() {
            self.queued_bytes -= message.len();
        }
    }

    fn reconnect(&mut self) -> bool {
        if Instant::now() < self.retry_at {
            return false;
        }
        self.retry_at = Instant::now() + RETRY_INTERVAL;
        let socket = dial(&self.address).ok();
        self.line = socket.and_then(|socket| Line::over(socket, self.security.as_ref()).ok());
        self.line.is_some()
    }

    /// What to wait for.
    pub(super) fn backlog(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let is_behind = !self.queue.is_empty();
        match self.line.as_ref()? {
            Line::Plain(socket) => is_behind.then(|| (socket.as_fd(), PollFlags::OUT)),
            Line::Secure(session) => (is_behind || session.has_more()).then(|| session.interest()),
        }
    }

    /// Whether the container's output has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.overflow == Overflow::Wait && self.queued_bytes >= QUEUE_LENGTH_MAX
    }

    /// Gives memory back.
    pub(super) fn rest(&mut self) {
        self.queue.shrink_to_fit();
    }
}

impl Line {
    fn over(socket: OwnedFd, security: Option<&Security>) -> Result<Self, String> {
        match security {
            Some(security) => Ok(Self::Secure(Box::new(Session::begin(security, socket)?))),
            None => Ok(Self::Plain(socket)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        match self {
            Self::Plain(socket) => send(socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT),
            Self::Secure(session) => session.send(bytes),
        }
    }
}

/// Waits until both ends know who the other is.
fn agree(session: &mut Session) -> Result<(), Unreachable> {
    let deadline = Instant::now() + CONNECT_PATIENCE;
    loop {
        session.exchange().map_err(|reason| Unreachable::Insecure(format!("tls: {reason}")))?;
        if !session.is_beginning() {
            return Ok(());
        }
        let timeout = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        let (socket, flags) = session.interest();
        match poll(&mut [PollFd::from_borrowed_fd(socket, flags)], timeout.as_ref()) {
            Ok(0) => return Err(Errno::TIMEDOUT.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Flushes `log` until nothing is left, or nothing has moved for `patience`.
pub(super) fn settle(log: &mut Log, patience: Duration) {
    let timeout = Timespec::try_from(patience).ok();
    loop {
        log.flush();
        let mut set: Vec<PollFd<'_>> =
            log.backlog().map(|(socket, flags)| PollFd::from_borrowed_fd(socket, flags)).collect();
        if set.is_empty() || matches!(poll(&mut set, timeout.as_ref()), Ok(0)) {
            return;
        }
    }
}

/// A socket that is connected or on its way there.
fn dial(address: &SyslogAddress) -> Result<OwnedFd, Errno> {
    match address {
        SyslogAddress::Local => dial_local(),
        SyslogAddress::UnixStream(path) => dial_unix(path, SocketType::STREAM),
        SyslogAddress::UnixDatagram(path) => dial_unix(path, SocketType::DGRAM),
        SyslogAddress::Udp(address) => dial_port(*address, SocketType::DGRAM),
        SyslogAddress::Tcp(address) => dial_port(*address, SocketType::STREAM),
        SyslogAddress::Tls(plan) => dial_port(plan.address, SocketType::STREAM),
    }
}

fn dial_local() -> Result<OwnedFd, Errno> {
    let paths = LOCAL_SOCKETS.map(PathBuf::from);
    let kinds = [SocketType::DGRAM, SocketType::STREAM];
    let mut all = kinds.iter().flat_map(|kind| paths.iter().map(move |path| dial_unix(path, *kind)));
    all.find(Result::is_ok).unwrap_or(Err(Errno::NOENT))
}

fn dial_unix(path: &Path, kind: SocketType) -> Result<OwnedFd, Errno> {
    let socket = new_socket(AddressFamily::UNIX, kind)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn dial_port(address: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = new_socket(family, kind)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

fn new_socket(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

fn await_connection(socket: &OwnedFd) -> Result<(), Errno> {
    let mut set = [PollFd::new(socket, PollFlags::OUT)];
    match poll(&mut set, Timespec::try_from(CONNECT_PATIENCE).ok().as_ref()) {
        Ok(0) => Err(Errno::TIMEDOUT),
        Ok(_) => sockopt::socket_error(socket)?,
        Err(errno) => Err(errno),
    }
}
