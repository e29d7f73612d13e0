//! `network connect`: puts a container on a further network.

use crate::args::{Matches, ValueError, list, number, text};
use crate::command::container::definition::network::{parse_ipv4, parse_ipv6};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};
use mica_api::types::network::{EndpointAddresses, EndpointSettings, NetworkConnectRequest};
use std::collections::BTreeMap;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network connect"],
    summary: "Connect a container to a network",
    operands: Operands::exactly(2, &["NETWORK CONTAINER"]),
    flags: || {
        vec![
            list("alias", "strings", "Add network-scoped alias for the container"),
            list("driver-opt", "strings", "driver options for the network").value_parser(parse_option),
            number(
                "gw-priority",
                "Highest gw-priority provides the default gateway. Accepts positive and negative values",
            ),
            text("ip", "ip", "IPv4 address (e.g., \"172.30.100.104\")").value_parser(parse_ipv4),
            text("ip6", "ip", "IPv6 address (e.g., \"2001:db8::33\")").value_parser(parse_ipv6),
            list("link", "list", "Add link to another container"),
            list("link-local-ip", "ips", "Add a link-local address for the container"),
        ]
    },
    planned: &[],
    execute,
    examples: &[(
        "Put a running container on another network, with a name of its own",
        "network connect --alias db back store",
    )],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let request = request(matches);
    context.engine()?.network_connect(&matches.operand(0).unwrap_or_default(), &request)?;
    Ok(SUCCESS)
}

fn request(matches: &Matches) -> NetworkConnectRequest {
    let unless_empty = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let addresses = EndpointAddresses {
        ipv4_address: matches.text_or_empty("ip"),
        ipv6_address: matches.text_or_empty("ip6"),
        link_local_ips: comma_separated(&matches.list("link-local-ip")),
    };
    let options = comma_separated(&matches.list("driver-opt"));
    let options: BTreeMap<String, String> = options
        .iter()
        .filter_map(|typed| typed.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let settings = EndpointSettings {
        aliases: unless_empty(comma_separated(&matches.list("alias"))),
        links: unless_empty(matches.list("link")),
        driver_opts: Some(options).filter(|options| !options.is_empty()),
        gw_priority: matches.number("gw-priority").unwrap_or_default(),
        ipam_config: Some(addresses).filter(|addresses| *addresses != EndpointAddresses::default()),
        ..EndpointSettings::default()
    };
    NetworkConnectRequest {
        container: matches.operand(1).unwrap_or_default(),
        endpoint_config: Some(settings),
    }
}

fn parse_option(typed: &str) -> Result<String, ValueError> {
    if typed.split(',').all(|pair| pair.contains('=')) {
        return Ok(typed.to_owned());
    }
    Err(ValueError { message: "invalid key/value pair format in driver options".to_owned() })
}

/// The values of flags that may hold several.
pub(super) fn comma_separated(typed: &[String]) -> Vec<String> {
    typed.iter().flat_map(|text| text.split(',')).map(|part| part.trim().to_owned()).collect()
}
