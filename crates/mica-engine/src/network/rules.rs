//! The rules of the packet filter, out of the records.

use crate::Local;
use crate::error::Result;
use crate::network::endpoint::{Endpoint, Place};
use crate::network::record::Network;
use mica_network::{Filter, Forward, Obstacle, Reservation, Rules};

/// How often rules are written again because somebody came or went while they were.
const REWRITES_MAX: usize = 8;

impl Local {
    /// What the packet filter is to have of networks.
    fn rules_of_networks(&self) -> Result<Rules> {
        let networks = self.database().read(Network::all)?;
        let plans = networks.iter().map(|network| &network.definition.plan);
        let networks = plans.filter_map(|plan| mica_network::named(&plan.driver)?.rules(plan)).collect();
        let respects_host = self.config()?.network.respect_host_firewall;
        Ok(Rules { networks, respects_host, ..Rules::default() })
    }

    /// What the packet filter is to have: all networks, and the ports of all who run.
    fn rules(&self) -> Result<Rules> {
        self.observe_all()?;
        let endpoints = self.database().read(Endpoint::all_live)?;
        let places = endpoints.iter().filter_map(|endpoint| endpoint.place.as_ref());
        Ok(Rules { forwards: places.flat_map(forwards).collect(), ..self.rules_of_networks()? })
    }

    /// Writes the rules anew, having looked who runs.
    pub(crate) fn rewrite_rules(&self) -> Result<()> {
        let filter = Filter::open()?;
        self.write_rules(&filter)?;
        pass_others(&self.rules_of_networks()?, &filter)?;
        Ok(())
    }

    /// Whoever has come or gone between the look and the writing changed the table that is no more:
    /// so it is looked again, until nothing has happened meanwhile.
    fn write_rules(&self, filter: &Filter) -> Result<()> {
        let table = self.site().table();
        let mut written = None;
        for _ in 0..REWRITES_MAX {
            let rules = self.rules()?;
            if written.as_ref() == Some(&rules) {
                break;
            }
            rules.apply(filter, &table)?;
            written = Some(rules);
        }
        Ok(())
    }

    /// Sees to it that the rules are there and lead to a place that has just been taken; gives
    /// warnings about rules of others, if ours had to be written.
    pub(crate) fn publish(&self, filter: &Filter, place: &Place) -> Result<Vec<String>> {
        let table = self.site().table();
        let rules = self.rules_of_networks()?;
        let are_written = rules.are_written(filter, &table)?;
        let mut obstacles = pass_others(&rules, filter)?;
        if !are_written || !mica_network::publish(filter, &table, &forwards(place))? {
            self.write_rules(filter)?;
        }
        if are_written {
            return Ok(Vec::new());
        }
        obstacles.extend(mica_network::legacy_obstacles(&bridges(&rules)));
        Ok(obstacles.iter().map(warning).collect())
    }
}

fn pass_others(rules: &Rules, filter: &Filter) -> Result<Vec<Obstacle>> {
    Ok(mica_network::pass_docker(filter, &bridges(rules))?)
}

fn bridges(rules: &Rules) -> Vec<String> {
    rules.networks.iter().map(|network| network.bridge.clone()).collect()
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
