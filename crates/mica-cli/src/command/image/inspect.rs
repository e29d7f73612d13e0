//! `image inspect`: everything about images.

use crate::args::{Matches, format_of_document, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{inspect_all, to_value};
use crate::report::Outcome;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image inspect"],
    summary: "Display detailed information on one or more images",
    operands: Operands::at_least(1, &["IMAGE [IMAGE...]"]),
    flags: || {
        vec![
            format_of_document(),
            text("platform", "string", "Inspect a specific platform of the multi-platform image"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Everything about an image", "image inspect busybox"),
        ("Its layers, base first", "image inspect -f '{{join .RootFS.Layers \"\\n\"}}' busybox"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let platform = matches.text_or_empty("platform");
    inspect_all(&matches.operands(), &matches.text_or_empty("format"), context, |reference| {
        to_value(&engine.image_inspect(reference, &platform)?)
    })
}
