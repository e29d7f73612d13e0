//! `network prune`: deletes all networks that no container is on.

use crate::args::{Matches, filter_of_prune, switch};
use crate::command::{Command, Operands, Visibility};
use crate::confirmation;
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["network prune"],
    summary: "Remove all unused networks",
    operands: Operands::NONE,
    flags: || {
        vec![
            filter_of_prune("Provide filter values (e.g. \"until=<timestamp>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    planned: &[],
    execute,
    examples: &[],
    visibility: Visibility::Plain,
};

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.";

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    if !matches.on("force") && !confirmation::ask(WARNING, context)? {
        return Ok(SUCCESS);
    }
    let removed = context.engine()?.network_prune(&matches.filters())?;
    context.print(&report(&removed))?;
    Ok(SUCCESS)
}

/// The paragraph about what was deleted; empty if nothing was.
pub(crate) fn report(removed: &[String]) -> String {
    if removed.is_empty() { String::new() } else { format!("Deleted Networks:\n{}\n\n", removed.join("\n")) }
}
