//! Commands about images, one file each.

pub mod copy;
pub mod history;
pub mod import;
pub mod inspect;
pub mod load;
pub mod ls;
pub mod prune;
pub mod pull;
pub mod push;
pub mod rm;
pub mod save;
pub mod search;
pub mod tag;
pub mod tree;

use crate::command::Command;
use crate::context::Context;
use crate::output::progress::{Manner, Progress};
use crate::output::units::human_size_short;
use crate::report::Failure;
use std::fs::File;
use std::io::Write;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// All of them.
pub const COMMANDS: &[Command] = &[
    copy::COMMAND,
    history::COMMAND,
    import::COMMAND,
    inspect::COMMAND,
    load::COMMAND,
    ls::COMMAND,
    prune::COMMAND,
    pull::COMMAND,
    push::COMMAND,
    rm::COMMAND,
    save::COMMAND,
    search::COMMAND,
    tag::COMMAND,
    tree::COMMAND,
];

/// Standard input as a file of its own, which the engine may read from any thread.
pub(crate) fn standard_input(context: &Context<'_>) -> Result<File, Failure> {
    context.input_descriptor().try_clone_to_owned().map(File::from).map_err(|source| Failure::File {
        action: "read",
        path: "standard input".to_owned(),
        source,
    })
}

/// Who is told how far the work on each layer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Nobody.
    Nobody,
    /// People, with bars.
    Terminals,
    /// People with bars, and programs with lines.
    Everybody,
    /// The same, with the lines on standard error, as standard output belongs to somebody else.
    Bystanders,
}

/// What hears of the work on each layer.
pub(crate) fn progress(context: &Context<'_>, audience: Audience) -> Progress {
    let manner = match audience {
        Audience::Nobody => Manner::Quiet,
        _ if context.terminals().error => Manner::Live,
        Audience::Terminals => Manner::Quiet,
        Audience::Everybody | Audience::Bystanders => Manner::Plain,
    };
    let descriptor = match audience {
        Audience::Bystanders => context.error_descriptor(),
        _ => context.output_descriptor(),
    };
    let lines: Box<dyn Write + Send> = match descriptor.try_clone_to_owned() {
        Ok(output) => Box::new(File::from(output)),
        Err(_) => Box::new(std::io::sink()),
    };
    Progress::new(manner, lines)
}

/// The first twelve digits of an id or digest, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// `text`, shortened to so many columns with `…` at its end.
pub(crate) fn ellipsis(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|letter| {
        used += letter.width().unwrap_or(0);
        used <= columns
    });
    kept.chain(['…']).collect()
}

/// A size as listings of images show it, in three digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    human_size_short(bytes as f64)
}

#[cfg(test)]
mod tests;
