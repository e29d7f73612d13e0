//! Queries by TCP: the same answers, with their length in front.

use super::answer::{Book, Carrier, Outcome, failure};
use crate::relay::{Progress, pull, push};
use crate::watch::{Token, Watch};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Most connections at a time; further ones are closed at once.
const CLIENTS_MAX: usize = 32;

/// How long a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message with its length in front.
const MESSAGE_LENGTH_MAX: usize = 2 + 65535;

/// The resolver's listening socket and its connections.
#[derive(Debug)]
pub(crate) struct Streams {
    listener: OwnedFd,
    clients: BTreeMap<u32, Client>,
    next: u32,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    received: Vec<u8>,
    unsent: Vec<u8>,
    upstream: Option<Upstream>,
    deadline: Instant,
}

/// A query that was sent on.
#[derive(Debug)]
struct Upstream {
    socket: OwnedFd,
    query: Vec<u8>,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl Streams {
    pub(crate) fn new(listener: OwnedFd, watch: &Watch) -> Option<Self> {
        watch.input(&listener, Token::Streams).ok()?;
        Some(Self { listener, clients: BTreeMap::new(), next: 0 })
    }

    /// Whether there is any connection.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Takes a connection.
    pub(crate) fn accept(&mut self, watch: &Watch) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else { return };
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        if self.clients.len() >= CLIENTS_MAX || watch.both(&socket, Token::StreamClient(id)).is_err() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        let client = Client { socket, received: Vec::new(), unsent: Vec::new(), upstream: None, deadline };
        self.clients.insert(id, client);
    }

    /// Goes on with a connection, from whichever side something came.
    pub(crate) fn serve(&mut self, id: u32, book: &Book, watch: &Watch) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.advance(id, book, watch).is_none() {
            self.clients.remove(&id);
        }
    }

    /// Closes connections on which nothing has happened for long.
    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        self.clients.retain(|_, client| client.deadline > now);
    }
}

impl Client {
    /// `None` when the connection is over.
    fn advance(&mut self, id: u32, book: &Book, watch: &Watch) -> Option<()> {
        let mut is_over = false;
        if self.received.len() < MESSAGE_LENGTH_MAX {
            match pull(&self.socket, &mut self.received, MESSAGE_LENGTH_MAX) {
                Progress::Some => self.deadline = Instant::now() + PATIENCE,
                Progress::None => {}
                Progress::Over => is_over = true,
            }
        }
        self.hear_upstream();
        while self.upstream.is_none() && self.unsent.len() < MESSAGE_LENGTH_MAX {
            let Some(query) = take_message(&mut self.received) else { break };
            match book.answer(&query, Carrier::Stream) {
                Outcome::Answer(answer) => put_message(&mut self.unsent, &answer),
                Outcome::Forward => self.send_on(query, id, book, watch),
                Outcome::Ignore => return None,
            }
        }
        if push(&self.socket, &mut self.unsent) == Progress::Over {
            return None;
        }
        (!is_over || self.upstream.is_some() || !self.unsent.is_empty()).then_some(())
    }

    fn send_on(&mut self, query: Vec<u8>, id: u32, book: &Book, watch: &Watch) {
        let opened = book.servers.iter().find_map(|server| {
            let socket = connecting(*server)?;
            watch.both(&socket, Token::StreamClient(id)).ok()?;
            Some(socket)
        });
        match opened {
            Some(socket) => {
                let mut unsent = Vec::with_capacity(query.len() + 2);
                put_message(&mut unsent, &query);
                self.upstream = Some(Upstream { socket, query, unsent, received: Vec::new() });
            }
            None => self.fail(&query),
        }
    }

    fn fail(&mut self, query: &[u8]) {
        if let Some(answer) = failure(query) {
            put_message(&mut self.unsent, &answer);
        }
    }

    fn hear_upstream(&mut self) {
        let Some(upstream) = &mut self.upstream else { return };
        let sent = push(&upstream.socket, &mut upstream.unsent);
        let heard = pull(&upstream.socket, &mut upstream.received, MESSAGE_LENGTH_MAX);
        if let Some(answer) = take_message(&mut upstream.received) {
            put_message(&mut self.unsent, &answer);
            self.upstream = None;
        } else if sent == Progress::Over || heard == Progress::Over {
            let query = std::mem::take(&mut upstream.query);
            self.upstream = None;
            self.fail(&query);
        }
    }
}

fn take_message(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*bytes.first_chunk()?));
    let message = bytes.get(2..2 + length)?.to_vec();
    bytes.drain(..2 + length);
    Some(message)
}

fn put_message(bytes: &mut Vec<u8>, message: &[u8]) {
    let Ok(length) = u16::try_from(message.len()) else { return };
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
}

/// A connection that is being made.
pub(crate) fn connecting(server: SocketAddr) -> Option<OwnedFd> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).ok()?;
    match rustix::net::connect(&socket, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Some(socket),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_when_they_are_whole() {
        let mut bytes = Vec::new();
        put_message(&mut bytes, b"first");
        put_message(&mut bytes, b"second");
        bytes.pop();
        assert_eq!(take_message(&mut bytes), Some(b"first".to_vec()));
        assert_eq!(take_message(&mut bytes), None);
        bytes.push(b'd');
        assert_eq!(take_message(&mut bytes), Some(b"second".to_vec()));
        assert_eq!(bytes, []);
    }
}
