//! `image inspect`: everything about images.

use crate::args::{Matches, PlannedFlag, format_of_document};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{inspect_all, to_value};
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image inspect"],
    summary: "Display detailed information on one or more images",
    operands: Operands::at_least(1, &["IMAGE [IMAGE...]"]),
    flags: || vec![format_of_document()],
    planned: &[PlannedFlag::value("platform", None, "registries")],
    execute,
    examples: &[
        ("Everything about an image", "image inspect busybox"),
        ("Its layers, base first", "image inspect -f '{{join .RootFS.Layers \"\\n\"}}' busybox"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    inspect_all(&matches.operands(), &matches.text_or_empty("format"), context, |reference| {
        to_value(&engine.image_inspect(reference)?)
    })
}
