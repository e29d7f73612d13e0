//! `container port`: which host ports reach a container.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::host_config::PortBinding;
use std::fmt::Write as _;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container port", "port"],
    summary: "List port mappings or a specific mapping for the container",
    operands: Operands::between(1, 2, &["CONTAINER [PRIVATE_PORT[/PROTO]]"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let reference = matches.operand(0).unwrap_or_default();
    let ports = context.engine()?.container_inspect(&reference, false)?.network_settings.ports;
    let mut text = String::new();
    match matches.operand(1).map(|typed| with_protocol(&typed)).transpose()? {
        Some(wanted) => {
            let Some(Some(bindings)) = ports.get(&wanted) else {
                return Err(Failure::refused(format!("no public port '{wanted}' published for {reference}")));
            };
            for binding in bindings {
                let _ = writeln!(text, "{}", address(binding));
            }
        }
        None => {
            for (private, bindings) in &ports {
                for binding in bindings.iter().flatten() {
                    let _ = writeln!(text, "{private} -> {}", address(binding));
                }
            }
        }
    }
    context.print(&text)?;
    Ok(SUCCESS)
}

fn with_protocol(typed: &str) -> Result<String, Failure> {
    let (port, protocol) = typed.split_once('/').unwrap_or((typed, "tcp"));
    match port.parse::<u16>() {
        Ok(port) if matches!(protocol, "tcp" | "udp" | "sctp") => Ok(format!("{port}/{protocol}")),
        _ => Err(Failure::refused(format!(
            "invalid port '{typed}': a number up to 65535, then /tcp, /udp or /sctp"
        ))),
    }
}

fn address(binding: &PortBinding) -> String {
    if binding.host_ip.contains(':') {
        return format!("[{}]:{}", binding.host_ip, binding.host_port);
    }
    format!("{}:{}", binding.host_ip, binding.host_port)
}
