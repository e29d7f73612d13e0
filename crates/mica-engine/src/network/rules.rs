//! The rules of the packet filter, out of the records.

use crate::Local;
use crate::error::Result;
use crate::network::endpoint::{Endpoint, Place};
use crate::network::record::Network;
use mica_network::{Filter, Forward, Obstacle, Reservation, Rules};

impl Local {
    /// What the packet filter is to have: all networks, and the ports of all who run.
    pub(crate) fn rules(&self) -> Result<Rules> {
        let (networks, endpoints) = self
            .database()
            .read(|connection| Ok((Network::all(connection)?, Endpoint::all_live(connection)?)))?;
        let plans = networks.iter().map(|network| &network.definition.plan);
        let networks = plans.filter_map(|plan| mica_network::named(&plan.driver)?.rules(plan)).collect();
        let places = endpoints.iter().filter_map(|endpoint| endpoint.place.as_ref());
        let respects_host = self.config()?.network.respect_host_firewall;
        Ok(Rules { networks, forwards: places.flat_map(forwards).collect(), respects_host })
    }

    /// Writes the rules anew, having looked who runs.
    pub(crate) fn rewrite_rules(&self) -> Result<()> {
        self.observe_all()?;
        let (rules, filter) = (self.rules()?, Filter::open()?);
        rules.apply(&filter, &self.site().table())?;
        pass_others(&rules, &filter)?;
        Ok(())
    }

    /// Sees to it that the rules are there and lead to a place that has just been taken; gives
    /// warnings about rules of others, if ours had to be written.
    pub(crate) fn publish(&self, filter: &Filter, place: &Place) -> Result<Vec<String>> {
        let table = self.site().table();
        let rules = self.rules()?;
        let is_new = rules.ensure(filter, &table)?;
        let obstacles = pass_others(&rules, filter)?;
        if !is_new && !mica_network::publish(filter, &table, &forwards(place))? {
            self.observe_all()?;
            self.rules()?.apply(filter, &table)?;
        }
        Ok(if is_new { obstacles.iter().map(warning).collect() } else { Vec::new() })
    }
}

fn pass_others(rules: &Rules, filter: &Filter) -> Result<Vec<Obstacle>> {
    let bridges: Vec<String> = rules.networks.iter().map(|network| network.bridge.clone()).collect();
    Ok(mica_network::pass_docker(filter, &bridges)?)
}

fn warning(obstacle: &Obstacle) -> String {
    format!(
        "the host's firewall drops what it forwards (policy of {}): unless a rule there lets them pass, containers \
         reach nothing outside and published ports are closed; remedy: {}",
        obstacle.chain, obstacle.remedy
    )
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
