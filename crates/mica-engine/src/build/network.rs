//! Networks of commands. A command is where a container would be that asks for nothing: on the default network. Making
//! a place there takes longer than most commands do, so a place is lent to one command after the other; two that
//! run at the same time never share one.

use super::crew::held;
use super::worker::Builder;
use crate::container::create::lock_new_directory;
use crate::container::record::{Definition, Record};
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use crate::network::endpoint::Endpoint;
use crate::network::furnish::Furnished;
use crate::network::record::DEFAULT;
use crate::system;
use mica_api::types::network::EndpointSettings;
use mica_build::worker::{Network, RunStep};
use mica_model::ContainerId;
use mica_runtime::{JoinedNamespace, NamespaceKind, StartPlan};
use std::fs::File;

/// A place on the default network, in the name of a container that does not exist. What a killed build leaves of it
/// goes as the leftovers of containers do.
#[derive(Debug)]
pub(super) struct Place {
    record: Record,
    disk: ContainerDisk,
    furnished: Furnished,
    /// Whether a monitor answers its questions for names, which it does only as long as a command runs.
    is_attended: bool,
    _lock: File,
}

impl Place {
    /// Makes it the place of a command.
    fn lend(&mut self, plan: &mut StartPlan, disk: &ContainerDisk) -> Result<()> {
        let fail = |source| Error::io("use", self.disk.directory(), source);
        if let Some(namespace) = &self.furnished.namespace {
            let descriptor = namespace.try_clone().map_err(fail)?;
            plan.joined.push(JoinedNamespace { kind: NamespaceKind::Network, descriptor });
        }
        if self.is_attended {
            let order = self.furnished.companion.order.clone();
            let descriptors = std::mem::take(&mut self.furnished.companion.descriptors);
            plan.companion = Some(mica_runtime::CompanionPlan { order, descriptors });
        }
        for (from, to) in [(self.disk.hosts(), disk.hosts()), (self.disk.resolv_conf(), disk.resolv_conf())] {
            std::fs::copy(&from, &to).map_err(|source| Error::io("write", &to, source))?;
        }
        Ok(())
    }
}

impl Builder<'_> {
    /// Gives a command its place, if it is one on the default network.
    pub(super) fn lend_network(
        &self,
        step: &RunStep,
        (plan, definition): (&mut StartPlan, &Definition),
        disk: &ContainerDisk,
    ) -> Result<Option<Place>> {
        let is_default = step.network == Network::Default && self.request.network.is_empty();
        if !is_default || self.local.id_maps(&plan.id, &definition.host_config)?.is_some() {
            return Ok(None);
        }
        let idle = held(&self.networks).pop();
        let mut place = match idle {
            Some(place) => place,
            None => self.new_network(definition)?,
        };
        place.lend(plan, disk)?;
        Ok(Some(place))
    }

    fn new_network(&self, definition: &Definition) -> Result<Place> {
        let id = ContainerId::from_random(system::random());
        let disk = self.local.disk.container(&id);
        let lock = lock_new_directory(&disk, &id)?;
        let network = self.local.find_network(DEFAULT)?;
        let endpoint = Endpoint::new(id.as_str(), &network, 0, EndpointSettings::default());
        self.local.database().write(|transaction| endpoint.save(transaction))?;
        let record = super::run::record(&id, definition);
        let mut definition = definition.clone();
        definition.host_config.extra_hosts = Some(self.request.extra_hosts.clone());
        let furnished = self.local.furnish(&record, &definition, false);
        match furnished {
            Ok(Some(furnished)) => {
                // Mostly the host's own servers are asked, which nobody here has to serve.
                let servers = std::fs::read_to_string(disk.resolv_conf()).unwrap_or_default();
                let is_attended = servers.contains(&mica_network::RESOLVER.to_string());
                Ok(Place { record, disk, furnished, is_attended, _lock: lock })
            }
            other => {
                self.local.forget_places(&id);
                let _ = mica_snapshot::remove_tree(disk.directory());
                other.and(Err(Error::NoSuchNetwork { reference: DEFAULT.to_owned() }))
            }
        }
    }

    /// Takes a place back; the next command may have it, if this one could not change it.
    pub(super) fn return_network(&self, place: Place, is_unchanged: bool) {
        if is_unchanged && !place.is_attended {
            held(&self.networks).push(place);
        } else {
            self.close_network(&place);
        }
    }

    /// Gives all places up.
    pub(super) fn clear_networks(&self) {
        for place in held(&self.networks).drain(..) {
            self.close_network(&place);
        }
    }

    fn close_network(&self, place: &Place) {
        self.local.forget_places(&place.record.id);
        // What stays is a leftover like any other.
        let _ = mica_snapshot::remove_tree(place.disk.directory());
    }
}
