//! `image rm`: takes names away and deletes images with their last one.

use crate::args::{Matches, list, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Gathered, Outcome, SUCCESS};
use mica_api::types::image::{ImageDelete, ImageRemoveOptions};
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image rm", "image remove", "rmi"],
    summary: "Remove one or more images",
    operands: Operands::at_least(1, &["IMAGE [IMAGE...]"]),
    flags: || {
        vec![
            switch("force", "Force removal of the image").short('f'),
            switch("no-prune", "Do not delete untagged parents"),
            list(
                "platform",
                "stringSlice",
                "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
            ),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Remove a name; the image goes with its last one", "rmi busybox:1"),
        ("Remove an image with all its names", "rmi -f 3c9e1a7f2b54"),
        ("Remove the image of one platform", "rmi --platform linux/arm64 shop:1"),
    ],
    visibility: Visibility::Plain,
};

struct RemoveArgs {
    references: Vec<String>,
    platforms: Vec<String>,
    options: ImageRemoveOptions,
}

impl RemoveArgs {
    fn new(matches: &Matches) -> Self {
        Self {
            references: matches.operands(),
            platforms: matches
                .list("platform")
                .iter()
                .flat_map(|list| list.split(','))
                .map(str::to_owned)
                .collect(),
            options: ImageRemoveOptions { force: matches.on("force"), no_prune: matches.on("no-prune") },
        }
    }
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let args = RemoveArgs::new(matches);
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    let mut is_fatal = false;
    for reference in &args.references {
        let answer = match &args.platforms[..] {
            [] => engine.image_remove(reference, args.options),
            platforms => engine.image_remove_platforms(reference, platforms, args.options),
        };
        is_fatal |= answer.as_ref().is_err_and(|error| error.kind != ErrorKind::NotFound);
        for removed in gathered.note(answer).unwrap_or_default() {
            context.print_line(&words(&removed))?;
        }
    }
    let outcome = gathered.finish(context);
    // With -f an image that is not there is what was wanted, though it is told.
    if args.options.force && !is_fatal { Ok(SUCCESS) } else { outcome }
}

fn words(removed: &ImageDelete) -> String {
    match removed {
        ImageDelete::Untagged(name) => format!("Untagged: {name}"),
        ImageDelete::Deleted(id) => format!("Deleted: {id}"),
    }
}
