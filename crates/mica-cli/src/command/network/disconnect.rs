//! `network disconnect`: takes a container from a network.

use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network disconnect"],
    summary: "Disconnect a container from a network",
    operands: Operands::exactly(2, &["NETWORK CONTAINER"]),
    flags: || vec![switch("force", "Force the container to disconnect from a network").short('f')],
    planned: &[],
    execute,
    examples: &[("Take a container from the default network", "network disconnect bridge web")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let [network, container] = [0, 1].map(|index| matches.operand(index).unwrap_or_default());
    context.engine()?.network_disconnect(&network, &container, matches.on("force"))?;
    Ok(SUCCESS)
}
