//! Links, addresses and routes: the messages of rtnetlink(7) that the drivers need.

use crate::error::{Error, Result};
use crate::netlink::{ACK, Answer, Attributes, Batch, CREATE, DUMP, EXCLUSIVE, REPLACE, Socket};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use std::net::IpAddr;

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;

const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_MTU: u16 = 4;
const LINK_PARENT: u16 = 5;
const LINK_MASTER: u16 = 10;
const LINK_INFO: u16 = 18;
const LINK_NAMESPACE: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const VETH_PEER: u16 = 1;
const PORT_HAIRPIN: u16 = 4;
const PORT_ISOLATED: u16 = 33;
/// `IFLA_AF_SPEC`, `IFLA_INET6_ADDR_GEN_MODE`, `IN6_ADDR_GEN_MODE_NONE`.
const LINK_FAMILIES: u16 = 26;
const ADDRESS_GENERATION: u16 = 8;
const GENERATES_NONE: u8 = 1;

/// `IFF_UP`.
const UP: u32 = 1;
/// `AF_INET` and `AF_INET6`.
const FAMILY_4: u8 = 2;
const FAMILY_6: u8 = 10;
/// `IFA_F_NODAD`: an address is used at once, without asking around whether somebody has it.
const NO_DETECTION: u32 = 2;

/// A MAC address.
pub type MacAddress = [u8; 6];

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// How many bits the network has.
    pub prefix: u8,
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.ip, self.prefix)
    }
}

/// A link that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) is_up: bool,
}

/// One end of a pair, born in another namespace.
#[derive(Debug)]
pub(crate) struct Peer<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: MacAddress,
    pub(crate) namespace: BorrowedFd<'a>,
}

fn link_header(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut fixed = vec![0; 4];
    fixed.extend(index.to_ne_bytes());
    fixed.extend(flags.to_ne_bytes());
    fixed.extend(change.to_ne_bytes());
    fixed
}

/// What makes a bridge. It is down, so that one that was not furnished, because its maker was killed, is
/// known from one that was.
pub(crate) fn make_bridge(batch: &mut Batch, name: &str, mac: MacAddress, mtu: Option<u32>) {
    batch.message(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link_header(0, 0, 0), |link| {
        link.text(LINK_NAME, name);
        link.bytes(LINK_ADDRESS, &mac);
        if let Some(mtu) = mtu {
            link.number(LINK_MTU, mtu);
        }
        link.nest(LINK_INFO, |info| info.text(INFO_KIND, "bridge"));
    });
}

/// What makes a pair: our end up and on the bridge, the other in its namespace.
pub(crate) fn make_pair(batch: &mut Batch, name: &str, bridge: u32, mtu: Option<u32>, peer: &Peer<'_>) {
    batch.message(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link_header(0, 0, 0), |link| {
        link.text(LINK_NAME, name);
        link.number(LINK_MASTER, bridge);
        if let Some(mtu) = mtu {
            link.number(LINK_MTU, mtu);
        }
        link.nest(LINK_INFO, |info| {
            info.text(INFO_KIND, "veth");
            info.nest(INFO_DATA, |data| {
                data.nest_after(VETH_PEER, &link_header(0, 0, 0), |other| name_peer(other, peer, mtu));
            });
        });
    });
}

fn name_peer(link: &mut Attributes<'_>, peer: &Peer<'_>, mtu: Option<u32>) {
    link.text(LINK_NAME, peer.name);
    link.bytes(LINK_ADDRESS, &peer.mac);
    link.number(LINK_NAMESPACE, peer.namespace.as_raw_fd() as u32);
    if let Some(mtu) = mtu {
        link.number(LINK_MTU, mtu);
    }
}

/// What makes a link that shares its parent's wire, in another namespace.
pub(crate) fn make_child(
    batch: &mut Batch,
    (kind, mode_attribute, mode): (&str, u16, Vec<u8>),
    parent: u32,
    mtu: Option<u32>,
    peer: &Peer<'_>,
) {
    batch.message(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link_header(0, UP, UP), |link| {
        link.text(LINK_NAME, peer.name);
        // Links of the kind ipvlan have their parent's address.
        if kind == "macvlan" {
            link.bytes(LINK_ADDRESS, &peer.mac);
        }
        link.number(LINK_PARENT, parent);
        link.number(LINK_NAMESPACE, peer.namespace.as_raw_fd() as u32);
        if let Some(mtu) = mtu {
            link.number(LINK_MTU, mtu);
        }
        link.nest(LINK_INFO, |info| {
            info.text(INFO_KIND, kind);
            info.nest(INFO_DATA, |data| data.bytes(mode_attribute, &mode));
        });
    });
}

/// What makes a link that leads nowhere: the parent of a network that has none.
pub(crate) fn make_dummy(batch: &mut Batch, name: &str) {
    batch.message(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link_header(0, UP, UP), |link| {
        link.text(LINK_NAME, name);
        link.nest(LINK_INFO, |info| info.text(INFO_KIND, "dummy"));
    });
}

/// The same where the kernel has no such links: one end of a pair whose other end nobody uses.
pub(crate) fn make_lone_pair(batch: &mut Batch, name: &str, other: &str) {
    batch.message(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link_header(0, 0, 0), |link| {
        link.text(LINK_NAME, name);
        link.nest(LINK_INFO, |info| {
            info.text(INFO_KIND, "veth");
            info.nest(INFO_DATA, |data| {
                data.nest_after(VETH_PEER, &link_header(0, 0, 0), |peer| peer.text(LINK_NAME, other));
            });
        });
    });
    for name in [name, other] {
        batch.message(NEW_LINK, ACK, &link_header(0, UP, UP), |link| link.text(LINK_NAME, name));
    }
}

/// What makes a link with a VLAN's tag on another one.
pub(crate) fn make_vlan(batch: &mut Batch, name: &str, parent: u32, tag: u16) {
    batch.message(NEW_LINK, ACK | CREATE | EXCLUSIVE, &link_header(0, UP, UP), |link| {
        link.text(LINK_NAME, name);
        link.number(LINK_PARENT, parent);
        link.nest(LINK_INFO, |info| {
            info.text(INFO_KIND, "vlan");
            info.nest(INFO_DATA, |data| data.bytes(1, &tag.to_ne_bytes()));
        });
    });
}

/// How a port of a bridge treats its packets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PortManners {
    /// It does not talk to other such ports.
    pub(crate) is_isolated: bool,
    /// Whether the kernel has IPv6: then it is told that the port itself wants no address. It would be looked for by
    /// asking all other ports, and each have a route of its own.
    pub(crate) knows_ipv6: bool,
}

/// What settles the manners of a bridge's port, which may have been made earlier in the same batch, and brings it up.
pub(crate) fn settle_port(batch: &mut Batch, name: &str, manners: PortManners) {
    batch.message(NEW_LINK, ACK, &link_header(0, 0, 0), |link| {
        link.text(LINK_NAME, name);
        link.nest(LINK_INFO, |info| {
            info.text(INFO_SLAVE_KIND, "bridge");
            info.nest(INFO_SLAVE_DATA, |data| {
                // Where the kernel shows bridged packets to the packet filter (br_netfilter), one
                // that a container sends to its own published port turns round in the bridge.
                data.bytes(PORT_HAIRPIN, &[1]);
                if manners.is_isolated {
                    data.bytes(PORT_ISOLATED, &[1]);
                }
            });
        });
        if manners.knows_ipv6 {
            link.nest(LINK_FAMILIES, |families| {
                families.nest(u16::from(FAMILY_6), |six| six.bytes(ADDRESS_GENERATION, &[GENERATES_NONE]));
            });
        }
    });
    batch.message(NEW_LINK, ACK, &link_header(0, UP, UP), |link| link.text(LINK_NAME, name));
}

/// What brings a link up.
pub(crate) fn bring_up(batch: &mut Batch, index: u32) {
    batch.message(NEW_LINK, ACK, &link_header(index, UP, UP), |_| ());
}

/// What removes a link.
pub(crate) fn remove(batch: &mut Batch, index: u32) {
    batch.message(DELETE_LINK, ACK, &link_header(index, 0, 0), |_| ());
}

const fn family(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => FAMILY_4,
        IpAddr::V6(_) => FAMILY_6,
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// What gives a link an address.
pub(crate) fn add_address(batch: &mut Batch, index: u32, address: Address) {
    let mut fixed = vec![family(address.ip), address.prefix, NO_DETECTION as u8, 0];
    fixed.extend(index.to_ne_bytes());
    batch.message(NEW_ADDRESS, ACK | CREATE | REPLACE, &fixed, |message| {
        let bytes = octets(address.ip);
        message.bytes(2, &bytes);
        message.bytes(1, &bytes);
        if let (IpAddr::V4(ip), 0..31) = (address.ip, address.prefix) {
            let host_bits = u32::MAX.checked_shr(u32::from(address.prefix)).unwrap_or(0);
            message.bytes(4, &(u32::from(ip) | host_bits).to_be_bytes());
        }
        message.number(8, NO_DETECTION);
    });
}

/// What sends everything else by way of `gateway`, or out of the link itself.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, is_6: bool, gateway: Option<IpAddr>) {
    const TABLE_MAIN: u8 = 254;
    const PROTOCOL_BOOT: u8 = 3;
    const SCOPE_LINK: u8 = 253;
    const KIND_UNICAST: u8 = 1;
    let scope = if gateway.is_none() && !is_6 { SCOPE_LINK } else { 0 };
    let family = if is_6 { FAMILY_6 } else { FAMILY_4 };
    let fixed = [family, 0, 0, 0, TABLE_MAIN, PROTOCOL_BOOT, scope, KIND_UNICAST, 0, 0, 0, 0];
    batch.message(NEW_ROUTE, ACK | CREATE | REPLACE, &fixed, |route| {
        if let Some(gateway) = gateway {
            route.bytes(5, &octets(gateway));
        }
        route.number(4, index);
    });
}

/// What forgets the default route of a family.
pub(crate) fn remove_default_route(batch: &mut Batch, is_6: bool) {
    const TABLE_MAIN: u8 = 254;
    let family = if is_6 { FAMILY_6 } else { FAMILY_4 };
    let fixed = [family, 0, 0, 0, TABLE_MAIN, 0, 255, 0, 0, 0, 0, 0];
    batch.message(DELETE_ROUTE, ACK, &fixed, |_| ());
}

/// Finds a link by name.
pub(crate) fn find(socket: &Socket, name: &str) -> Result<Option<Link>> {
    let mut batch = Batch::default();
    batch.message(GET_LINK, 0, &link_header(0, 0, 0), |link| link.text(LINK_NAME, name));
    match socket.request(batch) {
        Ok(answers) => Ok(answers.iter().find_map(read_link)),
        Err(refusal) if refusal.errno == Errno::NODEV => Ok(None),
        Err(refusal) => Err(Error::link("find", name)(refusal.errno)),
    }
}

fn read_link(answer: &Answer) -> Option<Link> {
    if answer.kind != NEW_LINK {
        return None;
    }
    let number = |at: usize| Some(u32::from_ne_bytes(*answer.body.get(at..)?.first_chunk()?));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned();
    let info = answer.attribute(HEADER, LINK_INFO).unwrap_or_default();
    let kind = crate::netlink::attributes(info).find(|(kind, _)| *kind == INFO_KIND);
    Some(Link {
        index: number(4)?,
        name: answer.attribute(HEADER, LINK_NAME).map(text)?,
        kind: kind.map(|(_, value)| text(value)).unwrap_or_default(),
        is_up: number(8)? & UP != 0,
    })
}

/// Length of `ifinfomsg` in bytes.
const HEADER: usize = 16;

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        16 => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
        _ => None,
    }
}

/// A route of this host that is not the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub network: Address,
    /// The index of the link that it goes by; 0 for none.
    pub index: u32,
}

impl Route {
    /// The name of that link; empty for none, and for one that is gone.
    pub fn link_name(&self) -> String {
        let name = Socket::route().ok().and_then(|socket| name_of(&socket, self.index));
        name.unwrap_or_default()
    }
}

/// The name of the link with this index.
fn name_of(socket: &Socket, index: u32) -> Option<String> {
    let mut batch = Batch::default();
    batch.message(GET_LINK, 0, &link_header(index, 0, 0), |_| ());
    let answers = socket.request(batch).ok()?;
    answers.iter().find_map(read_link).map(|link| link.name)
}

/// Networks that this host reaches by routes that are not the default one; those of IPv6 only where they are wanted, as
/// there are some for each link.
pub fn routed_networks(wants_ipv6: bool) -> Result<Vec<Route>> {
    let socket = Socket::route().map_err(Error::link("open", "a route socket"))?;
    let mut networks = Vec::new();
    for family in [FAMILY_4, FAMILY_6].into_iter().take(1 + usize::from(wants_ipv6)) {
        let mut batch = Batch::default();
        let fixed = [family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        batch.message(GET_ROUTE, DUMP, &fixed, |_| ());
        // A kernel without IPv6 has no such routes.
        let Ok(answers) = socket.request(batch) else { continue };
        networks.extend(answers.iter().filter_map(read_route));
    }
    Ok(networks)
}

fn read_route(answer: &Answer) -> Option<Route> {
    const TABLE_LOCAL: u8 = 255;
    let [_, prefix, _, _, table, ..] = *answer.body.as_slice() else { return None };
    if answer.kind != NEW_ROUTE || prefix == 0 || table == TABLE_LOCAL {
        return None;
    }
    let ip = address(answer.attribute(12, 1)?)?;
    let index = answer.attribute(12, 4).and_then(|bytes| bytes.first_chunk());
    let index = index.map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    Some(Route { network: Address { ip, prefix }, index })
}

/// Carries a batch out; the error names what it was for.
pub(crate) fn carry_out(socket: &Socket, batch: Batch, action: &'static str, subject: &str) -> Result<()> {
    match socket.request(batch) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Error::link(action, subject)(refusal.errno)),
    }
}
