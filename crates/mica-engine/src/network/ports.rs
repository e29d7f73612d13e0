//! Which ports of a container are to be published, out of what docker's requests say.

use crate::container::record::Definition;
use crate::error::{Error, Result};
use mica_api::types::container::Port;
use mica_api::types::host_config::{HostConfig, PortBinding};
use mica_model::Filters;
use mica_network::{PortWish, Protocol};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// `80/tcp`: a port and its protocol.
pub(crate) fn parse_private(text: &str) -> Result<(u16, Protocol)> {
    let wrong = || Error::invalid(format!("invalid port specification: {text:?}"));
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = Protocol::of_name(&protocol.to_ascii_lowercase()).ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    Ok((port, protocol))
}

fn parse_binding(binding: &PortBinding) -> Result<(Option<IpAddr>, Option<RangeInclusive<u16>>)> {
    let wrong = || Error::invalid(format!("invalid port specification: {:?}", binding.host_port));
    let host = match binding.host_ip.trim_matches(['[', ']']) {
        "" => None,
        text => {
            let ip = text.parse().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?;
            Some(ip)
        }
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let ports = match binding.host_port.split_once('-') {
        _ if matches!(binding.host_port.as_str(), "" | "0") => None,
        None => Some(number(&binding.host_port)?).map(|port| port..=port),
        Some((first, last)) => {
            let range = number(first)?..=number(last)?;
            if range.is_empty() || *range.start() == 0 {
                return Err(wrong());
            }
            Some(range)
        }
    };
    Ok((host, ports))
}

/// Refuses what makes no sense.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    for (private, bindings) in &host.port_bindings {
        parse_private(private)?;
        for binding in bindings.iter().flatten() {
            parse_binding(binding)?;
        }
    }
    Ok(())
}

/// All ports that a container wants published; `address` is where those go that name none.
pub(crate) fn wishes(definition: &Definition, address: Option<IpAddr>) -> Result<Vec<PortWish>> {
    let host = &definition.host_config;
    let mut wishes = Vec::new();
    for (text, bindings) in &host.port_bindings {
        let (private, protocol) = parse_private(text)?;
        let all = PortBinding::default();
        let bindings = bindings.as_deref().filter(|list| !list.is_empty());
        for binding in bindings.unwrap_or(std::slice::from_ref(&all)) {
            let (host, ports) = parse_binding(binding)?;
            wishes.push(PortWish { protocol, private, host: host.or(address), ports });
        }
    }
    if host.publish_all_ports {
        let exposed = definition.config.exposed_ports.iter().flatten().map(|(text, _)| text);
        for text in exposed.filter(|text| !host.port_bindings.contains_key(*text)) {
            let (private, protocol) = parse_private(text)?;
            wishes.push(PortWish { protocol, private, host: address, ports: None });
        }
    }
    // An address of all of IPv4 means only that, while none means all of both families.
    Ok(wishes)
}

/// The filters `publish` and `expose` of a list: ports of the host, and of containers.
#[derive(Debug, Default)]
pub(crate) struct PortFilter {
    published: Vec<(RangeInclusive<u16>, Protocol)>,
    exposed: Vec<(RangeInclusive<u16>, Protocol)>,
}

impl PortFilter {
    /// Reads `80`, `80/udp` and `8000-8080/tcp`.
    pub(crate) fn read(filters: &Filters) -> Result<Self> {
        let all = |key: &str| filters.values(key).map(|value| parse_range(key, value)).collect::<Result<_>>();
        Ok(Self { published: all("publish")?, exposed: all("expose")? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.published.is_empty() && self.exposed.is_empty()
    }

    /// Whether one of the ports is one of those.
    pub(crate) fn wants(&self, ports: &[Port]) -> bool {
        let is_in = |list: &[(RangeInclusive<u16>, Protocol)], port: u16, protocol: &str| {
            list.iter().any(|(range, wanted)| range.contains(&port) && wanted.name() == protocol)
        };
        ports.iter().any(|port| {
            port.public_port.is_some_and(|public| is_in(&self.published, public, &port.protocol))
                || is_in(&self.exposed, port.private_port, &port.protocol)
        })
    }
}

fn parse_range(key: &str, value: &str) -> Result<(RangeInclusive<u16>, Protocol)> {
    let wrong = || Error::invalid(format!("invalid filter '{key}={value}'"));
    let (ports, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let protocol = Protocol::of_name(&protocol.to_ascii_lowercase()).ok_or_else(wrong)?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let range = number(first)?..=number(last)?;
    if range.is_empty() { Err(wrong()) } else { Ok((range, protocol)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(host_ip: &str, host_port: &str) -> PortBinding {
        PortBinding { host_ip: host_ip.to_owned(), host_port: host_port.to_owned() }
    }

    #[test]
    fn ports_are_read_as_docker_writes_them() {
        assert_eq!(parse_private("80/tcp").unwrap(), (80, Protocol::Tcp));
        assert_eq!(parse_private("53/UDP").unwrap(), (53, Protocol::Udp));
        for wrong in ["", "0/tcp", "80/icmp", "65536/tcp", "80-81/tcp"] {
            assert!(parse_private(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_binding(&binding("", "")).unwrap(), (None, None));
        assert_eq!(parse_binding(&binding("[::1]", "8080")).unwrap().0, Some("::1".parse().unwrap()));
        assert_eq!(parse_binding(&binding("", "80-90")).unwrap().1, Some(80..=90));
        for wrong in ["90-80", "a", "1-", "-1", "0-5"] {
            assert!(parse_binding(&binding("", wrong)).is_err(), "{wrong}");
        }
        assert!(parse_binding(&binding("localhost", "80")).is_err());
    }
}
