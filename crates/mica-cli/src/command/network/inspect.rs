//! `network inspect`: everything about networks.

use crate::args::{Matches, format_of_document, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{inspect_all, to_value};
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network inspect"],
    summary: "Display detailed information on one or more networks",
    operands: Operands::at_least(1, &["NETWORK [NETWORK...]"]),
    flags: || vec![format_of_document(), switch("verbose", "Verbose output for diagnostics").short('v')],
    planned: &[],
    execute,
    examples: &[("Its address range", "network inspect -f '{{(index .IPAM.Config 0).Subnet}}' bridge")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    // What `--verbose` adds in docker is about the services of a cluster, and there are none.
    inspect_all(&matches.operands(), &matches.text_or_empty("format"), context, |reference| {
        let mut network = engine.network_inspect(reference)?;
        if matches.on("verbose") {
            network.services = Some(std::collections::BTreeMap::new());
        }
        to_value(&network)
    })
}
