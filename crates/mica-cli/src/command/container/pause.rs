//! `container pause`: freezes containers.

use crate::args::Matches;
use crate::command::container::{CONTAINERS, each};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container pause", "pause"],
    summary: "Pause all processes within one or more containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    each(&matches.operands(), context, |engine, reference| engine.container_pause(reference))
}
