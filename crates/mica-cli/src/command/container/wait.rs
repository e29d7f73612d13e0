//! `container wait`: blocks until containers end and prints their exit codes.

use crate::args::Matches;
use crate::command::container::CONTAINERS;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Gathered, Outcome};
use mica_api::types::container::WaitCondition;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container wait", "wait"],
    summary: "Block until one or more containers stop, then print their exit codes",
    operands: Operands::at_least(1, CONTAINERS),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    for reference in matches.operands() {
        if let Some(end) = gathered.note(engine.container_wait(&reference, WaitCondition::NotRunning)) {
            context.print_line(&end.status_code.to_string())?;
        }
    }
    gathered.finish(context)
}
