//! The networks that a new container asks for.

use crate::Local;
use crate::error::{Error, Result};
use crate::network::endpoint::{Endpoint, check_wishes};
use crate::network::record::Network;
use mica_api::types::container::CreateRequest;
use mica_api::types::network::EndpointSettings;
use mica_model::ContainerId;

impl Local {
    /// The places of a container to be, the one that its network mode names first.
    pub(crate) fn wished_places(
        &self,
        request: &CreateRequest,
        mode: &str,
        id: &ContainerId,
    ) -> Result<Vec<Endpoint>> {
        let wished = &request.networking_config.endpoints_config;
        if Network::is_plain(mode) || mode.starts_with("container:") {
            return match wished.keys().find(|name| *name != mode) {
                Some(other) => Err(Error::invalid(format!(
                    "conflicting options: a container with the network mode {mode} cannot be on network {other}"
                ))),
                None => Ok(Vec::new()),
            };
        }
        let mut found: Vec<(Network, EndpointSettings)> =
            vec![(self.find_network(mode)?, EndpointSettings::default())];
        for (name, settings) in wished {
            // Clients write docker's old word for the network of containers that name none.
            let name = if name == "default" { mode } else { name };
            let network = self.find_network(name)?;
            if Network::is_plain(&network.name) {
                return Err(Error::invalid(format!(
                    "conflicting options: network {} cannot be combined with others",
                    network.name
                )));
            }
            match found.iter_mut().find(|(known, _)| known.id == network.id) {
                Some((_, known)) => known.clone_from(settings),
                None => found.push((network, settings.clone())),
            }
        }
        if let Some((_, first)) = found.first_mut()
            && let Some(links) = &request.host_config.links
        {
            self.check_links(links)?;
            first.links.get_or_insert_default().extend(links.iter().cloned());
        }
        let mut endpoints = Vec::with_capacity(found.len());
        for (position, (network, settings)) in (0..).zip(found) {
            check_wishes(&settings, &network)?;
            endpoints.push(Endpoint::new(id.as_str(), &network, position, only_wishes(settings)));
        }
        Ok(endpoints)
    }

    fn check_links(&self, links: &[String]) -> Result<()> {
        for link in links {
            let (alias, target) = crate::network::links::split_link(link);
            if alias.is_empty() || alias.contains(char::is_whitespace) {
                return Err(Error::invalid(format!("bad format for links: {link}")));
            }
            crate::container::record::Record::find(&self.database(), target)
                .map_err(|_| Error::invalid(format!("could not get container for {target}")))?;
        }
        Ok(())
    }
}

/// Leaves out what only a running container has.
fn only_wishes(settings: EndpointSettings) -> EndpointSettings {
    let EndpointSettings { ipam_config, links, aliases, driver_opts, gw_priority, mac_address, .. } =
        settings;
    EndpointSettings {
        ipam_config,
        links,
        aliases,
        driver_opts,
        gw_priority,
        mac_address,
        ..EndpointSettings::default()
    }
}
