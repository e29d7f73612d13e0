//! `network ls` and `inspect`, and the networks of a container as its own `inspect` shows them.

use crate::Local;
use crate::container::record::{Definition, Record};
use crate::error::{Error, Result};
use crate::network::endpoint::{Endpoint, mac_text};
use crate::network::record::Network;
use crate::network::resolution;
use mica_api::types::container::{NetworkSettings, Port};
use mica_api::types::host_config::PortBinding;
use mica_api::types::network::{
    ConfigReference, EndpointResource, EndpointSettings, Ipam, IpamConfig, NetworkInspect, NetworkListOptions,
};
use mica_model::Filters;
use mica_network::{Address, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;

const LIST_FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

impl Local {
    /// Lists networks, by name.
    pub(crate) fn list_networks(&self, options: &NetworkListOptions) -> Result<Vec<NetworkInspect>> {
        let filters = &options.filters;
        filters.validate(LIST_FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        if let Some(wrong) = filters.values("type").find(|kind| !matches!(*kind, "custom" | "builtin")) {
            return Err(Error::invalid(format!("invalid filter 'type={wrong}'")));
        }
        let dangling =
            filters.boolean("dangling", None).map_err(|error| Error::invalid(error.to_string()))?;
        self.predefine_networks()?;
        let (networks, endpoints) =
            self.database().read(|connection| Ok((Network::all(connection)?, Endpoint::all(connection)?)))?;
        let is_dangling = |network: &Network| {
            !network.is_predefined() && !endpoints.iter().any(|endpoint| endpoint.network == network.id)
        };
        let wanted = networks.iter().filter(|network| {
            wants(filters, network) && dangling.is_none_or(|wanted| is_dangling(network) == wanted)
        });
        Ok(wanted.map(shown).collect())
    }

    /// Everything about one network, with the containers that run on it.
    pub(crate) fn inspect_network(&self, reference: &str) -> Result<NetworkInspect> {
        let network = self.find_network(reference)?;
        let mut answer = shown(&network);
        for (record, observed) in self.observe_all()? {
            if !observed.is_running() {
                continue;
            }
            if Network::is_plain(&network.name) && record.network_mode == network.name {
                let resource = EndpointResource { name: record.name.clone(), ..Default::default() };
                answer.containers.insert(record.id.to_string(), resource);
            }
            let endpoints =
                self.database().read(|connection| Endpoint::of_container(connection, record.id.as_str()))?;
            for endpoint in endpoints.into_iter().filter(|endpoint| endpoint.network == network.id) {
                answer.containers.insert(record.id.to_string(), resource(&record, &endpoint));
            }
        }
        Ok(answer)
    }

    /// What a network that was named by its name or id is called; one that is not there is called so.
    pub(crate) fn network_name(&self, reference: &str) -> String {
        self.find_network(reference).map_or_else(|_| reference.to_owned(), |network| network.name)
    }

    /// The names of a container's networks, for lists.
    pub(crate) fn listed_networks(&self, record: &Record) -> Result<Vec<String>> {
        if record.network_mode.starts_with("container:") || Network::is_plain(&record.network_mode) {
            return Ok(vec![record.network_mode.clone()]);
        }
        let places = self.places(record)?;
        Ok(places.into_iter().map(|(network, _)| network.name).collect())
    }

    /// Its ports, for lists; those of one that does not run are not shown.
    pub(crate) fn listed_ports(&self, record: &Record) -> Result<Vec<Port>> {
        let endpoints =
            self.database().read(|connection| Endpoint::of_container(connection, record.id.as_str()))?;
        if endpoints.iter().all(|endpoint| endpoint.place.is_none()) {
            return Ok(Vec::new());
        }
        Ok(shown_ports(&record.definition(&self.database())?, &endpoints))
    }

    /// The networks of a container.
    pub(crate) fn network_settings(
        &self,
        record: &Record,
        definition: &Definition,
        pid: i64,
    ) -> Result<NetworkSettings> {
        let mode = definition.host_config.network_mode.as_str();
        let mut settings = NetworkSettings::default();
        if pid > 0 {
            settings.sandbox_id = record.id.to_string();
            settings.sandbox_key = format!("/proc/{pid}/ns/net");
        }
        if Network::is_plain(mode) {
            let network = self.find_network(mode)?;
            let endpoint = EndpointSettings { network_id: network.id, ..Default::default() };
            settings.networks.insert(mode.to_owned(), endpoint);
            return Ok(settings);
        }
        let (networks, endpoints) = self.database().read(|connection| {
            Ok((Network::all(connection)?, Endpoint::of_container(connection, record.id.as_str())?))
        })?;
        for endpoint in &endpoints {
            let Some(network) = networks.iter().find(|network| network.id == endpoint.network) else {
                continue;
            };
            if pid > 0 {
                add_ports(&mut settings, endpoint);
            }
            let shown = endpoint_settings(record, definition, (network, endpoint), pid > 0);
            if network.name == "bridge" {
                settings.default_network = (&shown).into();
            }
            settings.networks.insert(network.name.clone(), shown);
        }
        if pid > 0 {
            for exposed in definition.config.exposed_ports.iter().flatten().map(|(text, _)| text) {
                settings.ports.entry(exposed.clone()).or_insert(None);
            }
        }
        Ok(settings)
    }
}

fn add_ports(settings: &mut NetworkSettings, endpoint: &Endpoint) {
    for port in endpoint.place.iter().flat_map(|place| &place.ports) {
        let key = format!("{}/{}", port.private, port.protocol.name());
        let binding = PortBinding { host_ip: port.host.to_string(), host_port: port.port.to_string() };
        settings.ports.entry(key).or_default().get_or_insert_default().push(binding);
    }
}

fn endpoint_settings(
    record: &Record,
    definition: &Definition,
    (network, endpoint): (&Network, &Endpoint),
    is_running: bool,
) -> EndpointSettings {
    let mut settings = endpoint.settings.clone();
    settings.network_id.clone_from(&network.id);
    settings.dns_names = Some(resolution::names_of(record, &definition.config.hostname, endpoint));
    let Some(place) = endpoint.place.as_ref().filter(|_| is_running) else { return settings };
    settings.endpoint_id.clone_from(&place.id);
    settings.mac_address = mac_text(place.mac);
    let find = |is_4: bool| place.addresses.iter().find(|address| address.ip.is_ipv4() == is_4);
    let gateway = |is_4: bool| {
        let found =
            place.gateways.iter().find(|ip| ip.is_ipv4() == is_4 && !network.definition.plan.is_internal);
        found.map(IpAddr::to_string).unwrap_or_default()
    };
    if let Some(address) = find(true) {
        settings.ip_address = address.ip.to_string();
        settings.ip_prefix_length = i64::from(address.prefix);
        settings.gateway = gateway(true);
    }
    if let Some(address) = find(false) {
        settings.global_ipv6_address = address.ip.to_string();
        settings.global_ipv6_prefix_length = i64::from(address.prefix);
        settings.ipv6_gateway = gateway(false);
    }
    settings
}

/// The ports of a container as a list shows them.
fn shown_ports(definition: &Definition, endpoints: &[Endpoint]) -> Vec<Port> {
    let mut ports = Vec::new();
    let published = endpoints.iter().filter_map(|endpoint| endpoint.place.as_ref());
    for port in published.flat_map(|place| &place.ports) {
        ports.push(Port {
            ip: Some(port.host.to_string()),
            private_port: port.private,
            public_port: Some(port.port),
            protocol: port.protocol.name().to_owned(),
        });
    }
    for exposed in definition.config.exposed_ports.iter().flatten().map(|(text, _)| text) {
        let Ok((private, protocol)) = crate::network::ports::parse_private(exposed) else { continue };
        let is_published =
            ports.iter().any(|port| port.private_port == private && port.protocol == protocol.name());
        if !is_published {
            let protocol = protocol.name().to_owned();
            ports.push(Port { ip: None, private_port: private, public_port: None, protocol });
        }
    }
    ports
}

fn resource(record: &Record, endpoint: &Endpoint) -> EndpointResource {
    let Some(place) = &endpoint.place else {
        return EndpointResource { name: record.name.clone(), ..Default::default() };
    };
    let find = |is_4: bool| {
        let found = place.addresses.iter().find(|address| address.ip.is_ipv4() == is_4);
        found.map(Address::to_string).unwrap_or_default()
    };
    EndpointResource {
        name: record.name.clone(),
        endpoint_id: place.id.clone(),
        mac_address: mac_text(place.mac),
        ipv4_address: find(true),
        ipv6_address: find(false),
    }
}

fn wants(filters: &Filters, network: &Network) -> bool {
    let kind = if network.is_predefined() { "builtin" } else { "custom" };
    filters.exact_match("driver", &network.definition.plan.driver)
        && filters.pattern_match("name", &network.name)
        && filters.pattern_match("id", &network.id)
        && filters.exact_match("scope", "local")
        && filters.exact_match("type", kind)
        && filters.match_kv_list("label", |key| network.definition.labels.get(key).map(String::as_str))
}

fn shown(network: &Network) -> NetworkInspect {
    let definition = &network.definition;
    let plan = &definition.plan;
    NetworkInspect {
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created,
        scope: "local".to_owned(),
        driver: plan.driver.clone(),
        enable_ipv4: definition.has_ipv4,
        enable_ipv6: definition.has_ipv6,
        ipam: Ipam { config: plan.subnets.iter().map(shown_subnet).collect(), ..Default::default() },
        internal: plan.is_internal,
        attachable: definition.is_attachable,
        ingress: false,
        config_from: ConfigReference { network: definition.config_from.clone() },
        config_only: definition.is_config_only,
        options: plan.options.clone(),
        labels: definition.labels.clone(),
        containers: BTreeMap::new(),
        services: None,
    }
}

/// A range as docker shows it.
pub(super) fn shown_subnet(subnet: &Subnet) -> IpamConfig {
    let text = |address: Option<Address>| address.map(|address| address.to_string()).unwrap_or_default();
    IpamConfig {
        subnet: subnet.network.to_string(),
        ip_range: text(subnet.range),
        gateway: subnet.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
        auxiliary_addresses: subnet
            .reserved
            .iter()
            .map(|(name, ip)| (name.clone(), ip.to_string()))
            .collect(),
    }
}
