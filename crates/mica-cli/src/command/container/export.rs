//! `container export`: the whole file system of a container as one tar archive.

use crate::args::{Matches, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::file_output;
use crate::report::{Failure, Outcome, SUCCESS};
use std::path::Path;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container export", "export"],
    summary: "Export a container's filesystem as a tar archive",
    operands: Operands::exactly(1, &["CONTAINER"]),
    flags: || vec![text("output", "string", "Write to a file, instead of STDOUT").short('o')],
    planned: &[],
    execute,
    examples: &[("Into a file", "export -o box.tar box")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let reference = matches.operand(0).unwrap_or_default();
    let path = matches.text("output").filter(|path| !path.is_empty());
    match &path {
        None if context.terminals().output => {
            let message = "cowardly refusing to save to a terminal. Use the -o flag or redirect";
            return Err(Failure::refused(message));
        }
        None => {}
        Some(path) => file_output::check(Path::new(path))
            .map_err(|reason| Failure::refused(format!("failed to export container: {reason}")))?,
    }
    let engine = context.engine()?;
    match path {
        None => context.with_output(|out| Ok(engine.container_export(&reference, out)?))?,
        Some(path) => {
            file_output::write(Path::new(&path), |out| Ok(engine.container_export(&reference, out)?))?;
        }
    }
    Ok(SUCCESS)
}
