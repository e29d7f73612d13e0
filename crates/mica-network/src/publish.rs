//! Published ports: reserved on the host by a socket that is bound there, sent on by the kernel.

use crate::error::{Error, Result};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number in IP headers.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The protocol of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.name() == name)
    }
}

/// What the kernel does with packets for a port of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// Which protocol.
    pub protocol: Protocol,
    /// Only at this address of the host; at all if absent.
    pub host: Option<IpAddr>,
    /// The host's port.
    pub port: u16,
    /// The container's address and port.
    pub target: SocketAddr,
}

/// A port of a container that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortWish {
    /// Which protocol.
    pub protocol: Protocol,
    /// The container's port.
    pub private: u16,
    /// The host's address; all of IPv4 and IPv6 if absent.
    pub host: Option<IpAddr>,
    /// Which of the host's ports will do; `None` is any that is free.
    pub ports: Option<RangeInclusive<u16>>,
}

/// A port of the host that is ours.
#[derive(Debug)]
pub struct Reservation {
    /// Which protocol.
    pub protocol: Protocol,
    /// The container's port.
    pub private: u16,
    /// The host's address; unspecified for all of its family.
    pub host: IpAddr,
    /// The host's port.
    pub port: u16,
    /// Holds the port; absent where the kernel does not know the protocol.
    pub socket: Option<OwnedFd>,
}

/// How often a port that is free in one family is looked for in the other.
const ATTEMPTS: usize = 16;

/// How many connections may wait to be taken.
const BACKLOG: i32 = 4096;

/// Takes all ports, or none.
pub fn reserve(wishes: &[PortWish]) -> Result<Vec<Reservation>> {
    let mut taken = Vec::with_capacity(wishes.len() * 2);
    for wish in wishes {
        taken.extend(reserve_one(wish)?);
    }
    Ok(taken)
}

fn reserve_one(wish: &PortWish) -> Result<Vec<Reservation>> {
    let Some(ports) = &wish.ports else { return reserve_any(wish) };
    let mut last = None;
    for port in ports.clone() {
        match reserve_at(wish, port) {
            Err(error @ Error::PortTaken { .. }) => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::invalid("an empty range of ports")))
}

fn reserve_any(wish: &PortWish) -> Result<Vec<Reservation>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match reserve_at(wish, 0) {
            Err(Error::PortTaken { .. }) if attempt < ATTEMPTS => {}
            other => return other,
        }
    }
}

/// One address, or all of both families at the same port; 0 lets the kernel choose.
fn reserve_at(wish: &PortWish, port: u16) -> Result<Vec<Reservation>> {
    if let Some(host) = wish.host {
        return Ok(vec![take(wish, host, port)?]);
    }
    let first = take(wish, Ipv4Addr::UNSPECIFIED.into(), port)?;
    let port = first.port;
    match take(wish, Ipv6Addr::UNSPECIFIED.into(), port) {
        Ok(second) => Ok(vec![first, second]),
        // A host without IPv6.
        Err(Error::Port { source, .. }) if has_no_family(&source) => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

fn has_no_family(source: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(source), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn take(wish: &PortWish, host: IpAddr, port: u16) -> Result<Reservation> {
    let PortWish { protocol, private, .. } = *wish;
    let reservation = |port, socket| Reservation { protocol, private, host, port, socket };
    match open(protocol, SocketAddr::new(host, port)) {
        Ok((socket, port)) => Ok(reservation(port, Some(socket))),
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) if protocol == Protocol::Sctp && port != 0 => {
            Ok(reservation(port, None))
        }
        Err(Errno::ADDRINUSE) => Err(Error::PortTaken { address: host, port, protocol: protocol.name() }),
        Err(errno) => {
            Err(Error::Port { address: host, port, protocol: protocol.name(), source: errno.into() })
        }
    }
}

fn open(protocol: Protocol, address: SocketAddr) -> std::result::Result<(OwnedFd, u16), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, rustix::net::ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, rustix::net::ipproto::SCTP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // So that connections which have ended do not keep the port from being taken again.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    if protocol != Protocol::Udp {
        listen(&socket, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}

impl Reservation {
    /// What the kernel is to do, given the container's addresses: nothing where the container has no
    /// address of the family, which is left to the relay.
    pub fn forward(&self, addresses: &[IpAddr]) -> Option<Forward> {
        // The kernel sends nothing on from the IPv6 loopback.
        if self.host == IpAddr::V6(Ipv6Addr::LOCALHOST) {
            return None;
        }
        let target = addresses.iter().find(|ip| ip.is_ipv4() == self.host.is_ipv4())?;
        Some(Forward {
            protocol: self.protocol,
            host: Some(self.host).filter(|host| !host.is_unspecified()),
            port: self.port,
            target: SocketAddr::new(*target, self.private),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(host: &str, ports: Option<RangeInclusive<u16>>) -> PortWish {
        PortWish { protocol: Protocol::Tcp, private: 80, host: Some(host.parse().unwrap()), ports }
    }

    #[test]
    fn a_reserved_port_is_not_given_out_again() {
        let first = reserve(&[wish("127.0.0.1", None)]).unwrap();
        let port = first[0].port;
        assert!(port > 0);
        let again = reserve(&[wish("127.0.0.1", Some(port..=port))]);
        assert!(matches!(again, Err(Error::PortTaken { port: told, .. }) if told == port));
        drop(first);
        reserve(&[wish("127.0.0.1", Some(port..=port))]).unwrap();
    }

    #[test]
    fn a_forward_needs_an_address_of_the_family() {
        let reservation = |host: &str| Reservation {
            protocol: Protocol::Udp,
            private: 53,
            host: host.parse().unwrap(),
            port: 5353,
            socket: None,
        };
        let addresses = ["172.17.0.2".parse().unwrap()];
        let forward = reservation("0.0.0.0").forward(&addresses).unwrap();
        assert_eq!((forward.host, forward.target), (None, "172.17.0.2:53".parse().unwrap()));
        assert_eq!(reservation("::").forward(&addresses), None);
        assert_eq!(reservation("::1").forward(&["fd00::2".parse().unwrap()]), None);
        assert!(reservation("127.0.0.1").forward(&addresses).unwrap().host.is_some());
    }
}
