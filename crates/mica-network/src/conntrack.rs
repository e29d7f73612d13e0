//! Connections that the kernel remembers (nfnetlink's conntrack): those to a container that is gone.
//!
//! A client that goes on sending datagrams keeps such a memory alive, and its datagrams go to an
//! address that nobody has, or somebody else. Streams end by themselves.

use crate::netlink::{ACK, Batch, DUMP, attributes};
use crate::rules::Filter;
use std::net::IpAddr;

/// The subsystem's messages `GET` and `DELETE`.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, and what is in them.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;

/// The source's address in a tuple, by its length.
const SOURCE_4: u16 = 1;
const SOURCE_6: u16 = 3;

/// Marks an attribute that holds others.
const NESTED: u16 = 0x8000;

/// UDP.
const DATAGRAMS: u8 = 17;

/// Length of `nfgenmsg`.
const HEADER_LENGTH: usize = 4;

/// Forgets the flows of datagrams that are answered by one of these addresses. Where the kernel cannot be
/// asked, they end by themselves some time.
pub fn forget_datagrams(filter: &Filter, addresses: &[IpAddr]) {
    let socket = filter.socket();
    for (family, is_4) in [(2_u8, true), (10, false)] {
        let of_family: Vec<Vec<u8>> =
            addresses.iter().filter(|ip| ip.is_ipv4() == is_4).map(octets).collect();
        if of_family.is_empty() {
            continue;
        }
        let mut batch = Batch::default();
        batch.message(GET, DUMP, &[family, 0, 0, 0], |_| ());
        let mut found = Vec::new();
        let asked = socket.request_each(batch, |_, body| found.extend(original_of(body, &of_family)));
        if asked.is_err() || found.is_empty() {
            continue;
        }
        let mut batch = Batch::default();
        for tuple in &found {
            batch.message(DELETE, ACK, &[family, 0, 0, 0], |message| {
                message.bytes(ORIGINAL | NESTED, tuple);
            });
        }
        // One may have ended meanwhile.
        let _ = socket.request(batch);
    }
}

/// How the flow began, if it is one of datagrams to one of the addresses.
fn original_of(body: &[u8], addresses: &[Vec<u8>]) -> Option<Vec<u8>> {
    let find =
        |bytes, wanted: u16| attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let message = body.get(HEADER_LENGTH..)?;
    let reply = find(message, REPLY)?;
    let protocol = find(find(reply, TUPLE_PROTOCOL)?, PROTOCOL_NUMBER)?;
    let ends = find(reply, TUPLE_ADDRESSES)?;
    let source = find(ends, SOURCE_4).or_else(|| find(ends, SOURCE_6))?;
    let is_meant = protocol.first() == Some(&DATAGRAMS) && addresses.iter().any(|address| address == source);
    is_meant.then(|| find(message, ORIGINAL)).flatten().map(<[u8]>::to_vec)
}

fn octets(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A tuple as the kernel writes it, after the header of its attribute.
    fn tuple(batch: &mut crate::netlink::Attributes<'_>, kind: u16, source: [u8; 4], protocol: u8) {
        batch.nest(kind, |inner| {
            inner.nest(TUPLE_ADDRESSES, |ends| {
                ends.bytes(SOURCE_4, &source);
                ends.bytes(2, &[10, 0, 0, 9]);
            });
            inner.nest(TUPLE_PROTOCOL, |inner| inner.bytes(PROTOCOL_NUMBER, &[protocol]));
        });
    }

    fn entry(answering: [u8; 4], protocol: u8) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.message(GET, 0, &[2, 0, 0, 0], |message| {
            tuple(message, ORIGINAL, [10, 0, 0, 1], protocol);
            tuple(message, REPLY, answering, protocol);
        });
        batch.into_bytes()[16..].to_vec()
    }

    #[test]
    fn only_flows_of_datagrams_to_the_container_are_meant() {
        let addresses = [vec![172, 17, 0, 2]];
        assert!(original_of(&entry([172, 17, 0, 2], DATAGRAMS), &addresses).is_some());
        assert!(original_of(&entry([172, 17, 0, 3], DATAGRAMS), &addresses).is_none());
        assert!(original_of(&entry([172, 17, 0, 2], 6), &addresses).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fail(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = original_of(&bytes, &[vec![172, 17, 0, 2]]);
        }
    }
}
