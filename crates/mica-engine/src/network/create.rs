//! `network create`: a request becomes a record, and then what its driver makes of it.

use crate::error::{Error, Result};
use crate::network::list::shown_subnet;
use crate::network::record::{Network, NetworkDefinition, free_subnet, new_id, routed, taken};
use crate::{Local, events};
use mica_api::types::network::{
    ConfigReference, Ipam, IpamConfig, NetworkCreateRequest, NetworkCreateResponse,
};
use mica_model::Timestamp;
use mica_network::{Address, NetworkPlan, Site, Subnet};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

impl Local {
    /// Makes a network.
    pub(crate) fn create_network(&self, request: &NetworkCreateRequest) -> Result<NetworkCreateResponse> {
        check_name(&request.name)?;
        check_request(request)?;
        self.predefine_networks()?;
        let copied = self.after_config(request)?;
        let request = copied.as_ref().unwrap_or(request);
        let routed = routed();
        let network = self.database().write(|transaction| {
            let all = Network::all(transaction).map_err(crate::database::query)?;
            let network = self.new_network(request, (&all, &routed))?;
            network.insert(transaction)?;
            Ok(network)
        })?;
        let made = mica_network::make(&network.definition.plan).map_err(Error::from);
        if let Err(error) = made.and_then(|()| self.rewrite_rules()) {
            // One that cannot be made is not kept.
            let _ = mica_network::remove(&network.definition.plan);
            let _ = self.database().write(|transaction| network.delete(transaction));
            return Err(error);
        }
        self.events.append(&events::network(&network, "create", &[]));
        Ok(NetworkCreateResponse { id: network.id, warning: String::new() })
    }

    /// The request with what the network has that it names as its configuration.
    fn after_config(&self, request: &NetworkCreateRequest) -> Result<Option<NetworkCreateRequest>> {
        let name = &request.config_from.network;
        if name.is_empty() {
            return Ok(None);
        }
        if request.config_only {
            return Err(forbidden("a configuration network cannot depend on another configuration network"));
        }
        let is_specified = !request.ipam.config.is_empty()
            || !request.labels.is_empty()
            || !request.options.is_empty()
            || request.enable_ipv6 == Some(true);
        if is_specified {
            return Err(forbidden(
                "user specified configurations are not supported if the network depends on a configuration network",
            ));
        }
        let found = self.find_network(name).ok().filter(|network| network.definition.is_config_only);
        let absent = || Error::invalid(format!("configuration network {name:?} does not exist"));
        let Network { name, definition, .. } = found.ok_or_else(absent)?;
        Ok(Some(NetworkCreateRequest {
            config_from: ConfigReference { network: name },
            enable_ipv6: Some(definition.has_ipv6),
            ipam: Ipam {
                config: definition.plan.subnets.iter().map(shown_subnet).collect(),
                ..request.ipam.clone()
            },
            options: definition.plan.options,
            labels: definition.labels,
            ..request.clone()
        }))
    }

    fn new_network(
        &self,
        request: &NetworkCreateRequest,
        holders: (&[Network], &[Address]),
    ) -> Result<Network> {
        let id = new_id();
        let driver_name = if request.driver.is_empty() { "bridge" } else { &request.driver };
        let driver_name = match driver_name {
            "none" => "null",
            _ if request.config_only => "null",
            other => other,
        };
        let driver = mica_network::named(driver_name).ok_or_else(|| {
            Error::invalid(format!(
                "could not find plugin {driver_name} in v1 plugin registry: plugin not found"
            ))
        })?;
        let has_ipv4 = request.enable_ipv4.unwrap_or(true);
        let has_ipv6 = request.enable_ipv6.unwrap_or(false)
            || request.ipam.config.iter().any(|config| config.subnet.contains(':'));
        let others = if request.config_only { &[] } else { holders.0 };
        let mut subnets =
            request.ipam.config.iter().map(|config| subnet(config, others)).collect::<Result<Vec<_>>>()?;
        let is_range_chosen = !subnets.is_empty();
        let has =
            |subnets: &[Subnet], is_4: bool| subnets.iter().any(|subnet| subnet.network.ip.is_ipv4() == is_4);
        let is_completed = !request.config_only;
        if is_completed && has_ipv4 && !has(&subnets, true) {
            subnets.insert(0, free_subnet(holders)?);
        }
        if is_completed && has_ipv6 && !has(&subnets, false) {
            let network =
                mica_network::free_network_6(&taken(holders), self.disk.root().as_os_str().as_bytes())
                    .ok_or_else(|| Error::state("all address pools of IPv6 are in use"))?;
            let gateway = Some(network.first_host());
            subnets.push(Subnet { network, range: None, gateway, reserved: BTreeMap::new() });
        }
        let mut options = request.options.clone();
        let link = match (driver_name, options.get("parent"), options.get(BRIDGE_NAME)) {
            ("macvlan" | "ipvlan", Some(parent), _) => parent.clone(),
            ("bridge", _, Some(name)) => name.clone(),
            _ => Site::bridge(&id),
        };
        options.retain(|name, _| name != "com.docker.network.enable_ipv6");
        let plan = NetworkPlan {
            id: id.clone(),
            driver: driver_name.to_owned(),
            link,
            subnets,
            is_internal: request.internal,
            options,
        };
        if !request.config_only {
            driver.check(&plan)?;
        }
        let definition = NetworkDefinition {
            version: 1,
            plan,
            labels: request.labels.clone(),
            has_ipv4,
            has_ipv6,
            is_attachable: request.attachable,
            is_range_chosen,
            is_config_only: request.config_only,
            config_from: request.config_from.network.clone(),
        };
        let created = Timestamp::from(std::time::SystemTime::now());
        Ok(Network { id, name: request.name.clone(), created, definition })
    }
}

fn check_name(name: &str) -> Result<()> {
    let is_legal = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let begins = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    if matches!(name, "bridge" | "host" | "none" | "default" | "container") {
        return Err(Error::state(format!("operation is not permitted on predefined {name} network")));
    }
    if begins && name.chars().all(is_legal) && name.len() <= 255 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid network name: {name:?}: only letters, digits, _ . and - may be in it"
    )))
}

fn forbidden(what: &str) -> Error {
    Error::Unsupported { what: what.to_owned() }
}

fn check_request(request: &NetworkCreateRequest) -> Result<()> {
    if request.config_only && (request.ingress || request.internal || request.attachable) {
        return Err(forbidden(
            "configuration network can only contain network specific fields. Network operator fields like \
             [ ingress | internal | attachable | scope ] are not supported.",
        ));
    }
    if request.ingress || request.scope == "swarm" {
        return Err(Error::Unsupported { what: "networks of swarm clusters do not exist here".to_owned() });
    }
    if !matches!(request.ipam.driver.as_str(), "" | "default") {
        return Err(Error::invalid(format!("invalid IPAM driver: {:?}", request.ipam.driver)));
    }
    if request.ipam.options.as_ref().is_some_and(|options| !options.is_empty()) {
        return Err(Error::invalid("the default IPAM driver has no options"));
    }
    if request.enable_ipv4 == Some(false) && request.enable_ipv6 != Some(true) {
        return Err(Error::invalid("IPv4 or IPv6 must be enabled"));
    }
    Ok(())
}

/// Reads a range and what lies in it.
fn subnet(config: &IpamConfig, networks: &[Network]) -> Result<Subnet> {
    let read = |text: &str| -> Result<Address> {
        text.parse().map_err(|error: mica_network::AddressError| Error::invalid(error.to_string()))
    };
    if config.subnet.is_empty() {
        return Err(Error::invalid("an address range, a gateway or reserved addresses need --subnet"));
    }
    let asked = read(&config.subnet)?;
    let network = asked.network();
    if network.prefix > network.width() - 2 {
        return Err(Error::invalid(format!("the subnet {network} has no room for containers")));
    }
    let ours = networks.iter().flat_map(Network::own_subnets);
    if let Some(other) = ours.map(|subnet| subnet.network).find(|other| other.overlaps(network)) {
        return Err(Error::state(format!(
            "Pool overlaps with other one on this address space: {network} and {other}"
        )));
    }
    let within = |text: &str, what: &str| -> Result<IpAddr> {
        let ip: IpAddr =
            text.parse().map_err(|_| Error::invalid(format!("invalid {what} address: {text}")))?;
        if network.contains(ip) {
            return Ok(ip);
        }
        Err(Error::invalid(format!("no matching subnet for {what} {text}")))
    };
    let range = match config.ip_range.as_str() {
        "" => None,
        text => Some(read(text)?.network()),
    };
    if let Some(range) = range.filter(|range| range.prefix < network.prefix || !network.contains(range.ip)) {
        return Err(Error::invalid(format!("no matching subnet for range {range}")));
    }
    let gateway = match config.gateway.as_str() {
        "" => network.first_host(),
        text => within(text, "gateway")?,
    };
    let reserved = config.auxiliary_addresses.iter();
    let reserved = reserved.map(|(name, text)| Ok((name.clone(), within(text, "aux-address")?)));
    Ok(Subnet { network, range, gateway: Some(gateway), reserved: reserved.collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(subnet: &str, range: &str, gateway: &str) -> IpamConfig {
        IpamConfig {
            subnet: subnet.to_owned(),
            ip_range: range.to_owned(),
            gateway: gateway.to_owned(),
            auxiliary_addresses: BTreeMap::new(),
        }
    }

    #[test]
    fn ranges_and_gateways_lie_in_their_subnet() {
        let read = subnet(&config("10.1.2.3/16", "10.1.5.0/24", ""), &[]).unwrap();
        assert_eq!(read.network, "10.1.0.0/16".parse().unwrap());
        assert_eq!(read.gateway, Some("10.1.0.1".parse().unwrap()));
        for (network, range, gateway) in [
            ("10.1.0.0/16", "10.2.0.0/24", ""),
            ("10.1.0.0/16", "10.0.0.0/8", ""),
            ("10.1.0.0/16", "", "10.2.0.1"),
            ("10.1.0.0/31", "", ""),
            ("10.1.0.0/33", "", ""),
            ("", "10.0.0.0/8", ""),
        ] {
            assert!(subnet(&config(network, range, gateway), &[]).is_err(), "{network} {range} {gateway}");
        }
    }

    #[test]
    fn names_are_those_that_docker_takes() {
        assert!(check_name("front_1.a-b").is_ok());
        for wrong in ["", "-a", "a b", "bridge", "a/b", "..", "none"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
