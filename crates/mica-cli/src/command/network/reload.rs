//! `network reload`: makes bridges and rules again after somebody has flushed them.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network reload"],
    summary: "Make the bridges and firewall rules of all networks again",
    operands: Operands::NONE,
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[("After `nft flush ruleset`", "network reload")],
    visibility: Visibility::Plain,
};

fn execute(_: &Matches, context: &Context<'_>) -> Outcome {
    context.engine()?.network_reload()?;
    Ok(SUCCESS)
}
