//! `container rename`: gives a container another name.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS, engine_words};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container rename", "rename"],
    summary: "Rename a container",
    operands: Operands::exactly(2, &["CONTAINER NEW_NAME"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let [old, new] = [0, 1].map(|index| matches.operand(index).unwrap_or_default());
    if old.trim().is_empty() || new.trim().is_empty() {
        return Err(Failure::refused("Error: Neither old nor new names may be empty"));
    }
    let answer = context.engine()?.container_rename(old.trim(), new.trim());
    answer.map_err(|error| {
        context.say_error(&format!("{}\n", engine_words(&error)));
        Failure::refused(format!("Error: failed to rename container named {old}"))
    })?;
    Ok(SUCCESS)
}
