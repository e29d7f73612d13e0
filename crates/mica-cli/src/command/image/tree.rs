//! `image tree`: draws images as what they are, stacks of layers, with who shares each of them.

mod drawing;

use crate::args::{Matches, format_of_document, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::document::{Form, to_value};
use crate::report::{Outcome, SUCCESS};
use drawing::{ASCII, Drawing, UNICODE};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image tree"],
    summary: "Draw the layers of images, and which images and containers share them",
    operands: Operands::between(0, 1, &["[IMAGE]"]),
    flags: || vec![format_of_document(), switch("no-trunc", "Don't truncate output")],
    planned: &[],
    execute,
    examples: &[
        ("Draw the stack of one image, its containers on top", "image tree busybox"),
        ("See what all images share", "image tree"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let reference = matches.operand(0);
    let form = Form::parse_unless_empty(&matches.text_or_empty("format"))?;
    let trees = context.engine()?.image_tree(reference.as_deref())?;
    if let Some(form) = form {
        context.print_line(&form.show(&to_value(&trees)?)?)?;
        return Ok(SUCCESS);
    }
    let drawing = Drawing {
        glyphs: if context.config.is_unicode() { &UNICODE } else { &ASCII },
        is_truncated: !matches.on("no-trunc"),
    };
    let stacks: Vec<String> = trees.iter().map(|tree| drawing.stack(tree)).collect();
    context.print(&stacks.join("\n"))?;
    Ok(SUCCESS)
}
