//! `builder prune`: lets go what builds keep for the next ones.

use crate::args::{Matches, ValueError, bytes, list, switch};
use crate::command::{Command, Operands, Visibility};
use crate::confirmation;
use crate::context::Context;
use crate::output::units::human_size;
use crate::report::{Outcome, SUCCESS};
use mica_api::types::build::BuildPruneOptions;
use mica_model::duration::parse_duration;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["builder prune", "buildx prune"],
    summary: "Remove build cache",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused build cache, not just what no image has").short('a'),
            list("filter", "filter", "Provide filter values (e.g., \"until=24h\")").value_parser(parse_until),
            switch("force", "Do not prompt for confirmation").short('f'),
            bytes("keep-storage", "Amount of disk space to keep for cache"),
        ]
    },
    planned: &[],
    execute,
    examples: &[("Keep what was used in the last day", "builder prune --filter until=24h")],
    visibility: Visibility::Plain,
};

fn parse_until(typed: &str) -> Result<String, ValueError> {
    let duration = typed.strip_prefix("until=").or_else(|| typed.strip_prefix("unused-for="));
    match duration.map(parse_duration) {
        Some(Ok(_)) => Ok(typed.to_owned()),
        Some(Err(error)) => Err(ValueError { message: error.to_string() }),
        None => Err(ValueError { message: "only until=DURATION is known".to_owned() }),
    }
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let warning = match matches.on("all") {
        true => "WARNING! This will remove all build cache.",
        false => "WARNING! This will remove all dangling build cache.",
    };
    if !matches.on("force") && !confirmation::ask(warning, context)? {
        return Ok(SUCCESS);
    }
    let seconds = |typed: &String| {
        let (_, duration) = typed.split_once('=')?;
        Some(parse_duration(duration).ok()? / 1_000_000_000)
    };
    let options = BuildPruneOptions {
        all: matches.on("all"),
        keep_bytes: matches
            .number("keep-storage")
            .and_then(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| *bytes > 0),
        keep_seconds: matches.list("filter").iter().filter_map(seconds).max(),
    };
    let pruned = context.engine()?.build_cache_prune(&options)?;
    for id in &pruned.ids {
        context.print_line(id)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    context.print_line(&format!("Total:\t{}", human_size(pruned.reclaimed as f64)))?;
    Ok(SUCCESS)
}
