//! The two networks that every host has: its own, and none.

use super::{Driver, EndpointPlan, NetworkPlan};
use crate::error::{Error, Result};
use crate::netlink::Socket;
use rustix::fd::BorrowedFd;

/// `host` or `none`: nothing is made and nothing is connected.
#[derive(Debug)]
pub(super) struct Plain {
    name: &'static str,
}

/// The driver `host`.
pub(super) const HOST: Plain = Plain { name: "host" };

/// The driver of the network `none`; docker calls it `null`.
pub(super) const NONE: Plain = Plain { name: "null" };

impl Driver for Plain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, _: &NetworkPlan) -> Result<()> {
        Err(Error::invalid(format!("only one instance of \"{}\" network is allowed", self.name)))
    }

    fn has_addresses(&self) -> bool {
        false
    }

    fn make(&self, _: &NetworkPlan, _: &Socket) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _: &NetworkPlan, _: &Socket) -> Result<()> {
        Ok(())
    }

    fn connect(&self, _: &NetworkPlan, _: &EndpointPlan, _: &Socket, _: BorrowedFd<'_>) -> Result<()> {
        Err(Error::invalid(format!("a container cannot be connected to the network {}", self.name)))
    }
}
