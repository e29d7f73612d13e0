//! `image load`: reads an archive that docker, podman and OCI tools write.

use crate::args::{Matches, switch, text};
use crate::command::image::{Audience, progress, standard_input};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::image::{ArchiveSource, LoadedImage};
use std::path::PathBuf;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image load", "load"],
    summary: "Load an image from a tar archive or STDIN",
    operands: Operands::NONE,
    flags: || {
        vec![
            text("input", "string", "Read from tar archive file, instead of STDIN").short('i'),
            text(
                "platform",
                "string",
                "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
            ),
            switch("quiet", "Suppress the load output").short('q'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Load what 'save' of mica, docker or podman wrote", "load -i busybox.tar"),
        ("Load from a pipe; gzip and zstd are recognised", "load < busybox.tar.gz"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let source = source(matches.text("input").filter(|path| !path.is_empty()), context)?;
    let platform = matches.text_or_empty("platform");
    let engine = context.engine()?;
    let audience = if matches.on("quiet") { Audience::Nobody } else { Audience::Terminals };
    let progress = progress(context, audience);
    let loaded = engine.image_load(source, &platform, &|event| progress.report(&event))?;
    for image in &loaded {
        context.print(&words(image))?;
    }
    Ok(SUCCESS)
}

fn source(path: Option<String>, context: &Context<'_>) -> Result<ArchiveSource, Failure> {
    match path {
        Some(path) => match std::fs::metadata(&path) {
            Ok(_) => Ok(ArchiveSource::Path(PathBuf::from(path))),
            Err(source) => Err(Failure::File { action: "open", path, source }),
        },
        None if context.terminals().input => {
            Err(Failure::refused("requested load from stdin, but stdin is empty"))
        }
        None => Ok(ArchiveSource::Stream(standard_input(context)?)),
    }
}

fn words(image: &LoadedImage) -> String {
    if image.names.is_empty() {
        return format!("Loaded image ID: {}\n", image.id);
    }
    image.names.iter().map(|name| format!("Loaded image: {name}\n")).collect()
}
