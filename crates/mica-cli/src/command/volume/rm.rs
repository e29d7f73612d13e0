//! `volume rm`: deletes volumes and what is in them.

use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Gathered, Outcome};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["volume rm", "volume remove"],
    summary: "Remove one or more volumes",
    operands: Operands::at_least(1, &["VOLUME [VOLUME...]"]),
    flags: || vec![switch("force", "Force the removal of one or more volumes").short('f')],
    planned: &[],
    execute,
    examples: &[("Remove a volume with all that is in it", "volume rm data")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    for name in matches.operands() {
        if gathered.note(engine.volume_remove(&name, matches.on("force"))).is_some() {
            context.print_line(&name)?;
        }
    }
    gathered.finish(context)
}
