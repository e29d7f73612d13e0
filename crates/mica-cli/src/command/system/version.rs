//! `version`: this program and the engine it speaks to.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["version"],
    summary: "Show the version of mica and of its engine",
    operands: Operands::NONE,
    flags: || vec![crate::args::format_of_document()],
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Common(11),
};

fn execute(_: &Matches, context: &Context<'_>) -> Outcome {
    let version = context.engine()?.version()?;
    context.print(&format!(
        "Client:\n Version:           {}\n\nServer:\n Version:           {}\n",
        env!("CARGO_PKG_VERSION"),
        version.version
    ))?;
    Ok(SUCCESS)
}
