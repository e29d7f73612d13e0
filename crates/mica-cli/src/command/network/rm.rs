//! `network rm`: removes networks.

use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Gathered, Outcome, engine_words};
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network rm", "network remove"],
    summary: "Remove one or more networks",
    operands: Operands::at_least(1, &["NETWORK [NETWORK...]"]),
    flags: || vec![switch("force", "Do not error if the network does not exist").short('f')],
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    for reference in matches.operands() {
        match engine.network_remove(&reference) {
            Err(error) if matches.on("force") && error.kind == ErrorKind::NotFound => {
                context.say_error(&format!("{}\n", engine_words(&error)));
            }
            answer => {
                if gathered.note(answer).is_some() {
                    context.print_line(&reference)?;
                }
            }
        }
    }
    gathered.finish(context)
}
