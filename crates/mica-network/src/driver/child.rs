//! Networks that share a link of the host: `macvlan` and `ipvlan`.

use super::{Driver, EndpointPlan, MTU, NetworkPlan, PREFIX};
use crate::error::{Error, Result};
use crate::link::{self, Peer};
use crate::netlink::{Batch, Socket};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

/// One of the two.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    mode_option: &'static str,
    /// The kernel's attribute for the mode.
    attribute: u16,
    /// Names of the modes and their numbers, the default first.
    modes: &'static [(&'static str, u32)],
}

/// The driver `macvlan`: a MAC address for each container.
pub(super) const MACVLAN: Child = Child {
    name: "macvlan",
    mode_option: "macvlan_mode",
    attribute: 1,
    modes: &[("bridge", 4), ("private", 1), ("vepa", 2), ("passthru", 8)],
};

/// The driver `ipvlan`: all containers with the MAC address of the host.
pub(super) const IPVLAN: Child = Child {
    name: "ipvlan",
    mode_option: "ipvlan_mode",
    attribute: 1,
    modes: &[("l2", 0), ("l3", 1), ("l3s", 2)],
};

const PARENT: &str = "parent";

impl Child {
    fn mode(&self, network: &NetworkPlan) -> Result<u32> {
        let default = self.modes.first().map_or("", |(name, _)| name);
        let wanted = network.options.get(self.mode_option).map_or(default, String::as_str);
        let found = self.modes.iter().find(|(name, _)| *name == wanted);
        found
            .map(|(_, number)| *number)
            .ok_or_else(|| Error::invalid(format!("unknown {} mode: {wanted}", self.name)))
    }

    fn mode_bytes(&self, network: &NetworkPlan) -> Result<Vec<u8>> {
        let mode = self.mode(network)?;
        // The kernel has 32 bits for the one and 16 for the other.
        Ok(if self.name == "macvlan" {
            mode.to_ne_bytes().to_vec()
        } else {
            (mode as u16).to_ne_bytes().to_vec()
        })
    }

    fn is_own_parent(network: &NetworkPlan) -> bool {
        !network.options.contains_key(PARENT)
    }
}

impl Driver for Child {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, network: &NetworkPlan) -> Result<()> {
        network.check_options(&[PARENT, self.mode_option, MTU, PREFIX])?;
        network.mtu()?;
        self.mode(network)?;
        match network.options.get(PARENT) {
            Some(parent) if parent.is_empty() || parent.len() > 15 || parent.contains(['/', ' ']) => {
                Err(Error::invalid(format!("invalid parent: {parent:?}")))
            }
            Some(_) if network.is_internal => {
                Err(Error::invalid("an internal network has no parent: it does not leave this host"))
            }
            _ => Ok(()),
        }
    }

    fn make(&self, network: &NetworkPlan, host: &Socket) -> Result<()> {
        if let Some(found) = link::find(host, &network.link)? {
            if found.is_up {
                return Ok(());
            }
            let mut batch = Batch::default();
            link::bring_up(&mut batch, found.index);
            return link::carry_out(host, batch, "bring up", &network.link);
        }
        let mut batch = Batch::default();
        if Self::is_own_parent(network) {
            return make_lone_parent(network, host);
        }
        let (parent, tag) = tagged(&network.link).ok_or_else(|| {
            Error::invalid(format!("invalid subinterface vlan name {}: there is no such link", network.link))
        })?;
        let parent = link::find(host, parent)?
            .ok_or_else(|| Error::invalid(format!("the parent link {parent} does not exist on this host")))?;
        link::make_vlan(&mut batch, &network.link, parent.index, tag);
        unless_there(host, batch, network)
    }

    fn remove(&self, network: &NetworkPlan, host: &Socket) -> Result<()> {
        // A parent that was there before stays.
        if !Self::is_own_parent(network) {
            return Ok(());
        }
        let Some(found) = link::find(host, &network.link)? else { return Ok(()) };
        let mut batch = Batch::default();
        link::remove(&mut batch, found.index);
        link::carry_out(host, batch, "remove the parent", &network.link)
    }

    fn connect(
        &self,
        network: &NetworkPlan,
        endpoint: &EndpointPlan,
        host: &Socket,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        let parent = link::find(host, &network.link)?
            .ok_or_else(|| Error::link("find the parent", &*network.link)(Errno::NODEV))?;
        let mut batch = Batch::default();
        let peer = Peer { name: &endpoint.interface, mac: endpoint.mac, namespace };
        let mode = (self.name, self.attribute, self.mode_bytes(network)?);
        link::make_child(&mut batch, mode, parent.index, network.mtu()?, &peer);
        link::carry_out(host, batch, "make a link of", &network.link)
    }
}

/// Another command may have just made it.
fn unless_there(host: &Socket, batch: Batch, network: &NetworkPlan) -> Result<()> {
    match host.request(batch) {
        Err(refusal) if refusal.errno != Errno::EXIST => {
            Err(Error::link("make the parent", &*network.link)(refusal.errno))
        }
        _ => Ok(()),
    }
}

/// A parent that leads nowhere.
fn make_lone_parent(network: &NetworkPlan, host: &Socket) -> Result<()> {
    let mut batch = Batch::default();
    link::make_dummy(&mut batch, &network.link);
    match unless_there(host, batch, network) {
        Err(Error::Link { source, .. }) if Errno::from_io_error(&source) == Some(Errno::OPNOTSUPP) => {
            let mut batch = Batch::default();
            link::make_lone_pair(&mut batch, &network.link, &crate::site::Site::other_end(&network.id));
            unless_there(host, batch, network)
        }
        other => other,
    }
}

/// `eth0.10` is the VLAN 10 of `eth0`.
fn tagged(name: &str) -> Option<(&str, u16)> {
    let (parent, tag) = name.rsplit_once('.')?;
    let tag = tag.parse().ok().filter(|tag| (1..4095).contains(tag))?;
    Some((parent, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_may_be_a_vlan() {
        assert_eq!(tagged("eth0.10"), Some(("eth0", 10)));
        for wrong in ["eth0", "eth0.0", "eth0.4095", "eth0.x", "eth0."] {
            assert_eq!(tagged(wrong), None, "{wrong}");
        }
    }
}
