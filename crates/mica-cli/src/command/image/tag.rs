//! `image tag`: gives an image a further name.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image tag", "tag"],
    summary: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    operands: Operands::exactly(2, &["SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[("Give an image a second name", "tag busybox:latest tools/busybox:1")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let source = matches.operand(0).unwrap_or_default();
    let target = matches.operand(1).unwrap_or_default();
    context.engine()?.image_tag(&source, &target)?;
    Ok(SUCCESS)
}
