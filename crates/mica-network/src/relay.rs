//! What the kernel cannot send on: connections and datagrams that a container's monitor carries.
//!
//! That is traffic for `[::1]`, and IPv6 for a container that has only IPv4. A published port whose
//! rules somebody has flushed works this way too until they are written again.

use crate::dns::connecting;
use crate::moved::Moved;
use crate::publish::Protocol;
use crate::watch::{Token, Watch};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most connections, and most flows of datagrams, at a time.
const CONNECTIONS_MAX: usize = 1024;

/// How much of a connection waits to be sent, in bytes.
const PENDING_MAX: usize = 64 << 10;

/// Largest datagram.
const DATAGRAM_LENGTH_MAX: usize = 64 << 10;

/// How long a flow of datagrams is remembered after the last of them.
const FLOW_PATIENCE: Duration = Duration::from_secs(60);

/// How many datagrams or connections are taken before others get their turn.
const TURN: usize = 64;

/// Where what comes to a published port goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The container's address and port.
    pub target: SocketAddr,
}

/// How far reading or writing came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was carried.
    Some,
    /// Nothing could be.
    None,
    /// The other side has ended.
    Over,
}

/// Reads what there is, up to `limit` bytes in the buffer.
pub(crate) fn pull(socket: &OwnedFd, buffer: &mut Vec<u8>, limit: usize) -> Progress {
    let mut progress = Progress::None;
    while buffer.len() < limit {
        let start = buffer.len();
        buffer.resize(limit.min(start + (16 << 10)), 0);
        let read = rustix::net::recv(socket, &mut buffer[start..], RecvFlags::empty());
        let length = read.map_or(0, |(length, _)| length);
        buffer.truncate(start + length);
        match read {
            Ok((0, _)) => return Progress::Over,
            Ok(_) => progress = Progress::Some,
            Err(Errno::AGAIN | Errno::NOTCONN) => return progress,
            Err(Errno::INTR) => {}
            Err(_) => return Progress::Over,
        }
    }
    progress
}

/// Writes what can be written.
pub(crate) fn push(socket: &OwnedFd, buffer: &mut Vec<u8>) -> Progress {
    let mut progress = Progress::None;
    while !buffer.is_empty() {
        match rustix::net::send(socket, buffer, SendFlags::NOSIGNAL) {
            Ok(length) => {
                buffer.drain(..length);
                progress = Progress::Some;
            }
            Err(Errno::AGAIN | Errno::NOTCONN) => return progress,
            Err(Errno::INTR) => {}
            Err(_) => return Progress::Over,
        }
    }
    // A connection that has nothing to say keeps no memory.
    *buffer = Vec::new();
    progress
}

/// The published ports of a container.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    ports: Vec<(OwnedFd, Route)>,
    /// The run-time directory and the container, where it is looked up whether that was moved.
    home: (PathBuf, String),
    /// Where it was when last looked, if it was moved.
    moved_to: Option<Vec<IpAddr>>,
    connections: BTreeMap<u32, Connection>,
    flows: BTreeMap<u32, Flow>,
    next: u32,
    /// Whether new connections wait in the kernel, because there are no descriptors left for them.
    is_paused: bool,
}

/// A connection that is carried: the two sockets and what waits in each direction.
#[derive(Debug)]
struct Connection {
    sides: [OwnedFd; 2],
    /// From the first to the second, and back.
    pending: [Vec<u8>; 2],
    /// Whether the side has sent its last byte, and whether the other was told.
    ended: [bool; 2],
    told: [bool; 2],
}

/// Datagrams of one client.
#[derive(Debug)]
struct Flow {
    port: usize,
    client: SocketAddr,
    socket: OwnedFd,
    last: Instant,
}

impl Relay {
    pub(crate) fn new(
        ports: impl IntoIterator<Item = (OwnedFd, Route)>,
        (run_root, container): (&Path, &str),
        watch: &Watch,
    ) -> Self {
        let mut relay = Self { home: (run_root.to_owned(), container.to_owned()), ..Self::default() };
        relay.add(ports, watch);
        relay
    }

    /// Listens at further ports.
    pub(crate) fn add(&mut self, ports: impl IntoIterator<Item = (OwnedFd, Route)>, watch: &Watch) {
        for (socket, route) in ports {
            // One that cannot be watched still holds its port.
            let _ = watch.input(&socket, Token::Port(self.ports.len() as u32));
            self.ports.push((socket, route));
        }
    }

    /// Looks whether the container was put on other networks: datagrams go there then, also those of flows.
    fn look_up(&mut self) {
        let moved_to = Moved::read(&self.home.0, &self.home.1).map(|moved| moved.addresses);
        if moved_to != self.moved_to {
            self.flows.clear();
            self.moved_to = moved_to;
        }
    }

    /// Where a route leads now; `None` while it leads nowhere.
    fn target(&self, route: Route) -> Option<SocketAddr> {
        let Some(addresses) = &self.moved_to else { return Some(route.target) };
        let same = addresses.iter().find(|ip| ip.is_ipv4() == route.target.is_ipv4());
        Some(SocketAddr::new(*same.or(addresses.first())?, route.target.port()))
    }

    /// Whether flows are to be forgotten some time.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.flows.is_empty() || self.is_paused
    }

    /// Without a pause, a connection that cannot be taken would be told of again and again.
    fn pause(&mut self, watch: &Watch) {
        self.is_paused = true;
        for (socket, route) in &self.ports {
            if route.protocol != Protocol::Udp {
                let _ = watch.forget(socket);
            }
        }
    }

    fn resume(&mut self, watch: &Watch) {
        if !std::mem::take(&mut self.is_paused) {
            return;
        }
        for (index, (socket, route)) in self.ports.iter().enumerate() {
            if route.protocol != Protocol::Udp {
                let _ = watch.input(socket, Token::Port(index as u32));
            }
        }
    }

    /// Takes what has come to a port.
    pub(crate) fn hear(&mut self, index: u32, watch: &Watch) {
        let index = index as usize;
        let Some((_, route)) = self.ports.get(index) else { return };
        match route.protocol {
            Protocol::Udp => self.hear_datagrams(index, watch),
            Protocol::Tcp | Protocol::Sctp => self.accept(index, watch),
        }
    }

    fn accept(&mut self, index: usize, watch: &Watch) {
        self.look_up();
        let (listener, route) = &self.ports[index];
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        for _ in 0..TURN {
            let client = match rustix::net::accept_with(listener, flags) {
                Ok(client) => client,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return self.pause(watch),
                Err(_) => return,
            };
            if self.connections.len() >= CONNECTIONS_MAX || route.protocol == Protocol::Sctp {
                continue;
            }
            let Some(container) = self.target(*route).and_then(connecting) else { continue };
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            let token = Token::Connection(id);
            if watch.both(&client, token).is_err() || watch.both(&container, token).is_err() {
                continue;
            }
            let connection = Connection {
                sides: [client, container],
                pending: [Vec::new(), Vec::new()],
                ended: [false; 2],
                told: [false; 2],
            };
            self.connections.insert(id, connection);
        }
    }

    /// Goes on with a connection.
    pub(crate) fn carry(&mut self, id: u32, watch: &Watch) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.advance() {
            self.connections.remove(&id);
            self.resume(watch);
        }
    }

    fn hear_datagrams(&mut self, index: usize, watch: &Watch) {
        self.look_up();
        let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
        for _ in 0..TURN {
            let (socket, route) = &self.ports[index];
            let received = rustix::net::recvfrom(socket, buffer.as_mut_slice(), RecvFlags::empty());
            let Ok((length, _, Some(client))) = received else { return };
            let Ok(client) = SocketAddr::try_from(client) else { continue };
            let known = self.flows.iter().find(|(_, flow)| flow.port == index && flow.client == client);
            let id = match known {
                Some((id, _)) => *id,
                None if self.flows.len() >= CONNECTIONS_MAX => continue,
                None => {
                    let Some(target) = self.target(*route) else { continue };
                    let Ok(socket) = datagrams_to(target) else { continue };
                    let id = self.next;
                    self.next = self.next.wrapping_add(1);
                    if watch.input(&socket, Token::Flow(id)).is_err() {
                        continue;
                    }
                    self.flows.insert(id, Flow { port: index, client, socket, last: Instant::now() });
                    id
                }
            };
            let Some(flow) = self.flows.get_mut(&id) else { continue };
            flow.last = Instant::now();
            let _ = rustix::net::send(&flow.socket, &buffer[..length], SendFlags::empty());
        }
    }

    /// Takes answers of the container to a client.
    pub(crate) fn answer(&mut self, id: u32) {
        let Some(flow) = self.flows.get_mut(&id) else { return };
        let Some((port, _)) = self.ports.get(flow.port) else { return };
        let mut buffer = vec![0; DATAGRAM_LENGTH_MAX];
        for _ in 0..TURN {
            match rustix::net::recv(&flow.socket, buffer.as_mut_slice(), RecvFlags::empty()) {
                Ok((length, _)) => {
                    flow.last = Instant::now();
                    let _ = rustix::net::sendto(port, &buffer[..length], SendFlags::empty(), &flow.client);
                }
                // The kernel tells that nobody listens there; the client is not told, as it may come.
                Err(_) => return,
            }
        }
    }

    /// Forgets flows in which nothing has come for long.
    pub(crate) fn tick(&mut self, watch: &Watch) {
        self.resume(watch);
        self.flows.retain(|_, flow| flow.last.elapsed() < FLOW_PATIENCE);
    }
}

impl Connection {
    /// Carries what can be carried; `false` when it is over.
    fn advance(&mut self) -> bool {
        loop {
            let mut has_moved = false;
            for from in 0..2 {
                let to = 1 - from;
                if !self.ended[from] {
                    match pull(&self.sides[from], &mut self.pending[from], PENDING_MAX) {
                        Progress::Some => has_moved = true,
                        Progress::None => {}
                        Progress::Over => self.ended[from] = true,
                    }
                }
                match push(&self.sides[to], &mut self.pending[from]) {
                    Progress::Some => has_moved = true,
                    Progress::None => {}
                    Progress::Over => return false,
                }
                if self.ended[from] && self.pending[from].is_empty() && !self.told[from] {
                    self.told[from] = true;
                    // The other direction goes on.
                    let _ = rustix::net::shutdown(&self.sides[to], Shutdown::Write);
                }
            }
            if self.told == [true; 2] {
                return false;
            }
            if !has_moved {
                return true;
            }
        }
    }
}

fn datagrams_to(target: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &target)?;
    Ok(socket)
}
