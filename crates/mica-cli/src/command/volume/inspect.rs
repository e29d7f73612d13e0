//! `volume inspect`: everything about volumes.

use crate::args::{Matches, format_of_document};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{inspect_all, to_value};
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["volume inspect"],
    summary: "Display detailed information on one or more volumes",
    operands: Operands::at_least(1, &["VOLUME [VOLUME...]"]),
    flags: || vec![format_of_document()],
    planned: &[],
    execute,
    examples: &[("Where the data of a volume lies", "volume inspect -f '{{.Mountpoint}}' data")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    inspect_all(&matches.operands(), &matches.text_or_empty("format"), context, |name| {
        to_value(&engine.volume_inspect(name)?)
    })
}
