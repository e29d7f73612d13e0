//! `container diff`: what a container changed in its file system.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::ui::escape_control;
use crate::report::{Outcome, SUCCESS};
use std::fmt::Write as _;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container diff", "diff"],
    summary: "Inspect changes to files or directories on a container's filesystem",
    operands: Operands::exactly(1, &["CONTAINER"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let reference = matches.operand(0).unwrap_or_default();
    let mut text = String::new();
    for change in context.engine()?.container_changes(&reference)? {
        let letter = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        let _ = writeln!(text, "{letter} {}", escape_control(&change.path));
    }
    context.print(&text)?;
    Ok(SUCCESS)
}
