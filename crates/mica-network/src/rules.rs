//! Our table of the packet filter: what may pass between networks, what is sent on to containers.
//!
//! ```text
//! raw prerouting      drop what comes from a container for 127.0.0.0/8 of this host
//! nat prerouting      for an address of this host, but not 127.0.0.0/8: publish; no such rule where
//!                     the host's own rules for what comes in are to be heeded
//! nat output          for an address of this host, but not ::1: publish
//! publish             look (address, protocol, port) up, then (protocol, port): send it to the container
//! filter forward      answers pass; within a bridge passes; nothing in or out of internal networks;
//!                     what was published passes; nothing else enters a bridge
//! nat postrouting     a container's packets leave with the host's address
//! ```
//!
//! The table is written as a whole whenever the networks change or somebody has flushed it; its
//! comment tells for which networks it was written. Ports are elements of maps, so that neither
//! their number nor that of containers costs a packet anything.

use crate::error::{Error, Result};
use crate::link::Address;
use crate::netlink::Socket;
use crate::nftables::{
    self, FIRST, Hook, IPV4, IPV6, Meta, Rule, SECOND, SetShape, THIRD, Transaction, Verdict,
};
use crate::publish::Forward;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What the table has to know of a network with a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRules {
    /// Name of its bridge.
    pub bridge: String,
    /// Its address ranges.
    pub subnets: Vec<Address>,
    /// Whether nothing leaves or enters it.
    pub is_internal: bool,
    /// Whether its packets leave with the host's address.
    pub masquerades: bool,
}

/// All that the table is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The networks.
    pub networks: Vec<NetworkRules>,
    /// The published ports of all running containers.
    pub forwards: Vec<Forward>,
    /// Whether what comes from outside for a published port passes the host's own rules for incoming
    /// packets: then it is not sent on here, but taken by the port's socket and relayed.
    pub respects_host: bool,
}

/// A way to the packet filter of this host.
///
/// Closing one waits for everything that anybody has removed from the filter shortly before: a
/// grace period of RCU, during which nobody else can change anything. So it is handed on to a
/// process that nobody waits for, and closed there last.
#[derive(Debug)]
pub struct Filter(Socket);

impl Filter {
    /// Opens one, in the network namespace of this thread.
    pub fn open() -> Result<Self> {
        Ok(Self(Socket::netfilter().map_err(failed("open", "of this host"))?))
    }

    /// To be handed on.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0.into_descriptor()
    }

    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(Socket::from_descriptor(descriptor))
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.0
    }
}

/// `nft describe`: the numbers of types, and the lengths of keys padded to whole registers.
const INTERFACE: u32 = 41;
const IPV4_ADDRESS: u32 = 7;
const IPV6_ADDRESS: u32 = 8;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;
const NAME_LENGTH: u32 = 16;

const fn pair(first: u32, second: u32) -> u32 {
    first << 6 | second
}

const BRIDGES: SetShape = SetShape { name: "bridge", key: (INTERFACE, NAME_LENGTH), value: None };
const INTERNAL: SetShape = SetShape { name: "internal", key: (INTERFACE, NAME_LENGTH), value: None };
const SAME: SetShape =
    SetShape { name: "within", key: (pair(INTERFACE, INTERFACE), 2 * NAME_LENGTH), value: None };
const PORTS_4: SetShape = SetShape {
    name: "port4",
    key: (pair(PROTOCOL, SERVICE), 8),
    value: Some((pair(IPV4_ADDRESS, SERVICE), 8)),
};
const BOUND_4: SetShape = SetShape {
    name: "bound4",
    key: (pair(pair(IPV4_ADDRESS, PROTOCOL), SERVICE), 12),
    value: Some((pair(IPV4_ADDRESS, SERVICE), 8)),
};
const PORTS_6: SetShape = SetShape {
    name: "port6",
    key: (pair(PROTOCOL, SERVICE), 8),
    value: Some((pair(IPV6_ADDRESS, SERVICE), 20)),
};
const BOUND_6: SetShape = SetShape {
    name: "bound6",
    key: (pair(pair(IPV6_ADDRESS, PROTOCOL), SERVICE), 24),
    value: Some((pair(IPV6_ADDRESS, SERVICE), 20)),
};

/// Bits of the connection's state: established and related; its status bit: sent on by us or others.
const ANSWERS: u32 = 2 | 4;
const REDIRECTED: u32 = 0x20;

impl Rules {
    /// Whether the table is there and was written for these networks.
    pub fn are_written(&self, filter: &Filter, table: &str) -> Result<bool> {
        let found = nftables::table_comment(filter.socket(), table).map_err(failed("read", table))?;
        Ok(found == Some(self.comment()))
    }

    /// Writes the whole table anew.
    pub fn apply(&self, filter: &Filter, table: &str) -> Result<()> {
        self.write(filter.socket(), table)
    }

    fn write(&self, socket: &Socket, table: &str) -> Result<()> {
        let mut transaction = Transaction::of(table);
        // Made first, so that there is one to delete.
        transaction.make_table("");
        transaction.delete_table();
        transaction.make_table(&self.comment());
        let sets = [BRIDGES, INTERNAL, SAME, PORTS_4, BOUND_4, PORTS_6, BOUND_6];
        for (id, shape) in (1..).zip(sets) {
            transaction.make_set(shape, id);
        }
        self.fill_networks(&mut transaction);
        add_forwards(&mut transaction, &self.forwards);
        chains(&mut transaction);
        publishing(&mut transaction, self.respects_host);
        filtering(&mut transaction);
        self.leaving(&mut transaction);
        transaction.carry_out(socket).map_err(failed("write", table))
    }

    /// Tells for which networks a table was written, and by which version of this file.
    fn comment(&self) -> String {
        let bytes = postcard::to_stdvec(&(&self.networks, self.respects_host)).unwrap_or_default();
        format!("networks {:016x}.{VERSION}", crate::site::hash(&bytes))
    }

    fn fill_networks(&self, transaction: &mut Transaction) {
        let keys = |wanted: &dyn Fn(&NetworkRules) -> bool| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
            let networks = self.networks.iter().filter(|network| wanted(network));
            networks.map(|network| (interface(&network.bridge).to_vec(), None)).collect()
        };
        transaction.add_elements(BRIDGES.name, &keys(&|_| true));
        transaction.add_elements(INTERNAL.name, &keys(&|network| network.is_internal));
        let same: Vec<_> = self.networks.iter().map(|network| (twice(&network.bridge), None)).collect();
        transaction.add_elements(SAME.name, &same);
    }

    fn leaving(&self, transaction: &mut Transaction) {
        const CHAIN: &str = "postrouting";
        // Packets of this host's own 127.0.0.1 to a container, which could not answer there.
        transaction.rule(CHAIN, |rule| {
            rule.meta(Meta::OutputName, FIRST).is_in(FIRST, BRIDGES.name);
            rule.meta(Meta::Family, FIRST).equals(FIRST, &[IPV4]);
            rule.payload(1, (12, 1), FIRST).equals(FIRST, &[127]).masquerade();
        });
        for network in &self.networks {
            for subnet in &network.subnets {
                // From one container by way of a published port to another of the same network, or
                // to itself: without this the answer would go straight back, from a stranger.
                transaction.rule(CHAIN, |rule| {
                    is_from(rule, *subnet);
                    rule.meta(Meta::OutputName, FIRST).equals(FIRST, &interface(&network.bridge));
                    is_redirected(rule);
                    rule.masquerade();
                });
                if network.masquerades && !network.is_internal {
                    transaction.rule(CHAIN, |rule| {
                        is_from(rule, *subnet);
                        rule.meta(Meta::OutputName, FIRST).differs(FIRST, &interface(&network.bridge));
                        rule.masquerade();
                    });
                }
            }
        }
    }
}

/// Of the rules in this file; a table of another version is written anew.
const VERSION: u32 = 2;

fn chains(transaction: &mut Transaction) {
    let hook = |kind, number, priority| Some(Hook { kind, number, priority });
    transaction.make_chain("publish", None);
    transaction.make_chain("guard", hook("filter", 0, -300));
    transaction.make_chain("prerouting", hook("nat", 0, -100));
    transaction.make_chain("output", hook("nat", 3, -100));
    transaction.make_chain("forward", hook("filter", 2, 0));
    transaction.make_chain("postrouting", hook("nat", 4, 100));
}

fn publishing(transaction: &mut Transaction, respects_host: bool) {
    // Bridges take packets from 127.0.0.0/8 so that this host reaches published ports there. Their
    // containers must not reach the host that way.
    transaction.rule("guard", |rule| {
        rule.meta(Meta::InputName, FIRST).is_in(FIRST, BRIDGES.name);
        is_to_loopback(rule);
        rule.verdict(Verdict::Drop);
    });
    // From another machine: the kernel drops it, unless it is sent on before.
    transaction.rule("prerouting", |rule| {
        is_to_loopback(rule);
        rule.verdict(Verdict::Return);
    });
    // The kernel sends nothing on from ::1; what comes there is relayed.
    transaction.rule("output", |rule| {
        rule.meta(Meta::Family, FIRST).equals(FIRST, &[IPV6]);
        let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
        rule.payload(1, (24, 16), FIRST).equals(FIRST, &loopback).verdict(Verdict::Return);
    });
    let all = ["output", "prerouting"];
    for chain in if respects_host { &all[..1] } else { &all[..] } {
        transaction.rule(chain, |rule| {
            rule.destination_is_local().verdict(Verdict::Jump("publish"));
        });
    }
    let families = [(IPV4, BOUND_4, PORTS_4, (16, 4), 1), (IPV6, BOUND_6, PORTS_6, (24, 16), 4)];
    for (family, bound, ports, destination, address_registers) in families {
        let length = destination.1 / 4;
        transaction.rule("publish", |rule| {
            rule.meta(Meta::Family, FIRST).equals(FIRST, &[family]);
            rule.payload(1, destination, 8).meta(Meta::Protocol, 8 + length);
            rule.payload(2, (2, 2), 9 + length).find(8, bound.name, THIRD);
            rule.redirect(family, THIRD, THIRD + address_registers);
        });
        transaction.rule("publish", |rule| {
            rule.meta(Meta::Family, FIRST).equals(FIRST, &[family]);
            rule.meta(Meta::Protocol, 8).payload(2, (2, 2), 9).find(8, ports.name, THIRD);
            rule.redirect(family, THIRD, THIRD + address_registers);
        });
    }
}

fn filtering(transaction: &mut Transaction) {
    const CHAIN: &str = "forward";
    transaction.rule(CHAIN, |rule| {
        rule.connection(0, FIRST).mask(FIRST, &ANSWERS.to_ne_bytes()).differs(FIRST, &[0; 4]);
        rule.verdict(Verdict::Accept);
    });
    transaction.rule(CHAIN, |rule| {
        rule.meta(Meta::InputName, FIRST).meta(Meta::OutputName, SECOND).is_in(FIRST, SAME.name);
        rule.verdict(Verdict::Accept);
    });
    for direction in [Meta::InputName, Meta::OutputName] {
        transaction.rule(CHAIN, |rule| {
            rule.meta(direction, FIRST).is_in(FIRST, INTERNAL.name).verdict(Verdict::Drop);
        });
    }
    transaction.rule(CHAIN, |rule| {
        rule.meta(Meta::OutputName, FIRST).is_in(FIRST, BRIDGES.name);
        is_redirected(rule);
        rule.verdict(Verdict::Accept);
    });
    transaction.rule(CHAIN, |rule| {
        rule.meta(Meta::OutputName, FIRST).is_in(FIRST, BRIDGES.name).verdict(Verdict::Drop);
    });
}

fn is_to_loopback(rule: &mut Rule<'_, '_>) {
    rule.meta(Meta::Family, FIRST).equals(FIRST, &[IPV4]);
    rule.payload(1, (16, 1), FIRST).equals(FIRST, &[127]);
}

fn is_redirected(rule: &mut Rule<'_, '_>) {
    rule.connection(2, FIRST).mask(FIRST, &REDIRECTED.to_ne_bytes()).differs(FIRST, &[0; 4]);
}

/// Whether the source is within a range.
fn is_from(rule: &mut Rule<'_, '_>, subnet: Address) {
    let (family, offset, bytes) = match subnet.ip {
        IpAddr::V4(ip) => (IPV4, 12, ip.octets().to_vec()),
        IpAddr::V6(ip) => (IPV6, 8, ip.octets().to_vec()),
    };
    let mask: Vec<u8> = (0..bytes.len()).map(|index| mask_byte(subnet.prefix, index)).collect();
    let network: Vec<u8> = bytes.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    rule.meta(Meta::Family, FIRST).equals(FIRST, &[family]);
    rule.payload(1, (offset, bytes.len() as u32), FIRST).mask(FIRST, &mask).equals(FIRST, &network);
}

fn mask_byte(prefix: u8, index: usize) -> u8 {
    let bits = usize::from(prefix).saturating_sub(index * 8).min(8);
    (0xff00_u16 >> bits) as u8
}

fn interface(name: &str) -> [u8; NAME_LENGTH as usize] {
    let mut bytes = [0; NAME_LENGTH as usize];
    for (place, byte) in bytes.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    bytes
}

fn twice(name: &str) -> Vec<u8> {
    [interface(name), interface(name)].concat()
}

/// The map, key and value of a forward.
fn element(forward: &Forward) -> (&'static str, Vec<u8>, Option<Vec<u8>>) {
    let mut key = Vec::with_capacity(24);
    match forward.host {
        Some(IpAddr::V4(ip)) => key.extend(ip.octets()),
        Some(IpAddr::V6(ip)) => key.extend(ip.octets()),
        None => {}
    }
    key.extend([forward.protocol.number(), 0, 0, 0]);
    key.extend(forward.port.to_be_bytes());
    key.extend([0, 0]);
    let mut value = match forward.target.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    value.extend(forward.target.port().to_be_bytes());
    value.extend([0, 0]);
    let map = match (forward.target.is_ipv4(), forward.host.is_some()) {
        (true, true) => BOUND_4,
        (true, false) => PORTS_4,
        (false, true) => BOUND_6,
        (false, false) => PORTS_6,
    };
    (map.name, key, Some(value))
}

fn by_map(forwards: &[Forward], mut act: impl FnMut(&'static str, &[(Vec<u8>, Option<Vec<u8>>)])) {
    for map in [PORTS_4, BOUND_4, PORTS_6, BOUND_6] {
        let elements = forwards.iter().map(element).filter(|(name, ..)| *name == map.name);
        let elements: Vec<_> = elements.map(|(_, key, value)| (key, value)).collect();
        if !elements.is_empty() {
            act(map.name, &elements);
        }
    }
}

fn add_forwards(transaction: &mut Transaction, forwards: &[Forward]) {
    by_map(forwards, |map, elements| transaction.add_elements(map, elements));
}

/// Sends the ports of a container on, all of them or none; `false` where the table is not there or
/// has another container's elements, so that it has to be written anew.
pub fn publish(filter: &Filter, table: &str, forwards: &[Forward]) -> Result<bool> {
    let mut transaction = Transaction::of(table);
    add_forwards(&mut transaction, forwards);
    if transaction.is_empty() {
        return Ok(true);
    }
    match transaction.carry_out(filter.socket()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::EXIST | Errno::BUSY) => Ok(false),
        Err(errno) => Err(failed("write", table)(errno)),
    }
}

/// What takes the ports of a container back: messages to be kept until then, one for all at once
/// and, for a table that has lost some of them, one for each.
pub(crate) fn withdrawal(table: &str, forwards: &[Forward]) -> Vec<Vec<u8>> {
    let of = |forwards: &[Forward]| {
        let mut transaction = Transaction::of(table);
        by_map(forwards, |map, elements| {
            let keys: Vec<_> = elements.iter().map(|(key, _)| (key.clone(), None)).collect();
            transaction.delete_elements(map, &keys);
        });
        transaction.into_bytes()
    };
    let mut all = vec![of(forwards)];
    all.extend(forwards.iter().map(|forward| of(std::slice::from_ref(forward))));
    all
}

/// Carries a withdrawal out.
pub(crate) fn withdraw(filter: &Filter, messages: &[Vec<u8>]) {
    let Some((all, each)) = messages.split_first() else { return };
    if nftables::carry_out_bytes(filter.socket(), all.clone()).is_err() {
        for one in each {
            // A table that was flushed has nothing to take back.
            let _ = nftables::carry_out_bytes(filter.socket(), one.clone());
        }
    }
}

/// Removes the table, where it is there.
pub fn remove_table(filter: &Filter, table: &str) -> Result<()> {
    let mut transaction = Transaction::of(table);
    transaction.delete_table();
    match transaction.carry_out(filter.socket()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("remove", table)(errno)),
    }
}

pub(crate) fn failed(action: &'static str, table: &str) -> impl FnOnce(Errno) -> Error {
    let table = table.to_owned();
    move |errno| Error::Filter { action, table, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_the_prefix_in_front() {
        let mask = |prefix| (0..4).map(|index| mask_byte(prefix, index)).collect::<Vec<_>>();
        assert_eq!(mask(16), [255, 255, 0, 0]);
        assert_eq!(mask(20), [255, 255, 240, 0]);
        assert_eq!(mask(0), [0; 4]);
        assert_eq!(mask(32), [255; 4]);
    }

    #[test]
    fn the_comment_tells_networks_apart() {
        let network = |bridge: &str| NetworkRules {
            bridge: bridge.to_owned(),
            subnets: Vec::new(),
            is_internal: false,
            masquerades: true,
        };
        let rules = |bridge| Rules { networks: vec![network(bridge)], ..Rules::default() };
        assert_eq!(rules("a").comment(), rules("a").comment());
        assert_ne!(rules("a").comment(), rules("b").comment());
        let heeding = Rules { respects_host: true, ..rules("a") };
        assert_ne!(heeding.comment(), rules("a").comment());
    }
}
