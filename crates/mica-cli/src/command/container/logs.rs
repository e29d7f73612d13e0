//! `container logs`: what a container has written.

use crate::args::{Matches, switch, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::output::time;
use crate::report::{Failure, Outcome, SUCCESS};
use jiff::tz::TimeZone;
use mica_api::types::container::{LogEntry, LogsOptions};
use mica_model::Timestamp;
use std::time::SystemTime;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container logs", "logs"],
    summary: "Fetch the logs of a container",
    operands: Operands::exactly(1, &["CONTAINER"]),
    flags: || {
        vec![
            switch("details", "Show extra details provided to logs"),
            switch("follow", "Follow log output").short('f'),
            text("since", "string", SINCE),
            text("tail", "string", "Number of lines to show from the end of the logs (default \"all\")")
                .short('n'),
            switch("timestamps", "Show timestamps").short('t'),
            text("until", "string", UNTIL),
        ]
    },
    planned: &[],
    execute,
    examples: &[("The last lines and all that follow", "logs -f -n 20 web")],
    visibility: Visibility::Plain,
};

const SINCE: &str =
    "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)";
const UNTIL: &str =
    "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)";

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let instant = |flag| {
        matches.text(flag).filter(|text| !text.is_empty()).map(|text| parse(&text, flag, context)).transpose()
    };
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        follow: matches.on("follow"),
        tail: tail(matches),
        since: instant("since")?,
        until: instant("until")?,
    };
    let shown = Shown { timestamps: matches.on("timestamps"), details: matches.on("details") };
    let reference = matches.operand(0).unwrap_or_default();
    let mut stopped = None;
    let mut sink = |entries: Vec<LogEntry>| match print(&entries, shown, context) {
        Ok(()) => true,
        Err(failure) => {
            stopped = Some(failure);
            false
        }
    };
    context.engine()?.container_logs(&reference, &options, &mut sink)?;
    stopped.map_or(Ok(SUCCESS), Err)
}

/// What stands before each line.
#[derive(Debug, Clone, Copy)]
struct Shown {
    timestamps: bool,
    details: bool,
}

/// Entries of the same stream are written together.
fn print(entries: &[LogEntry], shown: Shown, context: &Context<'_>) -> Result<(), Failure> {
    for run in entries.chunk_by(|one, next| one.stderr == next.stderr) {
        let mut text = Vec::with_capacity(run.iter().map(|entry| entry.line.len() + 64).sum());
        run.iter().for_each(|entry| add(entry, shown, &mut text));
        if run[0].stderr {
            context.say_error_bytes(&text);
        } else {
            context.print_bytes(&text)?;
        }
    }
    Ok(())
}

fn add(entry: &LogEntry, shown: Shown, line: &mut Vec<u8>) {
    if shown.timestamps && !entry.continues {
        line.extend(time::local_nanoseconds(entry.time, &TimeZone::UTC).bytes());
        line.push(b' ');
    }
    if shown.details && !entry.continues {
        line.extend(entry.details.bytes());
        line.push(b' ');
    }
    line.extend_from_slice(&entry.line);
}

/// Anything that is no number means all lines, as docker has it.
fn tail(matches: &Matches) -> Option<u64> {
    matches.text("tail").and_then(|lines| lines.parse().ok())
}

fn parse(text: &str, flag: &str, context: &Context<'_>) -> Result<Timestamp, Failure> {
    time::parse_instant(text, SystemTime::now().into(), &context.config.zone())
        .map_err(|error| Failure::refused(format!("invalid value for {flag:?}: {error}")))
}
