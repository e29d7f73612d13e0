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
    match matches.operand(1) {
        Some(typed) => {
            let Some(Some(bindings)) = ports.get(&with_protocol(&typed)?) else {
                let message = format!("Error: No public port '{typed}' published for {reference}");
                return Err(Failure::refused(message));
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
        Ok(_) => {
            Err(Failure::refused(format!("Error: invalid protocol in {typed}: tcp, udp and sctp exist")))
        }
        Err(_) => {
            Err(Failure::refused(format!("Error: invalid port ({typed}): a port is a number up to 65535")))
        }
    }
}

fn address(binding: &PortBinding) -> String {
    if binding.host_ip.contains(':') {
        return format!("[{}]:{}", binding.host_ip, binding.host_port);
    }
    format!("{}:{}", binding.host_ip, binding.host_port)
}
