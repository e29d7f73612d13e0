//! `manifest rm`: forgets lists of manifests of this machine.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["manifest rm"],
    summary: "Delete one or more manifest lists from local storage",
    operands: Operands::at_least(1, &["MANIFEST_LIST [MANIFEST_LIST...]"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[("One", "manifest rm team/app:v1")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let removed = matches.operands().into_iter().map(|list| engine.manifest_remove(&list));
    let failures: Vec<String> = removed.filter_map(Result::err).map(|error| error.message).collect();
    if failures.is_empty() { Ok(SUCCESS) } else { Err(Failure::refused(failures.join("\n"))) }
}
