//! `network rm`, `prune`, `connect`, `disconnect` and `reload`.

use crate::container::list::{prune_labels, prune_until};
use crate::container::record::Record;
use crate::database::query;
use crate::error::{Error, Result};
use crate::network::endpoint::{Endpoint, Place};
use crate::network::record::Network;
use crate::{Local, events, lock};
use mica_api::types::network::NetworkConnectRequest;
use mica_model::Filters;
use mica_network::{Filter, Join, Names, sandbox};
use mica_runtime::NamespaceKind;
use std::os::fd::{AsFd, BorrowedFd};

const PRUNE_FILTERS: &[&str] = &["label", "label!", "until"];

impl Local {
    /// Removes a network that no container is on.
    pub(crate) fn remove_network(&self, reference: &str) -> Result<()> {
        let network = self.find_network(reference)?;
        if network.is_predefined() {
            return Err(Error::Unsupported {
                what: format!("{} is a pre-defined network and cannot be removed", network.name),
            });
        }
        // So that containers which have ended unseen do not count.
        self.observe_all()?;
        self.database().write(|transaction| {
            let endpoints = Endpoint::of_network(transaction, &network.id).map_err(query)?;
            let live = endpoints.iter().filter(|endpoint| endpoint.place.is_some());
            let live: Vec<&str> = live.map(|endpoint| endpoint.container.as_str()).collect();
            if let Some(first) = live.first() {
                return Err(Error::State {
                    what: format!(
                        "error while removing network: network {} has active endpoints (container {:.12})",
                        network.name, first
                    ),
                    hint: Some("stop its containers, or take them off it (`mica network disconnect`)"),
                });
            }
            if network.definition.is_config_only {
                let all = Network::all(transaction).map_err(query)?;
                if all.iter().any(|other| other.definition.config_from == network.name) {
                    return Err(Error::state(format!(
                        "error while removing network: configuration network {:?} is in use",
                        network.name
                    )));
                }
            }
            network.delete(transaction)?;
            // The record is gone last: who is killed before leaves a network that can be removed again, and never a
            // bridge that nobody knows.
            Ok(mica_network::remove(&network.definition.plan)?)
        })?;
        Names::of(self.disk.run_root(), &network.id).remove_all();
        self.rewrite_rules()?;
        self.events.append(&events::network(&network, "destroy", &[]));
        Ok(())
    }

    /// Removes all networks that no container is on.
    pub(crate) fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>> {
        filters.validate(PRUNE_FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let until = prune_until(filters)?;
        let (networks, endpoints) =
            self.database().read(|connection| Ok((Network::all(connection)?, Endpoint::all(connection)?)))?;
        let mut removed = Vec::new();
        for network in networks {
            let is_used = endpoints.iter().any(|endpoint| endpoint.network == network.id);
            let is_old = until.is_none_or(|until| network.created < until);
            if network.is_predefined()
                || is_used
                || network.definition.is_config_only
                || !is_old
                || !prune_labels(filters, &network.definition.labels)
            {
                continue;
            }
            match self.remove_network(&network.id) {
                Ok(()) => removed.push(network.name),
                // Used or removed by somebody else meanwhile.
                Err(Error::State { .. } | Error::NoSuchNetwork { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // Networks take no room on disk.
        self.events.append(&events::pruned("network", 0));
        Ok(removed)
    }

    /// Puts a container on a further network.
    pub(crate) fn connect(&self, reference: &str, request: &NetworkConnectRequest) -> Result<()> {
        let network = self.find_network(reference)?;
        let record = Record::find(&self.database(), &request.container)?;
        let disk = self.disk.container(&record.id);
        let _lock = lock::container(&disk, &record.id)?;
        let definition = record.definition(&self.database())?;
        let mode = definition.host_config.network_mode.as_str();
        if network.definition.is_config_only {
            return Err(Error::Unsupported {
                what: "cannot create endpoint on configuration-only network".to_owned(),
            });
        }
        if Network::is_plain(&network.name) || Network::is_plain(mode) || mode.starts_with("container:") {
            let what = if mode == "host" || network.name == "host" {
                "container cannot be disconnected from host network or connected to host network"
            } else {
                "container cannot be connected to multiple networks with one of the networks in private (none) mode"
            };
            return Err(Error::invalid(what));
        }
        let settings = request.endpoint_config.clone().unwrap_or_default();
        crate::network::endpoint::check_wishes(&settings, &network)?;
        let is_running = record.observe(&disk).is_running();
        let endpoint = self.database().write(|transaction| {
            let others = Endpoint::of_container(transaction, record.id.as_str()).map_err(query)?;
            if others.iter().any(|other| other.network == network.id) {
                return Err(Error::state(format!(
                    "endpoint with name {} already exists in network {}",
                    record.name, network.name
                )));
            }
            let position = others.iter().map(|other| other.position + 1).max().unwrap_or(0);
            let mut endpoint = Endpoint::new(record.id.as_str(), &network, position, settings);
            if is_running {
                endpoint.take_place(transaction, &network)?;
            } else {
                endpoint.save(transaction)?;
            }
            Ok(endpoint)
        })?;
        if is_running && let Err(error) = self.connect_live(&record, &network, &endpoint) {
            let _ = self.database().write(|transaction| endpoint.delete(transaction));
            if let Ok(namespace) = mica_runtime::namespace(disk.run(), NamespaceKind::Network) {
                let _ = self.choose_way_out(&record, namespace.as_fd(), None);
            }
            let _ = self.tell_neighbours_anew(&record);
            return Err(error);
        }
        let container = ("container", record.id.to_string());
        self.events.append(&events::network(&network, "connect", &[container]));
        Ok(())
    }

    fn connect_live(&self, record: &Record, network: &Network, endpoint: &Endpoint) -> Result<()> {
        let Some(place) = &endpoint.place else { return Ok(()) };
        let namespace =
            mica_runtime::namespace(self.disk.container(&record.id).run(), NamespaceKind::Network)?;
        let join = Join { network: network.definition.plan.clone(), endpoint: place.plan() };
        sandbox::connect(namespace.as_fd(), &join)?;
        let told = self.tell_of_place(record, network, place, namespace.as_fd());
        if told.is_err() {
            // What has told nobody is taken back; a link that cannot be goes with the container.
            let _ = sandbox::disconnect(namespace.as_fd(), &place.interface, None);
        }
        told
    }

    /// What others have to know of a running container's new place.
    fn tell_of_place(
        &self,
        record: &Record,
        network: &Network,
        place: &Place,
        namespace: BorrowedFd<'_>,
    ) -> Result<()> {
        self.publish(&Filter::open()?, place)?;
        self.choose_way_out(record, namespace, None)?;
        self.add_hosts(record, place)?;
        let now: Vec<Network> = self.places(record)?.into_iter().map(|(network, _)| network).collect();
        let before: Vec<Network> = now.iter().filter(|other| other.id != network.id).cloned().collect();
        self.wake_resolver(record, namespace, (&before, &now))?;
        self.tell_neighbours_anew(record)
    }

    /// Takes a container from a network.
    pub(crate) fn disconnect(&self, reference: &str, container: &str, is_forced: bool) -> Result<()> {
        let network = self.find_network(reference)?;
        let record = match Record::find(&self.database(), container) {
            // It may be gone while its name on the network is not.
            Err(Error::NoSuchContainer { .. }) if is_forced => return Ok(()),
            other => other?,
        };
        let disk = self.disk.container(&record.id);
        let _lock = lock::container(&disk, &record.id)?;
        let endpoint = self.database().write(|transaction| {
            let all = Endpoint::of_container(transaction, record.id.as_str()).map_err(query)?;
            let found = all.into_iter().find(|endpoint| endpoint.network == network.id);
            let endpoint = found.ok_or_else(|| {
                Error::state(format!("container {} is not connected to network {}", record.id, network.name))
            })?;
            endpoint.delete(transaction)?;
            Ok(endpoint)
        })?;
        Names::of(self.disk.run_root(), &network.id).remove(record.id.as_str());
        if record.observe(&disk).is_running()
            && let Some(place) = &endpoint.place
        {
            let namespace = mica_runtime::namespace(disk.run(), NamespaceKind::Network)?;
            sandbox::disconnect(namespace.as_fd(), &place.interface, None)?;
            self.choose_way_out(&record, namespace.as_fd(), Some(place))?;
            self.forget_hosts(&record, place)?;
            self.tell_neighbours_anew(&record)?;
        }
        let container = ("container", record.id.to_string());
        self.events.append(&events::network(&network, "disconnect", &[container]));
        Ok(())
    }

    /// Tells resolvers anew what a running container is called and where it is.
    pub(crate) fn tell_neighbours_anew(&self, record: &Record) -> Result<()> {
        let definition = record.definition(&self.database())?;
        let places = self.places(record)?;
        self.tell_neighbours(record, &definition.config.hostname, &places)
    }

    /// Makes links and rules again that somebody has removed.
    pub(crate) fn reload_networks(&self) -> Result<()> {
        self.predefine_networks()?;
        let networks = self.database().read(Network::all)?;
        let endpoints = self.database().read(Endpoint::all_live)?;
        for network in networks {
            let is_used = endpoints.iter().any(|endpoint| endpoint.network == network.id);
            // The default one is made when it is first used.
            if is_used || !network.is_predefined() {
                mica_network::make(&network.definition.plan)?;
            }
        }
        self.rewrite_rules()
    }
}
