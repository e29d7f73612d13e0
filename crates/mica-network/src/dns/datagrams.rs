//! Queries by UDP: answered at once, or sent on by a socket of their own.

use super::answer::{Book, Carrier, Outcome, failure, is_answer};
use crate::watch::{Token, Watch};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Most queries that wait for the host's resolvers; further ones fail at once.
const WAITING_MAX: usize = 512;

/// Longest query that is heard. Answers of the host's resolvers may be longer.
const QUERY_LENGTH_MAX: usize = 4096;
const ANSWER_LENGTH_MAX: usize = 64 << 10;

/// How many queries are answered before other sockets get their turn.
const TURN: usize = 64;

/// How long a resolver is given before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// The resolver's socket for datagrams and what it has sent on.
#[derive(Debug)]
pub(crate) struct Datagrams {
    socket: OwnedFd,
    waiting: BTreeMap<u32, Waiting>,
    next: u32,
}

#[derive(Debug)]
struct Waiting {
    client: SocketAddr,
    query: Vec<u8>,
    upstream: OwnedFd,
    /// How many of the host's resolvers have been asked.
    asked: usize,
    deadline: Instant,
}

impl Datagrams {
    pub(crate) fn new(socket: OwnedFd, watch: &Watch) -> Option<Self> {
        watch.input(&socket, Token::Datagrams).ok()?;
        Some(Self { socket, waiting: BTreeMap::new(), next: 0 })
    }

    /// Whether something is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Answers queries that have come.
    pub(crate) fn hear(&mut self, book: &Book, watch: &Watch) {
        let mut buffer = [0; QUERY_LENGTH_MAX];
        for _ in 0..TURN {
            let received = rustix::net::recvfrom(&self.socket, buffer.as_mut_slice(), RecvFlags::TRUNC);
            let Ok((length, real_length, Some(client))) = received else { return };
            let Ok(client) = SocketAddr::try_from(client) else { continue };
            if real_length > length {
                continue;
            }
            let query = &buffer[..length];
            match book.answer(query, Carrier::Datagram) {
                Outcome::Answer(answer) => self.reply(&answer, client),
                Outcome::Forward => self.send_on(query, client, book, watch),
                Outcome::Ignore => {}
            }
        }
    }

    fn reply(&self, answer: &[u8], client: SocketAddr) {
        // A client that is gone, or whose buffer is full, asks again.
        let _ = rustix::net::sendto(&self.socket, answer, SendFlags::empty(), &client);
    }

    fn fail(&self, query: &[u8], client: SocketAddr) {
        if let Some(answer) = failure(query) {
            self.reply(&answer, client);
        }
    }

    fn send_on(&mut self, query: &[u8], client: SocketAddr, book: &Book, watch: &Watch) {
        if self.waiting.len() >= WAITING_MAX {
            return self.fail(query, client);
        }
        self.ask((query.to_vec(), client), 0, book, watch);
    }

    /// Asks the next of the host's resolvers that can be asked.
    fn ask(&mut self, (query, client): (Vec<u8>, SocketAddr), asked: usize, book: &Book, watch: &Watch) {
        for (index, server) in book.servers.iter().enumerate().skip(asked) {
            let Ok(upstream) = connected(*server) else { continue };
            if rustix::net::send(&upstream, &query, SendFlags::empty()).is_err() {
                continue;
            }
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            if watch.input(&upstream, Token::DatagramAnswer(id)).is_err() {
                continue;
            }
            let deadline = Instant::now() + PATIENCE;
            self.waiting.insert(id, Waiting { client, query, upstream, asked: index + 1, deadline });
            return;
        }
        self.fail(&query, client);
    }

    /// Takes an answer of one of the host's resolvers.
    pub(crate) fn take_answer(&mut self, id: u32, book: &Book, watch: &Watch) {
        let Some(waiting) = self.waiting.get(&id) else { return };
        let mut buffer = vec![0; ANSWER_LENGTH_MAX];
        match rustix::net::recv(&waiting.upstream, buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => {
                let answer = &buffer[..length];
                // Something else that came by is no answer.
                if is_answer(&waiting.query, answer) {
                    self.reply(answer, waiting.client);
                    self.waiting.remove(&id);
                }
            }
            Err(rustix::io::Errno::AGAIN) => {}
            // Nobody listens there.
            Err(_) => self.ask_next(id, book, watch),
        }
    }

    fn ask_next(&mut self, id: u32, book: &Book, watch: &Watch) {
        if let Some(Waiting { client, query, asked, .. }) = self.waiting.remove(&id) {
            self.ask((query, client), asked, book, watch);
        }
    }

    /// Gives those up that have waited for long.
    pub(crate) fn tick(&mut self, book: &Book, watch: &Watch) {
        let now = Instant::now();
        let late: Vec<u32> =
            self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.ask_next(id, book, watch);
        }
    }
}

/// A socket that hears from `server` only; the kernel chooses a port that cannot be guessed.
fn connected(server: SocketAddr) -> Result<OwnedFd, rustix::io::Errno> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &server)?;
    Ok(socket)
}
