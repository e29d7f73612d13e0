//! The bridge: a switch on this host, with the host itself as the way out.

use super::{Driver, EndpointPlan, MTU, NetworkPlan, PREFIX};
use crate::error::{Error, Result};
use crate::link::{self, Address, Link, Peer, PortManners};
use crate::netlink::{Batch, Socket};
use crate::rules::NetworkRules;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// The driver `bridge`.
#[derive(Debug)]
pub(super) struct Bridge;

const NAME: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const TALK: &str = "com.docker.network.bridge.enable_icc";
/// Where ports are published unless `-p` names an address.
pub(crate) const BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
const DEFAULT: &str = "com.docker.network.bridge.default_bridge";

impl Driver for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn check(&self, network: &NetworkPlan) -> Result<()> {
        network.check_options(&[NAME, MASQUERADE, TALK, BINDING, MTU, PREFIX, DEFAULT])?;
        network.switch(MASQUERADE, true)?;
        network.switch(TALK, true)?;
        network.mtu()?;
        if let Some(text) = network.options.get(BINDING)
            && text.parse::<std::net::Ipv4Addr>().is_err()
        {
            return Err(Error::invalid(format!("invalid value for {BINDING}: {text:?}")));
        }
        let name = &network.link;
        if name.is_empty() || name.len() > 15 || name.contains(['/', ' ', ':']) || name.starts_with('.') {
            return Err(Error::invalid(format!("invalid name of a bridge: {name:?}")));
        }
        Ok(())
    }

    fn is_gateway_of_host(&self) -> bool {
        true
    }

    fn make(&self, network: &NetworkPlan, host: &Socket) -> Result<()> {
        match link::find(host, &network.link)? {
            Some(found) if found.kind != "bridge" => {
                Err(Error::invalid(format!("{} is a link of this host and no bridge", found.name)))
            }
            Some(found) if found.is_up => Ok(()),
            Some(found) => furnish(network, &found, host),
            None => make_new(network, host),
        }?;
        if network.is_internal {
            return Ok(());
        }
        forward("/proc/sys/net/ipv4/ip_forward")?;
        if network.subnets.iter().any(|subnet| subnet.network.ip.is_ipv6()) {
            forward("/proc/sys/net/ipv6/conf/all/forwarding")?;
        }
        Ok(())
    }

    fn remove(&self, network: &NetworkPlan, host: &Socket) -> Result<()> {
        match link::find(host, &network.link)? {
            Some(found) if found.kind == "bridge" => {
                let mut batch = Batch::default();
                link::remove(&mut batch, found.index);
                link::carry_out(host, batch, "remove the bridge", &network.link)
            }
            _ => Ok(()),
        }
    }

    fn connect(
        &self,
        network: &NetworkPlan,
        endpoint: &EndpointPlan,
        host: &Socket,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        let bridge = link::find(host, &network.link)?
            .ok_or_else(|| Error::link("find the bridge", &*network.link)(Errno::NODEV))?;
        let mut batch = Batch::default();
        let peer = Peer { name: &endpoint.interface, mac: endpoint.mac, namespace };
        link::make_pair(&mut batch, &endpoint.host_end, bridge.index, network.mtu()?, &peer);
        let manners = PortManners {
            is_isolated: !network.switch(TALK, true)?,
            knows_ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        };
        link::settle_port(&mut batch, &endpoint.host_end, manners);
        link::carry_out(host, batch, "make a link of", &network.link)
    }

    fn rules(&self, network: &NetworkPlan) -> Option<NetworkRules> {
        Some(NetworkRules {
            bridge: network.link.clone(),
            subnets: network.subnets.iter().map(|subnet| subnet.network).collect(),
            is_internal: network.is_internal,
            masquerades: network.switch(MASQUERADE, true).unwrap_or(true),
        })
    }
}

fn make_new(network: &NetworkPlan, host: &Socket) -> Result<()> {
    let mut batch = Batch::default();
    // An address of its own: else it is that of its lowest port, and changes as containers go.
    link::make_bridge(&mut batch, &network.link, mac(&network.id), network.mtu()?);
    match host.request(batch) {
        Ok(_) => {}
        // Another command has just made it.
        Err(refusal) if refusal.errno == Errno::EXIST => {}
        Err(refusal) => return Err(Error::link("make the bridge", &*network.link)(refusal.errno)),
    }
    let found = link::find(host, &network.link)?
        .ok_or_else(|| Error::link("find the bridge", &*network.link)(Errno::NODEV))?;
    furnish(network, &found, host)
}

/// Addresses, settings, up. Whatever is so already stays.
fn furnish(network: &NetworkPlan, bridge: &Link, host: &Socket) -> Result<()> {
    let directory = |family: &str| PathBuf::from(format!("/proc/sys/net/{family}/conf/{}", network.link));
    // Packets of this host's own 127.0.0.1 for published ports go by way of the bridge.
    set(&directory("ipv4").join("route_localnet"), "1")?;
    let has_6 = network.subnets.iter().any(|subnet| subnet.network.ip.is_ipv6());
    let quiet = if has_6 { "0" } else { "1" };
    for (name, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", quiet)] {
        match set(&directory("ipv6").join(name), value) {
            // A kernel without IPv6.
            Err(Error::Setting { source, .. }) if source.kind() == std::io::ErrorKind::NotFound && !has_6 => {
            }
            other => other?,
        }
    }
    let mut batch = Batch::default();
    for subnet in &network.subnets {
        if let Some(gateway) = subnet.gateway {
            link::add_address(
                &mut batch,
                bridge.index,
                Address { ip: gateway, prefix: subnet.network.prefix },
            );
        }
    }
    link::bring_up(&mut batch, bridge.index);
    link::carry_out(host, batch, "furnish the bridge", &network.link)
}

/// Locally administered, and always the same for a network.
fn mac(id: &str) -> link::MacAddress {
    let [_, _, a, b, c, d, e, f] = crate::site::hash(id.as_bytes()).to_be_bytes();
    [a & 0xfc | 2, b, c, d, e, f]
}

fn set(path: &Path, value: &str) -> Result<()> {
    std::fs::write(path, value).map_err(|source| Error::Setting { path: path.to_owned(), source })
}

/// Switches forwarding on, as docker does: without it no container has a way out.
fn forward(path: &'static str) -> Result<()> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    if text.trim_end() == "1" {
        return Ok(());
    }
    std::fs::write(path, "1").map_err(|_| Error::Forwarding { path })
}
