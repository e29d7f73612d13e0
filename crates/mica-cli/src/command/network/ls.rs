//! `network ls`: a row for each network.

use crate::args::{Matches, filter, format_of_rows, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::format::Layout;
use crate::output::time::local_nanoseconds;
use crate::report::{Outcome, SUCCESS};
use crate::row::{self, Row};
use jiff::tz::TimeZone;
use mica_api::types::network::{NetworkInspect, NetworkListOptions};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network ls", "network list"],
    summary: "List networks",
    operands: Operands::NONE,
    flags: || {
        vec![
            filter("Provide filter values (e.g. \"driver=bridge\")"),
            format_of_rows(),
            switch("no-trunc", "Do not truncate the output"),
            switch("quiet", "Only display network IDs").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("Those that nobody is on", "network ls -f dangling=true")],
    visibility: Visibility::Plain,
};

const LAYOUT: Layout = Layout {
    table: "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let is_quiet = matches.on("quiet");
    let typed = matches.text_or_empty("format");
    let format = if typed.is_empty() && !is_quiet { context.file().networks_format.clone() } else { typed };
    let format = row::format(&format, &LAYOUT, is_quiet)?;
    let networks = context.engine()?.network_list(&NetworkListOptions { filters: matches.filters() })?;
    let zone = context.config.zone();
    let rows: Vec<Row> =
        networks.iter().map(|network| row(network, !matches.on("no-trunc"), &zone)).collect();
    context.print(&row::show(&format, &rows)?)?;
    Ok(SUCCESS)
}

fn row(network: &NetworkInspect, is_truncated: bool, zone: &TimeZone) -> Row {
    let id = if is_truncated { network.id.get(..12).unwrap_or(&network.id) } else { &network.id };
    let labels: Vec<String> = network.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Row::new(
        "*formatter.networkContext",
        [
            ("CreatedAt", local_nanoseconds(network.created, zone)),
            ("Driver", network.driver.clone()),
            ("ID", id.to_owned()),
            ("IPv4", network.enable_ipv4.to_string()),
            ("IPv6", network.enable_ipv6.to_string()),
            ("Internal", network.internal.to_string()),
            ("Labels", labels.join(",")),
            ("Name", network.name.clone()),
            ("Scope", network.scope.clone()),
        ],
    )
}
