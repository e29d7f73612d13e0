//! `container stop`: the stop signal, a time of grace, SIGKILL.

use crate::args::{Matches, number, text};
use crate::command::container::{CONTAINERS, each};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome};
use clap::Arg;
use mica_api::types::container::StopOptions;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container stop", "stop"],
    summary: "Stop one or more running containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags,
    planned: &[],
    execute,
    examples: &[("Give a database a minute to finish", "stop -t 60 database")],
    visibility: Visibility::Plain,
};

/// The flags of `stop` and `restart`.
pub(crate) fn flags() -> Vec<Arg> {
    vec![
        text("signal", "string", "Signal to send to the container").short('s'),
        number("timeout", "Seconds to wait before killing the container").short('t'),
        number("time", "Seconds to wait before killing the container").hide(true),
    ]
}

/// What was typed for `stop` and `restart`.
pub(crate) fn options(matches: &Matches) -> Result<StopOptions, Failure> {
    let timeout = match (matches.number("timeout"), matches.number("time")) {
        (Some(_), Some(_)) => {
            return Err(Failure::refused("conflicting options: cannot specify both --timeout and --time"));
        }
        (timeout, time) => timeout.or(time),
    };
    Ok(StopOptions { signal: matches.text("signal").filter(|signal| !signal.is_empty()), timeout })
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let options = options(matches)?;
    each(&matches.operands(), context, |engine, reference| engine.container_stop(reference, &options))
}
