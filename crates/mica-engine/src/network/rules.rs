//! The rules of the packet filter, out of the records.

use crate::Local;
use crate::error::Result;
use crate::network::endpoint::{Endpoint, Place};
use crate::network::record::Network;
use mica_network::{Forward, Reservation, Rules};

impl Local {
    /// What the packet filter is to have: all networks, and the ports of all who run.
    pub(crate) fn rules(&self) -> Result<Rules> {
        let (networks, endpoints) = self
            .database()
            .read(|connection| Ok((Network::all(connection)?, Endpoint::all_live(connection)?)))?;
        let plans = networks.iter().map(|network| &network.definition.plan);
        let networks = plans.filter_map(|plan| mica_network::named(&plan.driver)?.rules(plan)).collect();
        let places = endpoints.iter().filter_map(|endpoint| endpoint.place.as_ref());
        Ok(Rules { networks, forwards: places.flat_map(forwards).collect() })
    }

    /// Writes the rules anew, having looked who runs.
    pub(crate) fn rewrite_rules(&self) -> Result<()> {
        self.observe_all()?;
        Ok(self.rules()?.apply(&self.site().table())?)
    }

    /// Sees to it that the rules are there and lead to a place that has just been taken.
    pub(crate) fn publish(&self, place: &Place) -> Result<()> {
        let table = self.site().table();
        let written = self.rules()?.ensure(&table)?;
        if written || mica_network::publish(&table, &forwards(place))? {
            return Ok(());
        }
        self.rewrite_rules()
    }
}

/// What the kernel is to send on to a place.
pub(crate) fn forwards(place: &Place) -> Vec<Forward> {
    let addresses = place.ips();
    let ports = place.ports.iter().map(|port| Reservation {
        protocol: port.protocol,
        private: port.private,
        host: port.host,
        port: port.port,
        socket: None,
    });
    ports.filter_map(|port| port.forward(&addresses)).collect()
}
