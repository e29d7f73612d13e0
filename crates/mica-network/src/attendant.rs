//! What a container's monitor does for its networks: names resolved, ports held and relayed, and
//! everything taken back when the run is over.

use crate::dns::{Book, Datagrams, Streams};
use crate::moved::Moved;
use crate::publish::{Forward, Protocol};
use crate::relay::{Relay, Route};
use crate::rules::Filter;
use crate::watch::{Token, Watch};
use crate::{conntrack, membership, rules};
use rustix::fd::{BorrowedFd, OwnedFd};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// What the monitor has to know; the descriptors go along with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct AttendantOrder {
    /// The run-time directory.
    pub run_root: PathBuf,
    /// The container's id.
    pub container: String,
    /// Whether the first descriptor is a way to the packet filter.
    pub has_filter: bool,
    /// Where its resolver looks names up; the next two descriptors are its sockets.
    pub book: Option<Book>,
    /// Where each published port leads; the other descriptors are their sockets.
    pub routes: Vec<Route>,
    /// Messages that take its ports back.
    withdrawal: Vec<Vec<u8>>,
    /// Its addresses that datagrams are sent on to.
    datagrams_to: Vec<IpAddr>,
}

impl AttendantOrder {
    /// An order for a container whose ports are `forwards` in `table`.
    pub fn new(run_root: PathBuf, container: String, table: &str, forwards: &[Forward]) -> Self {
        let withdrawal = if forwards.is_empty() { Vec::new() } else { rules::withdrawal(table, forwards) };
        let of_datagrams = forwards.iter().filter(|forward| forward.protocol == Protocol::Udp);
        let datagrams_to: BTreeSet<IpAddr> = of_datagrams.map(|forward| forward.target.ip()).collect();
        let datagrams_to = datagrams_to.into_iter().collect();
        Self {
            run_root,
            container,
            has_filter: false,
            book: None,
            routes: Vec::new(),
            withdrawal,
            datagrams_to,
        }
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
}

impl Attendant {
    /// Begins; `None` when the order makes no sense or there are no descriptors left.
    pub fn begin(order: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let order: AttendantOrder = postcard::from_bytes(order).ok()?;
        let watch = Watch::new().ok()?;
        let mut descriptors = descriptors.into_iter();
        let filter = if order.has_filter { descriptors.next() } else { None };
        let filter = filter.map(Filter::from_descriptor);
        let (mut datagrams, mut streams) = (None, None);
        if order.book.is_some() {
            datagrams = Datagrams::new(descriptors.next()?, &watch);
            streams = Streams::new(descriptors.next()?, &watch);
        }
        let ports = descriptors.zip(order.routes.iter().copied()).collect();
        let relay = Relay::new(ports, (&order.run_root, &order.container), &watch);
        Some(Self { order, watch, filter, datagrams, streams, relay })
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

impl Drop for Attendant {
    fn drop(&mut self) {
        // First what leads to the container, then, by the end of this value, the ports themselves:
        // whoever gets one of them next finds no rule of ours.
        if let Some(filter) = self.filter.take() {
            if !self.order.withdrawal.is_empty() {
                rules::withdraw(&filter, &self.order.withdrawal);
            }
            if !self.order.datagrams_to.is_empty() {
                let mut addresses = self.order.datagrams_to.clone();
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
