//! `volume prune`: deletes volumes that no container has.

use crate::args::{Matches, filter_of_prune, switch};
use crate::command::image::prune::reclaimed_line;
use crate::command::{Command, Operands, Visibility};
use crate::confirmation;
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["volume prune"],
    summary: "Remove unused local volumes",
    operands: Operands::NONE,
    flags: || {
        vec![
            switch("all", "Remove all unused volumes, not just anonymous ones").short('a'),
            filter_of_prune("Provide filter values (e.g. \"label=<label>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    planned: &[],
    execute,
    examples: &[
        ("Volumes that nobody named and no container has", "volume prune"),
        ("Those with a name too", "volume prune -a"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let mut filters = matches.filters();
    if matches.on("all") {
        if filters.contains("all") {
            return Err(Failure::refused(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        filters.add("all", "true");
    }
    let which = if matches.on("all") { "all" } else { "anonymous" };
    let warning =
        format!("WARNING! This will remove {which} local volumes not used by at least one container.");
    if !matches.on("force") && !confirmation::ask(&warning, context)? {
        return Ok(SUCCESS);
    }
    let pruned = context.engine()?.volume_prune(&filters)?;
    context.print(&report(&pruned.deleted))?;
    context.print_line(&reclaimed_line(pruned.space_reclaimed))?;
    Ok(SUCCESS)
}

/// The paragraph about what was deleted; empty if nothing was.
pub(crate) fn report(deleted: &[String]) -> String {
    if deleted.is_empty() {
        return String::new();
    }
    format!("Deleted Volumes:\n{}\n\n", deleted.join("\n"))
}
