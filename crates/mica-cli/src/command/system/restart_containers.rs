//! `system restart-containers`: what docker's daemon does when it comes up, as one command for a boot unit.

use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["system restart-containers"],
    summary: "Start the containers that are to run again after a boot",
    operands: Operands::NONE,
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[(
        "From a unit at boot: containers with a restart policy run again",
        "system restart-containers",
    )],
    visibility: Visibility::Plain,
};

/// Exit code when a container did not start.
const FAILED: u8 = 1;

fn execute(_: &Matches, context: &Context<'_>) -> Outcome {
    let answer = context.engine()?.containers_restart()?;
    for name in &answer.started {
        context.print_line(name)?;
    }
    for failure in &answer.failed {
        context.say_error(&format!("{}: {}\n", failure.name, failure.message));
    }
    Ok(if answer.failed.is_empty() { SUCCESS } else { FAILED })
}
