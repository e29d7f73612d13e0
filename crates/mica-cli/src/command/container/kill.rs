//! `container kill`: sends a signal to containers.

use crate::args::{Matches, text};
use crate::command::container::{CONTAINERS, each};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::Outcome;
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container kill", "kill"],
    summary: "Kill one or more running containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: || vec![text("signal", "string", "Signal to send to the container").short('s')],
    planned: &[],
    execute,
    examples: &[("Ask a server to read its configuration again", "kill -s HUP web")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let signal =
        matches.text("signal").filter(|signal| !signal.is_empty()).unwrap_or_else(|| "SIGKILL".to_owned());
    each(&matches.operands(), context, |engine, reference| {
        engine.container_kill(reference, &signal).map_err(|mut error| {
            if error.kind == ErrorKind::NotFound {
                error.message = format!("cannot kill container: {reference}: {}", error.message);
            }
            error
        })
    })
}
