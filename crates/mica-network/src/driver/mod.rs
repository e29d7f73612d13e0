//! Kinds of networks behind one trait: one file each, listed here and known nowhere else.

mod bridge;
mod child;
mod plain;

use crate::error::{Error, Result};
use crate::link::{Address, MacAddress};
use crate::netlink::Socket;
use crate::rules::NetworkRules;
use rustix::fd::BorrowedFd;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;

/// A range of addresses of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The whole.
    pub network: Address,
    /// The part that containers get addresses from.
    pub range: Option<Address>,
    /// The way out.
    pub gateway: Option<IpAddr>,
    /// Addresses that others have, by name.
    pub reserved: BTreeMap<String, IpAddr>,
}

/// A network as its driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// Its id.
    pub id: String,
    /// Name of its driver.
    pub driver: String,
    /// Name of its link on the host.
    pub link: String,
    /// Its address ranges.
    pub subnets: Vec<Subnet>,
    /// Whether it has no way out.
    pub is_internal: bool,
    /// Options of its driver.
    pub options: BTreeMap<String, String>,
}

/// A container's place in a network as the driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPlan {
    /// Name of the host's end, where there is one.
    pub host_end: String,
    /// Name of the container's end.
    pub interface: String,
    /// Settings of it: files below `/proc/sys/net`, and what is to be in them.
    pub settings: Vec<(String, String)>,
    /// Its MAC address.
    pub mac: MacAddress,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its default routes: none where another network has them.
    pub gateways: Vec<IpAddr>,
    /// Whether all else simply goes out of the link.
    pub routes_by_link: bool,
}

/// A kind of network.
///
/// What `make` and `remove` do may have been done already, or by another process at this moment.
/// `connect` is called in a thread that is in the container's namespace, with a socket of the
/// host's; what it makes goes with the namespace.
pub trait Driver: Debug + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Refuses a new network that it could not make.
    fn check(&self, network: &NetworkPlan) -> Result<()>;

    /// Whether containers get addresses.
    fn has_addresses(&self) -> bool {
        true
    }

    /// Whether the gateway is an address of this host.
    fn is_gateway_of_host(&self) -> bool {
        false
    }

    /// Makes what the network needs on the host, where it is not there.
    fn make(&self, network: &NetworkPlan, host: &Socket) -> Result<()>;

    /// Removes that again.
    fn remove(&self, network: &NetworkPlan, host: &Socket) -> Result<()>;

    /// Makes the container's link.
    fn connect(
        &self,
        network: &NetworkPlan,
        endpoint: &EndpointPlan,
        host: &Socket,
        namespace: BorrowedFd<'_>,
    ) -> Result<()>;

    /// What the packet filter has to know of it.
    fn rules(&self, _network: &NetworkPlan) -> Option<NetworkRules> {
        None
    }
}

/// All kinds.
const DRIVERS: [&dyn Driver; 5] =
    [&bridge::Bridge, &child::MACVLAN, &child::IPVLAN, &plain::HOST, &plain::NONE];

/// The kind of this name.
pub fn named(name: &str) -> Option<&'static dyn Driver> {
    DRIVERS.into_iter().find(|driver| driver.name() == name)
}

/// The kind of a network.
pub(crate) fn of(network: &NetworkPlan) -> Result<&'static dyn Driver> {
    named(&network.driver).ok_or_else(|| Error::invalid(format!("plugin {:?} not found", network.driver)))
}

/// Removes what a network has on the host.
pub fn remove(network: &NetworkPlan) -> Result<()> {
    let host = Socket::route().map_err(Error::link("open", "a route socket"))?;
    of(network)?.remove(network, &host)
}

/// Makes what a network has on the host.
pub fn make(network: &NetworkPlan) -> Result<()> {
    let host = Socket::route().map_err(Error::link("open", "a route socket"))?;
    of(network)?.make(network, &host)
}

impl NetworkPlan {
    /// A switch among the options, in one of Go's spellings.
    pub(crate) fn switch(&self, name: &str, default: bool) -> Result<bool> {
        match self.options.get(name).map(String::as_str) {
            None => Ok(default),
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
            Some(other) => Err(Error::invalid(format!("invalid value for {name}: {other:?} is no boolean"))),
        }
    }

    /// The size of packets among the options.
    pub(crate) fn mtu(&self) -> Result<Option<u32>> {
        let Some(text) = self.options.get(MTU) else { return Ok(None) };
        match text.parse() {
            Ok(mtu @ 68..=65535) => Ok(Some(mtu)),
            _ => Err(Error::invalid(format!("invalid value for {MTU}: {text:?}"))),
        }
    }

    /// Refuses options that nobody would heed.
    pub(crate) fn check_options(&self, known: &[&str]) -> Result<()> {
        if let Some(prefix) = self.options.get(PREFIX) {
            let is_name = prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if prefix.is_empty() || prefix.len() > PREFIX_LENGTH_MAX || !is_name {
                return Err(Error::invalid(format!("invalid value for {PREFIX}: {prefix:?}")));
            }
        }
        match self.options.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => {
                Err(Error::invalid(format!("the {} driver has no option {unknown:?}", self.driver)))
            }
            None => Ok(()),
        }
    }
}

pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
/// How the names of containers' links begin.
pub(crate) const PREFIX: &str = "com.docker.network.container_iface_prefix";

/// Longest of them: two digits are to follow.
const PREFIX_LENGTH_MAX: usize = 13;
