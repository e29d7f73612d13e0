//! `history logs`: what a build told.

use crate::args::{Matches, text};
use crate::command::builder::progress::{Display, Style};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use std::time::{Duration, SystemTime};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["buildx history logs", "builder history logs"],
    summary: "Print the logs of a build record",
    operands: Operands::between(0, 1, &["[REF]"]),
    flags: || {
        vec![text(
            "progress",
            "string",
            "Set type of progress output (\"plain\", \"rawjson\", \"tty\") (default \"plain\")",
        )]
    },
    planned: &[],
    execute,
    examples: &[
        ("What the last build told", "builder history logs"),
        ("The build before it, for programs", "builder history logs --progress rawjson ^1"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let style = match matches.text_or_empty("progress").as_str() {
        // A build that is over has nothing to show live.
        "" | "auto" | "plain" | "tty" => Style::Plain,
        "rawjson" => Style::Json,
        other => return Err(Failure::refused(format!("unknown progress type: {other}"))),
    };
    let engine = context.engine()?;
    let reference = matches.operand(0).unwrap_or_default();
    let record = engine.build_record(&reference)?;
    let nanoseconds = u64::try_from(record.started).unwrap_or(0);
    let began = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    let display = Display::of_record(style, began, context);
    for line in engine.build_log(&record.id)? {
        display.take_at(&line.event, line.at);
    }
    if record.error.is_some() {
        display.failed();
    }
    Ok(SUCCESS)
}
