//! What a container's monitor does for its networks: names resolved, ports held and relayed, and
//! everything taken back when the run is over.

use crate::dns::{Book, Datagrams, Streams};
use crate::error::Result;
use crate::moved::Moved;
use crate::publish::{Forward, Protocol, Reservation};
use crate::relay::{Relay, Route};
use crate::rules::Filter;
use crate::sandbox::{self, Join};
use crate::watch::{Token, Watch};
use crate::{conntrack, letters, membership, rules};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// What the monitor has to know; the descriptors go along with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct AttendantOrder {
    /// The run-time directory.
    pub run_root: PathBuf,
    /// The container's id.
    pub container: String,
    /// Whether the first descriptor is a way to the packet filter.
    pub has_filter: bool,
    /// Whether the next one is a socket by which it can be given ports while it runs.
    pub takes_letters: bool,
    /// Where its resolver looks names up; the next two descriptors are its sockets.
    pub book: Option<Book>,
    /// Its ports; the other descriptors are their sockets.
    ports: Ports,
    /// Its places, and whether its programs ask its resolver, where the monitor fits the network out: then there are no
    /// sockets of the resolver yet.
    pub fittings: Option<(Vec<Join>, bool)>,
}

/// Ports of a container, as its monitor has to know them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ports {
    /// Where each leads that has a socket, in their order.
    pub(crate) routes: Vec<Route>,
    /// Messages that take them back.
    pub(crate) withdrawal: Vec<Vec<u8>>,
    /// Addresses that datagrams are sent on to.
    pub(crate) datagrams_to: Vec<IpAddr>,
}

impl Ports {
    /// These ports of a container with these addresses, which `table` sends on.
    fn new(table: &str, reservations: &[Reservation], addresses: &[IpAddr]) -> Self {
        let forwards: Vec<Forward> = reservations.iter().filter_map(|port| port.forward(addresses)).collect();
        let withdrawal = if forwards.is_empty() { Vec::new() } else { rules::withdrawal(table, &forwards) };
        let of_datagrams = forwards.iter().filter(|forward| forward.protocol == Protocol::Udp);
        let datagrams_to: BTreeSet<IpAddr> = of_datagrams.map(|forward| forward.target.ip()).collect();
        let with_sockets = reservations.iter().filter(|port| port.socket.is_some());
        let routes = with_sockets.filter_map(|port| route(port, addresses)).collect();
        Self { routes, withdrawal, datagrams_to: datagrams_to.into_iter().collect() }
    }
}

/// Where a port leads: to the address of its family, or to what there is.
fn route(port: &Reservation, addresses: &[IpAddr]) -> Option<Route> {
    let same = addresses.iter().find(|ip| ip.is_ipv4() == port.host.is_ipv4());
    let target = SocketAddr::new(*same.or(addresses.first())?, port.private);
    Some(Route { protocol: port.protocol, target })
}

impl AttendantOrder {
    /// An order for a container that has these ports, which `table` sends on to its addresses; gives their sockets.
    pub fn new(
        run_root: PathBuf,
        container: String,
        table: &str,
        (reservations, addresses): (Vec<Reservation>, &[IpAddr]),
    ) -> (Self, Vec<OwnedFd>) {
        // Without an address there is nothing that they could lead to.
        let reservations = if addresses.is_empty() { Vec::new() } else { reservations };
        let ports = Ports::new(table, &reservations, addresses);
        let sockets = reservations.into_iter().filter_map(|port| port.socket).collect();
        let order = Self {
            run_root,
            container,
            has_filter: false,
            takes_letters: false,
            book: None,
            ports,
            fittings: None,
        };
        (order, sockets)
    }

    /// As bytes, for the monitor.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }
}

/// At work in a monitor. Dropping it takes everything back.
#[derive(Debug)]
pub struct Attendant {
    order: AttendantOrder,
    watch: Watch,
    filter: Option<Filter>,
    datagrams: Option<Datagrams>,
    streams: Option<Streams>,
    relay: Relay,
    letters: Option<OwnedFd>,
    /// Messages that take ports back which were given later.
    later: Vec<Vec<Vec<u8>>>,
}

/// Makes the socket by which a container's monitor can be given ports while it runs.
pub fn letters_to(run_root: &Path, container: &str) -> Result<OwnedFd> {
    letters::receiver(run_root, container)
}

/// Whether a running container's monitor can be given ports.
pub fn takes_letters(run_root: &Path, container: &str) -> Result<bool> {
    Ok(letters::sender(run_root, container)?.is_some())
}

/// Gives a running container ports, which its monitor holds from now on.
pub fn give_ports(
    (run_root, container): (&Path, &str),
    table: &str,
    reservations: &[Reservation],
    addresses: &[IpAddr],
) -> Result<()> {
    // A monitor that has ended meanwhile needs none.
    let Some(socket) = letters::sender(run_root, container)? else { return Ok(()) };
    for part in reservations.chunks(letters::SOCKETS_MAX) {
        let sockets: Vec<BorrowedFd<'_>> =
            part.iter().filter_map(|port| port.socket.as_ref()).map(AsFd::as_fd).collect();
        letters::send(&socket, &Ports::new(table, part, addresses), &sockets)?;
    }
    Ok(())
}

impl Attendant {
    /// Begins; `None` when the order makes no sense or there are no descriptors left.
    pub fn begin(order: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let order: AttendantOrder = postcard::from_bytes(order).ok()?;
        let watch = Watch::new().ok()?;
        let mut descriptors = descriptors.into_iter();
        let filter = if order.has_filter { descriptors.next() } else { None };
        let filter = filter.map(Filter::from_descriptor);
        let letters = if order.takes_letters { descriptors.next() } else { None };
        if let Some(letters) = &letters {
            watch.input(letters, Token::Letters).ok()?;
        }
        let (mut datagrams, mut streams) = (None, None);
        if order.book.is_some() && order.fittings.is_none() {
            datagrams = Datagrams::new(descriptors.next()?, &watch);
            streams = Streams::new(descriptors.next()?, &watch);
        }
        let ports = descriptors.zip(order.ports.routes.iter().copied());
        let relay = Relay::new(ports, (&order.run_root, &order.container), &watch);
        let later = Vec::new();
        Some(Self { order, watch, filter, datagrams, streams, relay, letters, later })
    }

    /// Readable when [`Attendant::serve`] has something to do.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.watch.descriptor()
    }

    /// Does what there is to do, without waiting.
    pub fn serve(&mut self) {
        for token in self.watch.ready() {
            self.serve_one(token);
        }
        let is_waiting = self.datagrams.as_ref().is_some_and(Datagrams::is_waiting)
            || self.streams.as_ref().is_some_and(Streams::is_waiting)
            || self.relay.is_waiting();
        self.watch.tick(is_waiting);
    }

    fn serve_one(&mut self, token: Token) {
        if token == Token::Letters {
            return self.read_letters();
        }
        let Self { order, watch, datagrams, streams, relay, .. } = self;
        let names = |act: &mut dyn FnMut(&Book)| {
            if let Some(book) = &order.book {
                act(book);
            }
        };
        match token {
            Token::Tick => {
                relay.tick(watch);
                if let Some(streams) = streams {
                    streams.tick();
                }
                if let Some(datagrams) = datagrams {
                    names(&mut |book| datagrams.tick(book, watch));
                }
            }
            Token::Letters => {}
            Token::Port(index) => relay.hear(index, watch),
            Token::Connection(id) => relay.carry(id, watch),
            Token::Flow(id) => relay.answer(id),
            Token::Datagrams => {
                if let Some(datagrams) = datagrams {
                    names(&mut |book| datagrams.hear(book, watch));
                }
            }
            Token::DatagramAnswer(id) => {
                if let Some(datagrams) = datagrams {
                    names(&mut |book| datagrams.take_answer(id, book, watch));
                }
            }
            Token::Streams => {
                if let Some(streams) = streams {
                    streams.accept(watch);
                }
            }
            Token::StreamClient(id) => {
                if let Some(streams) = streams {
                    names(&mut |book| streams.serve(id, book, watch));
                }
            }
        }
    }
}

impl Attendant {
    /// Fits out the network that a process was born with, if there are fittings; each of its lives has another one.
    pub fn fit_out(&mut self, namespace: BorrowedFd<'_>) -> Result<()> {
        let Some((joins, is_asked)) = &self.order.fittings else { return Ok(()) };
        // It may have been taken from a network since the life before.
        let now = membership::read(&self.order.run_root, &self.order.container);
        let is_on = |join: &&Join| now.iter().any(|network| network.id == join.network.id);
        let joins: Vec<Join> = joins.iter().filter(is_on).cloned().collect();
        let (datagrams, streams) = sandbox::fit_out(namespace, &joins, *is_asked)?;
        self.datagrams = Datagrams::new(datagrams, &self.watch);
        self.streams = Streams::new(streams, &self.watch);
        Ok(())
    }

    /// Takes the ports that the container was given.
    fn read_letters(&mut self) {
        while let Some((ports, sockets)) = self.letters.as_ref().and_then(letters::receive) {
            self.relay.add(sockets.into_iter().zip(ports.routes), &self.watch);
            self.later.push(ports.withdrawal);
            self.order.ports.datagrams_to.extend(ports.datagrams_to);
            self.filter = self.filter.take().or_else(|| Filter::open().ok());
        }
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        // What was sent and not read yet has rules already.
        self.read_letters();
        // First what leads to the container, then, by the end of this value, the ports themselves:
        // whoever gets one of them next finds no rule of ours.
        if let Some(filter) = self.filter.take() {
            for withdrawal in std::iter::once(&self.order.ports.withdrawal).chain(&self.later) {
                rules::withdraw(&filter, withdrawal);
            }
            if !self.order.ports.datagrams_to.is_empty() {
                let mut addresses = self.order.ports.datagrams_to.clone();
                let moved = Moved::read(&self.order.run_root, &self.order.container);
                addresses.extend(moved.into_iter().flat_map(|moved| moved.addresses));
                conntrack::forget_datagrams(&filter, &addresses);
            }
            // Closed by the end of the process, for which nobody waits; see there.
            std::mem::forget(filter);
        }
        membership::forget(&self.order.run_root, &self.order.container);
    }
}
