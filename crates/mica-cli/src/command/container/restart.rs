//! `container restart`: stops containers that run, then starts them.

use crate::args::Matches;
use crate::command::container::{CONTAINERS, each, stop};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container restart", "restart"],
    summary: "Restart one or more containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: stop::flags,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let options = stop::options(matches)?;
    each(&matches.operands(), context, |engine, reference| engine.container_restart(reference, &options))
}
