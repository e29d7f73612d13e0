//! Which networks a container is on, and how it is reached there: flags of `run` and `create`.

use crate::args::{Matches, ValueError, list, switch, text};
use crate::command::container::definition::publish;
use crate::report::Failure;
use clap::Arg;
use mica_api::types::container::{ContainerConfig, Empty};
use mica_api::types::host_config::HostConfig;
use mica_api::types::network::{EndpointAddresses, EndpointSettings, NetworkingConfig};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        list("add-host", "list", "Add a custom host-to-IP mapping (host:ip)").value_parser(parse_host),
        list("dns", "list", "Set custom DNS servers").value_parser(parse_server),
        list("dns-option", "list", "Set DNS options").alias("dns-opt"),
        list("dns-search", "list", "Set custom DNS search domains"),
        list("expose", "list", "Expose a port or a range of ports").value_parser(publish::parse_exposed),
        text("ip", "ip", "IPv4 address (e.g., 172.30.100.104)").value_parser(parse_ipv4),
        text("ip6", "ip", "IPv6 address (e.g., 2001:db8::33)").value_parser(parse_ipv6),
        list("link", "list", "Add link to another container"),
        list("link-local-ip", "list", "Container IPv4/IPv6 link-local addresses"),
        text("mac-address", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
        list("network", "network", "Connect a container to a network").alias("net"),
        list("network-alias", "list", "Add network-scoped alias for the container").alias("net-alias"),
        list("publish", "list", "Publish a container's port(s) to the host")
            .short('p')
            .value_parser(publish::parse),
        switch("publish-all", "Publish all exposed ports to random ports").short('P'),
    ]
}

/// A network that was typed, with what is wished there.
#[derive(Debug, Clone, PartialEq, Default)]
struct Wish {
    name: String,
    settings: EndpointSettings,
}

/// Puts what was typed into the request.
///
/// # Errors
/// Flags that exclude each other, networks named in a way that makes no sense.
pub fn apply(
    matches: &Matches,
    config: &mut ContainerConfig,
    host: &mut HostConfig,
) -> Result<NetworkingConfig, Failure> {
    let unless_empty = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    host.dns = unless_empty(matches.list("dns"));
    host.dns_options = unless_empty(matches.list("dns-option"));
    host.dns_search = unless_empty(matches.list("dns-search"));
    host.extra_hosts =
        unless_empty(matches.list("add-host")).map(|hosts| hosts.into_iter().map(with_colon).collect());
    host.links = unless_empty(matches.list("link"));
    host.publish_all_ports = matches.on("publish-all");
    ports(matches, config, host);
    let mut wishes: Vec<Wish> =
        matches.list("network").iter().map(|typed| wish(typed)).collect::<Result<_, _>>()?;
    apply_to_first(matches, &mut wishes)?;
    host.network_mode = wishes.first().map_or_else(|| "default".to_owned(), |wish| wish.name.clone());
    let mut networking = NetworkingConfig::default();
    let is_single = wishes.len() == 1;
    for Wish { name, settings } in wishes {
        if is_single && settings == EndpointSettings::default() {
            break;
        }
        if networking.endpoints_config.insert(name.clone(), settings).is_some() {
            return Err(Failure::refused_launch(format!("network {name:?} is specified multiple times")));
        }
    }
    Ok(networking)
}

fn ports(matches: &Matches, config: &mut ContainerConfig, host: &mut HostConfig) {
    let mut exposed: BTreeMap<String, Empty> = BTreeMap::new();
    for typed in matches.list("publish") {
        // Each was read when the command line was.
        for (key, bindings) in publish::bindings(&typed).unwrap_or_default() {
            exposed.insert(key.clone(), Empty {});
            let known = host.port_bindings.entry(key).or_default().get_or_insert_default();
            for binding in bindings.into_iter().flatten() {
                if !known.contains(&binding) {
                    known.push(binding);
                }
            }
        }
    }
    for typed in matches.list("expose") {
        exposed.extend(publish::exposed(&typed).unwrap_or_default());
    }
    config.exposed_ports = Some(exposed).filter(|ports| !ports.is_empty());
}

/// Flags without a network's name are about the first one.
fn apply_to_first(matches: &Matches, wishes: &mut Vec<Wish>) -> Result<(), Failure> {
    let aliases = matches.list("network-alias");
    let (ip, ip6) = (matches.text_or_empty("ip"), matches.text_or_empty("ip6"));
    let mac = matches.text_or_empty("mac-address");
    let further = matches.list("link-local-ip");
    let texts = [&ip, &ip6, &mac];
    if aliases.is_empty() && further.is_empty() && texts.iter().all(|text| text.is_empty()) {
        return Ok(());
    }
    if wishes.is_empty() {
        wishes.push(Wish { name: "default".to_owned(), ..Wish::default() });
    }
    let Some(Wish { settings, .. }) = wishes.first_mut() else { return Ok(()) };
    let twice = |flag: &str, key: &str| {
        Err(Failure::refused_launch(format!(
            "conflicting options: cannot specify both --{flag} and per-network {key}"
        )))
    };
    if !aliases.is_empty() {
        if settings.aliases.is_some() {
            return twice("network-alias", "alias");
        }
        settings.aliases = Some(aliases);
    }
    if !mac.is_empty() {
        if !settings.mac_address.is_empty() {
            return twice("mac-address", "MAC address");
        }
        settings.mac_address = mac;
    }
    if !further.is_empty() {
        let addresses = settings.ipam_config.get_or_insert_default();
        if !addresses.link_local_ips.is_empty() {
            return twice("link-local-ip", "link-local IP addresses");
        }
        addresses.link_local_ips = further;
    }
    if !ip.is_empty() || !ip6.is_empty() {
        let addresses = settings.ipam_config.get_or_insert_default();
        if !ip.is_empty() && !addresses.ipv4_address.is_empty() {
            return twice("ip", "IPv4 address");
        }
        if !ip6.is_empty() && !addresses.ipv6_address.is_empty() {
            return twice("ip6", "IPv6 address");
        }
        let keep = |typed: String, known: &mut String| {
            if !typed.is_empty() {
                *known = typed;
            }
        };
        keep(ip, &mut addresses.ipv4_address);
        keep(ip6, &mut addresses.ipv6_address);
    }
    Ok(())
}

/// `NAME`, or `name=NAME,alias=…,ip=…`.
fn wish(typed: &str) -> Result<Wish, Failure> {
    let is_long = typed.split(',').any(|field| field.contains('='));
    if !is_long {
        if typed.is_empty() {
            return Err(Failure::refused_launch("no name set for network"));
        }
        return Ok(Wish { name: typed.to_owned(), ..Wish::default() });
    }
    let mut wish = Wish::default();
    for field in typed.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| {
            Failure::refused_launch(format!(
                "invalid argument {typed:?} for \"--network\" flag: invalid field {field}"
            ))
        })?;
        take_field(&mut wish, key.trim().to_ascii_lowercase().as_str(), value.trim()).map_err(|reason| {
            Failure::refused_launch(format!("invalid argument {typed:?} for \"--network\" flag: {reason}"))
        })?;
    }
    if wish.name.is_empty() {
        return Err(Failure::refused_launch("no name set for network"));
    }
    Ok(wish)
}

fn take_field(wish: &mut Wish, key: &str, value: &str) -> Result<(), String> {
    let settings = &mut wish.settings;
    let addresses = || EndpointAddresses::default();
    match key {
        "name" => value.clone_into(&mut wish.name),
        "alias" => settings.aliases.get_or_insert_default().push(value.to_owned()),
        "ip" => {
            let text = parse_ipv4(value).map_err(|error| error.message)?;
            settings.ipam_config.get_or_insert_with(addresses).ipv4_address = text;
        }
        "ip6" => {
            let text = parse_ipv6(value).map_err(|error| error.message)?;
            settings.ipam_config.get_or_insert_with(addresses).ipv6_address = text;
        }
        "mac-address" => value.clone_into(&mut settings.mac_address),
        "link-local-ip" => {
            settings.ipam_config.get_or_insert_with(addresses).link_local_ips.push(value.to_owned());
        }
        "driver-opt" => {
            let (name, value) =
                value.split_once('=').ok_or("invalid key value pair format in driver options")?;
            settings.driver_opts.get_or_insert_default().insert(name.to_owned(), value.to_owned());
        }
        "gw-priority" => {
            settings.gw_priority = value.parse().map_err(|_| format!("invalid gw-priority ({value})"))?
        }
        _ => return Err(format!("invalid field key {key}")),
    }
    Ok(())
}

/// Checks an address of IPv4.
///
/// # Errors
/// It is none.
pub fn parse_ipv4(typed: &str) -> Result<String, ValueError> {
    match typed.trim().parse::<Ipv4Addr>() {
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => Err(ValueError { message: format!("failed to parse IP: {typed:?}") }),
    }
}

/// Checks an address of IPv6.
///
/// # Errors
/// It is none.
pub fn parse_ipv6(typed: &str) -> Result<String, ValueError> {
    match typed.trim().parse::<Ipv6Addr>() {
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => Err(ValueError { message: format!("failed to parse IP: {typed:?}") }),
    }
}

fn parse_server(typed: &str) -> Result<String, ValueError> {
    match typed.parse::<IpAddr>() {
        Ok(_) => Ok(typed.to_owned()),
        Err(_) => Err(ValueError { message: format!("{typed} is not an ip address") }),
    }
}

fn parse_host(typed: &str) -> Result<String, ValueError> {
    let wrong = || ValueError { message: format!("bad format for add-host: {typed:?}") };
    let (name, address) = typed.split_once([':', '=']).ok_or_else(wrong)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(wrong());
    }
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if address == "host-gateway" || bare.parse::<IpAddr>().is_ok() {
        return Ok(typed.to_owned());
    }
    Err(ValueError { message: format!("invalid IP address in add-host: {address:?}") })
}

/// `name=address` is another spelling of `name:address`.
fn with_colon(typed: String) -> String {
    match typed.split_once([':', '=']) {
        Some((name, address)) => format!("{name}:{}", address.trim_start_matches('[').trim_end_matches(']')),
        None => typed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_a_short_and_a_long_form() {
        assert_eq!(wish("front").unwrap().name, "front");
        let long = wish("name=front,alias=a,alias=b,ip=10.0.0.5,gw-priority=7,mac-address=02:42:ac:11:00:02")
            .unwrap();
        assert_eq!(long.name, "front");
        assert_eq!(long.settings.aliases, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(long.settings.ipam_config.unwrap().ipv4_address, "10.0.0.5");
        assert_eq!(long.settings.gw_priority, 7);
        for wrong in ["", "alias=a", "name=a,x=1", "name=a,ip=b", "name=a,b", "name=a,driver-opt=x"] {
            assert!(wish(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_have_two_spellings() {
        assert_eq!(with_colon(parse_host("a=[fd00::1]").unwrap()), "a:fd00::1");
        assert_eq!(with_colon(parse_host("a:host-gateway").unwrap()), "a:host-gateway");
        for wrong in ["", "a", ":1.2.3.4", "a:b", "a b:1.2.3.4"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
    }
}
