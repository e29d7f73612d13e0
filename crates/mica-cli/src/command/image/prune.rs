//! `image prune`: deletes dangling images, or all that no container uses.

use crate::args::{Matches, filter_of_prune, switch};
use crate::command::{Command, Operands, Visibility};
use crate::confirmation;
use crate::context::Context;
use crate::output::units::human_size;
use crate::report::{Outcome, SUCCESS};
use mica_api::types::image::ImageDelete;
use mica_model::Filters;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["image prune"],
    summary: "Remove unused images",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused images, not just dangling ones").short('a'),
            filter_of_prune("Provide filter values (e.g. \"until=<timestamp>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Remove images without a name", "image prune"),
        ("Remove what no container has used for a day", "image prune -a --filter until=24h"),
    ],
    visibility: Visibility::Plain,
};

const WARNING_DANGLING: &str = "WARNING! This will remove all dangling images.";
const WARNING_ALL: &str =
    "WARNING! This will remove all images without at least one container associated to them.";

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let is_all = matches.on("all");
    let mut filters = matches.filters();
    select(&mut filters, is_all);
    let warning = if is_all { WARNING_ALL } else { WARNING_DANGLING };
    if !matches.on("force") && !confirmation::ask(warning, context)? {
        return Ok(SUCCESS);
    }
    let (deleted, reclaimed) = context.engine()?.image_prune(&filters)?;
    context.print(&report(&deleted))?;
    context.print_line(&reclaimed_line(reclaimed))?;
    Ok(SUCCESS)
}

/// Narrows a prune to images without a name, or widens it to all unused ones.
pub(crate) fn select(filters: &mut Filters, is_all: bool) {
    filters.remove("dangling");
    filters.add("dangling", if is_all { "false" } else { "true" });
}

/// The paragraph about what was deleted; empty if nothing was.
pub(crate) fn report(deleted: &[ImageDelete]) -> String {
    if deleted.is_empty() {
        return String::new();
    }
    let lines: String = deleted
        .iter()
        .map(|entry| match entry {
            ImageDelete::Untagged(name) => format!("untagged: {name}\n"),
            ImageDelete::Deleted(id) => format!("deleted: {id}\n"),
        })
        .collect();
    format!("Deleted Images:\n{lines}\n")
}

/// The last line of every prune.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn reclaimed_line(bytes: u64) -> String {
    format!("Total reclaimed space: {}", human_size(bytes as f64))
}
