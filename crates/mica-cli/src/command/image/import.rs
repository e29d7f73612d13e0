//! `image import`: makes an image of one flat tar archive.

use crate::args::{Matches, list, text};
use crate::command::image::standard_input;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::image::{ImportRequest, ImportSource};
use std::fs::File;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image import", "import"],
    summary: "Import the contents from a tarball to create a filesystem image",
    operands: Operands::between(1, 2, &["file|URL|- [REPOSITORY[:TAG]]"]),
    flags: || {
        vec![
            list("change", "list", "Apply Dockerfile instruction to the created image").short('c'),
            text("message", "string", "Set commit message for imported image").short('m'),
            text("platform", "string", "Set platform if server is multi-platform capable"),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Make an image of a root file system", "import root.tar my/root:1"),
        ("Give it a program to run", "import -c 'CMD [\"/bin/sh\"]' root.tar my/root:1"),
        ("Read the archive from a pipe", "export web | mica import - my/root:1"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let source = matches.operand(0).unwrap_or_default();
    let request = ImportRequest {
        source: open(&source, context)?,
        reference: matches.operand(1).unwrap_or_default(),
        message: matches.text_or_empty("message"),
        changes: matches.list("change"),
        platform: matches.text("platform").unwrap_or_else(|| context.config.platform()),
    };
    let id = context.engine()?.image_import(request)?;
    context.print_line(&id)?;
    Ok(SUCCESS)
}

fn open(source: &str, context: &Context<'_>) -> Result<ImportSource, Failure> {
    if source == "-" {
        return standard_input(context).map(ImportSource::Archive);
    }
    if ["http://", "https://"].iter().any(|scheme| source.starts_with(scheme)) {
        let proxies = context.config.proxies();
        return Ok(ImportSource::Address { address: source.to_owned(), proxies });
    }
    let file = File::open(source).map_err(|source_error| Failure::File {
        action: "open",
        path: source.to_owned(),
        source: source_error,
    })?;
    Ok(ImportSource::Archive(file))
}
