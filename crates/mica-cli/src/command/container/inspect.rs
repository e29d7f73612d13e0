//! `container inspect`: everything about containers.

use crate::args::{Matches, format_of_document, switch};
use crate::command::container::CONTAINERS;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{inspect_all, to_value};
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container inspect"],
    summary: "Display detailed information on one or more containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: || vec![format_of_document(), switch("size", "Display total file sizes").short('s')],
    planned: &[],
    execute,
    examples: &[(
        "Where its changes lie on this host",
        "container inspect -f {{.GraphDriver.Data.UpperDir}} web",
    )],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let is_sized = matches.on("size");
    inspect_all(&matches.operands(), &matches.text_or_empty("format"), context, |reference| {
        to_value(&engine.container_inspect(reference, is_sized)?)
    })
}
