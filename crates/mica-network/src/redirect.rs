//! How queries for port 53 of the resolver's address come to the ports that it really has.
//!
//! A resolver bound to port 53 would keep the container's own programs from listening there at all
//! addresses. So it has whatever port is free, and a table in the container's namespace writes the
//! numbers over, on the way there and back: no connection is remembered for it.

use crate::files::RESOLVER;
use crate::netlink::Socket;
use crate::nftables::{FIRST, Hook, IPV4, Meta, Rule, Transaction, Verdict};
use rustix::io::Errno;

const TABLE: &str = "mica-resolver";
const CHAIN: &str = "output";

/// Where everybody asks resolvers.
pub(crate) const PORT: u16 = 53;

/// Protocols by their numbers, and where in their headers the sum is.
const UDP: (u8, u32) = (17, 6);
const TCP: (u8, u32) = (6, 16);

/// The source's and the destination's address and port in their headers.
const SOURCE: (u32, u32) = (12, 0);
const DESTINATION: (u32, u32) = (16, 2);

/// Sends what this thread's namespace has for the resolver's port 53 to the ports of its sockets.
pub(crate) fn write(datagrams: u16, streams: u16) -> Result<(), Errno> {
    let mut transaction = Transaction::of(TABLE);
    transaction.make_table("");
    transaction.make_chain(CHAIN, Some(Hook { kind: "filter", number: 3, priority: -300 }));
    for (protocol, port) in [(UDP, datagrams), (TCP, streams)] {
        transaction.rule(CHAIN, |rule| rewrite(rule, protocol, DESTINATION, (PORT, port)));
        transaction.rule(CHAIN, |rule| rewrite(rule, protocol, SOURCE, (port, PORT)));
    }
    transaction.carry_out(&Socket::netfilter()?)
}

fn rewrite(
    rule: &mut Rule<'_, '_>,
    (protocol, sum): (u8, u32),
    (address, port): (u32, u32),
    (from, to): (u16, u16),
) {
    rule.meta(Meta::Family, FIRST).equals(FIRST, &[IPV4]);
    rule.payload(1, (address, 4), FIRST).equals(FIRST, &RESOLVER.octets());
    rule.meta(Meta::Protocol, FIRST).equals(FIRST, &[protocol]);
    rule.payload(2, (port, 2), FIRST).equals(FIRST, &from.to_be_bytes());
    rule.load(&to.to_be_bytes(), FIRST).write_transport((port, 2), FIRST, sum);
    // Not read by the other rule, which would write the number back.
    rule.verdict(Verdict::Accept);
}
