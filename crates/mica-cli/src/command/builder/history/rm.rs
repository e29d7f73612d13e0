//! `history rm`: forgets builds.

use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["buildx history rm", "builder history rm"],
    summary: "Remove build records",
    operands: Operands::at_least(0, &["[REF...]"]),
    flags: || vec![switch("all", "Remove all build records")],
    planned: &[],
    execute,
    examples: &[
        ("Forget the last build", "builder history rm ^0"),
        ("Forget all of them", "builder history rm --all"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let (references, all) = (matches.operands(), matches.on("all"));
    match (references.is_empty(), all) {
        (true, false) => return Err(Failure::refused("rm requires at least one argument")),
        (false, true) => return Err(Failure::refused("rm requires either --all or at least one argument")),
        _ => {}
    }
    context.engine()?.build_history_remove(&references, all)?;
    Ok(SUCCESS)
}
