//! Messages on their way to a receiver, which may be slow, or gone for a while.
//!
//! Nothing here blocks. In blocking mode the container's output waits while too much is queued; in
//! the other, what finds no room is left out, the newest first, as docker's ring does. A receiver
//! that is gone is tried again once a second, and what comes meanwhile is left out in either mode:
//! no container stops because nobody listens.

use super::Log;
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
const CONNECT_PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How long a receiver that is gone is left alone.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Where the host's own syslog daemon may listen.
const LOCAL_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Messages and where they go.
#[derive(Debug)]
pub(super) struct Outbox {
    address: SyslogAddress,
    socket: Option<OwnedFd>,
    queue: VecDeque<Vec<u8>>,
    /// How much of the first one has gone.
    sent: usize,
    queued_bytes: usize,
    overflow: Overflow,
    retry_at: Instant,
    /// Sends what is too long for a datagram in another way.
    oversized: fn(&OwnedFd, &[u8]) -> Result<(), Errno>,
}

impl Outbox {
    /// Connects, so that a receiver that is missing from the start is an error.
    pub(super) fn open(
        address: &SyslogAddress,
        overflow: Overflow,
        oversized: fn(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<Self, Errno> {
        let socket = dial(address)?;
        await_connection(&socket)?;
        Ok(Self {
            address: address.clone(),
            socket: Some(socket),
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
        loop {
            if !self.queue.is_empty() && self.socket.is_none() && !self.reconnect() {
                (self.sent, self.queued_bytes) = (0, 0);
                return self.queue.clear();
            }
            let (Some(message), Some(socket)) = (self.queue.front(), &self.socket) else { return };
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(socket, &message[self.sent..], flags) {
                Ok(length) if self.sent + length < message.len() => self.sent += length,
                Ok(_) => self.forget_first(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                // Of a port that nobody listened on when the message before was sent.
                Err(Errno::CONNREFUSED) if matches!(self.address, SyslogAddress::Udp(_)) => {
                    if send(socket, message, flags) != Err(Errno::AGAIN) {
                        self.forget_first();
                    }
                }
                Err(Errno::MSGSIZE) => {
                    let _ = (self.oversized)(socket, message);
                    self.forget_first();
                }
                // What was half sent is sent again in full: the other end has not read a whole one.
                Err(_) => (self.socket, self.sent) = (None, 0),
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
        self.socket = dial(&self.address).ok();
        self.socket.is_some()
    }

    /// What to wait for.
    pub(super) fn backlog(&self) -> Option<BorrowedFd<'_>> {
        if self.queue.is_empty() { None } else { self.socket.as_ref().map(AsFd::as_fd) }
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

/// Flushes `log` until nothing is left, or nothing has moved for `patience`.
pub(super) fn settle(log: &mut Log, patience: Duration) {
    let timeout = Timespec::try_from(patience).ok();
    loop {
        log.flush();
        let mut set: Vec<PollFd<'_>> =
            log.backlog().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::OUT)).collect();
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
    match poll(&mut set, Some(&CONNECT_PATIENCE)) {
        Ok(0) => Err(Errno::TIMEDOUT),
        Ok(_) => sockopt::socket_error(socket)?,
        Err(errno) => Err(errno),
    }
}
