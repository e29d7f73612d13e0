//! Containers that name others as theirs: `--link`, which on the default network stands for names.
//!
//! There a container finds those that it is linked to in its `hosts` and its environment, as docker
//! tells them; on a network of one's own the resolver knows the link's alias.

use crate::Local;
use crate::container::record::{Definition, Record};
use crate::error::{Error, Result};
use crate::lock;
use crate::network::endpoint::{Endpoint, Place};
use crate::network::furnish::Places;
use crate::network::ports::parse_private;
use crate::network::record::{DEFAULT, Network};
use std::net::IpAddr;

/// Variables of a linked container that only it should have.
const NOT_TOLD: [&str; 2] = ["HOME", "PATH"];

/// `TARGET:ALIAS`, or a target that is its own alias: alias and target.
pub(crate) fn split_link(link: &str) -> (&str, &str) {
    let name = |text: &'_ str| text.rsplit('/').next().map_or(0, str::len);
    let (target, alias) = link.split_once(':').unwrap_or((link, link));
    (&alias[alias.len() - name(alias)..], target.strip_prefix('/').unwrap_or(target))
}

/// A container that another one is linked to.
struct Linked {
    alias: String,
    record: Record,
    definition: Definition,
    place: Place,
}

impl Local {
    /// Lines of `hosts` for those that a container is linked to.
    pub(crate) fn link_lines(&self, record: &Record, places: &Places) -> Result<Vec<(IpAddr, String)>> {
        let mut lines = Vec::new();
        for linked in self.linked(record, places)? {
            let names =
                format!("{} {} {}", linked.alias, linked.definition.config.hostname, linked.record.name);
            lines.extend(linked.place.ips().into_iter().map(|ip| (ip, names.clone())));
        }
        Ok(lines)
    }

    /// Variables for those that a container is linked to on the default network.
    pub(crate) fn link_environment(&self, record: &Record, places: &Places) -> Result<Vec<String>> {
        let of_default: Places =
            places.iter().filter(|(network, _)| network.name == DEFAULT).cloned().collect();
        let linked = self.linked(record, &of_default)?;
        Ok(linked.iter().flat_map(|linked| variables(&record.name, linked)).collect())
    }

    fn linked(&self, record: &Record, places: &Places) -> Result<Vec<Linked>> {
        let mut all = Vec::new();
        for (network, endpoint) in places {
            for link in endpoint.settings.links.iter().flatten() {
                let (alias, target) = split_link(link);
                // One that was removed is not there; on a network with names it may come later.
                let Ok(other) = Record::find(&self.database(), target) else { continue };
                match self.place_on(&other, network)? {
                    Some(place) => all.push(Linked {
                        alias: alias.to_owned(),
                        definition: other.definition(&self.database())?,
                        record: other,
                        place,
                    }),
                    None if network.name == DEFAULT => {
                        return Err(Error::state(format!(
                            "Cannot link to a non running container: /{} AS /{}/{alias}",
                            other.name, record.name
                        )));
                    }
                    None => {}
                }
            }
        }
        Ok(all)
    }

    fn place_on(&self, record: &Record, network: &Network) -> Result<Option<Place>> {
        if !record.observe(&self.disk.container(&record.id)).is_running() {
            return Ok(None);
        }
        let all =
            self.database().read(|connection| Endpoint::of_container(connection, record.id.as_str()))?;
        Ok(all
            .into_iter()
            .find(|endpoint| endpoint.network == network.id)
            .and_then(|endpoint| endpoint.place))
    }

    /// Forgets a link: `/CONTAINER/ALIAS`.
    pub(crate) fn remove_link(&self, link: &str) -> Result<()> {
        let name = link.strip_prefix('/').unwrap_or(link);
        let (parent, alias) =
            name.split_once('/').ok_or_else(|| Error::invalid(format!("invalid link name: {link}")))?;
        let record = Record::find(&self.database(), parent)?;
        let _lock = lock::container(&self.disk.container(&record.id), &record.id)?;
        let is_meant = |link: &String| split_link(link).0 == alias;
        let mut definition = record.definition(&self.database())?;
        self.database().write(|transaction| {
            let endpoints = Endpoint::of_container(transaction, record.id.as_str());
            let mut is_found = false;
            for mut endpoint in endpoints.map_err(crate::database::query)? {
                let Some(links) = &mut endpoint.settings.links else { continue };
                let count = links.len();
                links.retain(|link| !is_meant(link));
                if links.len() < count {
                    is_found = true;
                    endpoint.save(transaction)?;
                }
            }
            if !is_found {
                return Err(Error::state(format!("Could not get {parent}'s link {alias}: there is none")));
            }
            if let Some(links) = &mut definition.host_config.links {
                links.retain(|link| !is_meant(link));
            }
            record.save_definition(transaction, &definition)
        })
    }
}

/// What docker tells the program of `parent` of a container that it is linked to.
fn variables(parent: &str, linked: &Linked) -> Vec<String> {
    let alias = linked.alias.to_uppercase().replace('-', "_");
    let mut all = Vec::new();
    let ip =
        linked.place.ips().into_iter().find(IpAddr::is_ipv4).map(|ip| ip.to_string()).unwrap_or_default();
    let exposed = linked.definition.config.exposed_ports.iter().flatten();
    let mut ports: Vec<_> = exposed.filter_map(|(text, _)| parse_private(text).ok()).collect();
    // Those of TCP come first.
    ports.sort_by_key(|(port, protocol)| (*protocol, *port));
    if let Some((port, protocol)) = ports.first() {
        all.push(format!("{alias}_PORT={}://{ip}:{port}", protocol.name()));
    }
    for (port, protocol) in ports {
        let protocol = protocol.name();
        let name = format!("{alias}_PORT_{port}_{}", protocol.to_uppercase());
        all.push(format!("{name}={protocol}://{ip}:{port}"));
        all.push(format!("{name}_ADDR={ip}"));
        all.push(format!("{name}_PORT={port}"));
        all.push(format!("{name}_PROTO={protocol}"));
    }
    all.push(format!("{alias}_NAME=/{parent}/{}", linked.alias));
    for variable in linked.definition.config.env.iter().flatten() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if !NOT_TOLD.contains(&name) {
            all.push(format!("{alias}_ENV_{name}={value}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_an_alias() {
        assert_eq!(split_link("db:store"), ("store", "db"));
        assert_eq!(split_link("db"), ("db", "db"));
        assert_eq!(split_link("/db:/web/store"), ("store", "db"));
    }
}
