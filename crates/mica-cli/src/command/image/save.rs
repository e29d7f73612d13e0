//! `image save`: writes images into a tar archive that docker, podman and OCI tools read.

use crate::args::{Matches, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::file_output;
use crate::report::{Failure, Outcome, SUCCESS};
use std::path::Path;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image save", "save"],
    summary: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    operands: Operands::at_least(1, &["IMAGE [IMAGE...]"]),
    flags: || {
        vec![
            text("output", "string", "Write to a file, instead of STDOUT").short('o'),
            text(
                "platform",
                "string",
                "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
            ),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Write an image into a file", "save -o busybox.tar busybox"),
        ("Write two images, compressed", "save busybox debian | zstd > images.tar.zst"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let references = matches.operands();
    let platform = matches.text_or_empty("platform");
    match matches.text("output").filter(|path| !path.is_empty()) {
        None if context.terminals().output => {
            Err(Failure::refused("cowardly refusing to save to a terminal. Use the -o flag or redirect"))
        }
        None => {
            let engine = context.engine()?;
            context.with_output(|out| Ok(engine.image_save(&references, &platform, out)?))?;
            Ok(SUCCESS)
        }
        Some(path) => {
            file_output::check(Path::new(&path))
                .map_err(|reason| Failure::refused(format!("failed to save image: {reason}")))?;
            let engine = context.engine()?;
            file_output::write(Path::new(&path), |out| {
                Ok(engine.image_save(&references, &platform, out)?)
            })?;
            Ok(SUCCESS)
        }
    }
}
