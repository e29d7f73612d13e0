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

/// The ports of the resolver's sockets in this thread's namespace, out of the kernel's tables.
pub(crate) fn resolver_ports() -> Option<(u16, u16)> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).ok();
    Some((port_of(&read("udp")?)?, port_of(&read("tcp")?)?))
}

/// The port of the first socket that is bound to the resolver's address and has no other end.
fn port_of(table: &str) -> Option<u16> {
    let address = format!("{:08X}:", u32::from_ne_bytes(RESOLVER.octets()));
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let port = words.next()?.strip_prefix(&address)?;
        words.next()?.ends_with(":0000").then_some(())?;
        u16::from_str_radix(port, 16).ok()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_port_is_found_among_others() {
        let address = format!("{:08X}", u32::from_ne_bytes(RESOLVER.octets()));
        let table = format!(
            "  sl  local_address rem_address   st\n   0: 00000000:0035 00000000:0000 0A\n   \
             1: {address}:9C41 0100007F:A000 01\n   2: {address}:9C42 00000000:0000 0A\n"
        );
        assert_eq!(port_of(&table), Some(0x9C42));
        assert_eq!(port_of("  sl\n"), None);
    }
}
