//! `network create`: makes a network.

use crate::args::{Matches, ValueError, list, switch, text};
use crate::command::network::connect::comma_separated;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::network::{ConfigReference, Ipam, IpamConfig, NetworkCreateRequest};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network create"],
    summary: "Create a network",
    operands: Operands::exactly(1, &["NETWORK"]),
    flags: || {
        vec![
            switch("attachable", "Enable manual container attachment"),
            list(
                "aux-address",
                "map",
                "Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])",
            )
            .value_parser(parse_pair),
            text("config-from", "string", "The network from which to copy the configuration"),
            switch("config-only", "Create a configuration only network"),
            text("driver", "string", "Driver to manage the Network (default \"bridge\")").short('d'),
            list("gateway", "ips", "IPv4 or IPv6 Gateway for the master subnet"),
            switch("internal", "Restrict external access to the network"),
            list("ip-range", "strings", "Allocate container ip from a sub-range"),
            text("ipam-driver", "string", "IP Address Management Driver (default \"default\")"),
            list("ipam-opt", "map", "Set IPAM driver specific options (default map[])")
                .value_parser(parse_pair),
            switch("ipv4", "Enable or disable IPv4 address assignment (default true)"),
            switch("ipv6", "Enable or disable IPv6 address assignment"),
            list("label", "list", "Set metadata on a network"),
            list("opt", "map", "Set driver specific options (default map[])")
                .short('o')
                .value_parser(parse_pair),
            list("subnet", "strings", "Subnet in CIDR format that represents a network segment"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("A network whose containers find each other by name", "network create back"),
        ("One with a range of addresses of your choice", "network create --subnet 10.20.0.0/16 lab"),
        ("One without a way out", "network create --internal vault"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let request = request(matches)?;
    let created = context.engine()?.network_create(&request)?;
    if !created.warning.is_empty() {
        context.warn(&created.warning);
    }
    context.print_line(&created.id)?;
    Ok(SUCCESS)
}

fn request(matches: &Matches) -> Result<NetworkCreateRequest, Failure> {
    let labels = matches.list("label").into_iter().map(|typed| match typed.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (typed, String::new()),
    });
    Ok(NetworkCreateRequest {
        name: matches.operand(0).unwrap_or_default(),
        driver: matches.text("driver").unwrap_or_else(|| "bridge".to_owned()),
        internal: matches.on("internal"),
        attachable: matches.on("attachable"),
        config_only: matches.on("config-only"),
        config_from: ConfigReference { network: matches.text("config-from").unwrap_or_default() },
        enable_ipv4: matches.switch("ipv4"),
        enable_ipv6: matches.switch("ipv6"),
        ipam: Ipam {
            driver: matches.text("ipam-driver").unwrap_or_else(|| "default".to_owned()),
            options: Some(pairs(&matches.list("ipam-opt"))).filter(|options| !options.is_empty()),
            config: ranges(matches)?,
        },
        options: pairs(&matches.list("opt")),
        labels: labels.collect(),
        ..NetworkCreateRequest::default()
    })
}

/// Each range of addresses with what lies in it.
fn ranges(matches: &Matches) -> Result<Vec<IpamConfig>, Failure> {
    let subnets = comma_separated(&matches.list("subnet"));
    let mut configs: Vec<IpamConfig> =
        subnets.into_iter().map(|subnet| IpamConfig { subnet, ..IpamConfig::default() }).collect();
    for config in &configs {
        if prefix(&config.subnet).is_none() {
            return Err(Failure::refused(format!("invalid CIDR address: {}", config.subnet)));
        }
    }
    for range in comma_separated(&matches.list("ip-range")) {
        let (first, _) =
            prefix(&range).ok_or_else(|| Failure::refused(format!("invalid CIDR address: {range}")))?;
        let config = place(&mut configs, first)
            .ok_or_else(|| Failure::refused(format!("no matching subnet for range {range}")))?;
        if !config.ip_range.is_empty() {
            return Err(Failure::refused(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                config.ip_range, config.subnet
            )));
        }
        config.ip_range = range;
    }
    for gateway in comma_separated(&matches.list("gateway")) {
        let config = gateway.parse().ok().and_then(|ip| place(&mut configs, ip));
        let config =
            config.ok_or_else(|| Failure::refused(format!("no matching subnet for gateway {gateway}")))?;
        if !config.gateway.is_empty() {
            return Err(Failure::refused(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                config.gateway, config.subnet
            )));
        }
        config.gateway = gateway;
    }
    for (name, address) in pairs(&matches.list("aux-address")) {
        let config = address.parse().ok().and_then(|ip| place(&mut configs, ip));
        let config = config
            .ok_or_else(|| Failure::refused(format!("no matching subnet for aux-address {address}")))?;
        config.auxiliary_addresses.insert(name, address);
    }
    Ok(configs)
}

fn prefix(text: &str) -> Option<(IpAddr, u32)> {
    let (ip, prefix) = text.split_once('/')?;
    Some((ip.parse().ok()?, prefix.parse().ok()?))
}

/// The range that an address lies in.
fn place(configs: &mut [IpamConfig], ip: IpAddr) -> Option<&mut IpamConfig> {
    configs
        .iter_mut()
        .find(|config| prefix(&config.subnet).is_some_and(|(base, bits)| is_within(ip, base, bits)))
}

fn is_within(ip: IpAddr, base: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        a.checked_shr(width.saturating_sub(bits)) == b.checked_shr(width.saturating_sub(bits))
    };
    match (ip, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

fn parse_pair(typed: &str) -> Result<String, ValueError> {
    match typed.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(typed.to_owned()),
        _ => Err(ValueError { message: format!("invalid key=value pair: {typed}") }),
    }
}

fn pairs(typed: &[String]) -> BTreeMap<String, String> {
    let split = typed.iter().filter_map(|pair| pair.split_once('='));
    split.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
