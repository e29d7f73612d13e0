//! `container prune`: deletes all containers that do not run.

use crate::args::{Matches, list, switch};
use crate::command::{Command, Operands, Visibility};
use crate::confirmation;
use crate::context::Context;
use crate::output::units::human_size;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_model::Filters;
use std::fmt::Write as _;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container prune"],
    summary: "Remove all stopped containers",
    operands: Operands::NONE,
    flags: || {
        vec![
            list("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
            switch("force", "Do not prompt for confirmation").short('f'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("All that were made more than a day ago", "container prune -f --filter until=24h")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let mut filters = Filters::default();
    for filter in matches.list("filter") {
        filters
            .add_argument(&filter)
            .map_err(|error| Failure::flag_value(&filter, "--filter", &error.to_string()))?;
    }
    let warning = "WARNING! This will remove all stopped containers.";
    if !matches.on("force") && !confirmation::ask(warning, context)? {
        return Ok(SUCCESS);
    }
    let pruned = context.engine()?.container_prune(&filters)?;
    let mut text = String::new();
    if !pruned.deleted.is_empty() {
        let _ = writeln!(text, "Deleted Containers:\n{}\n", pruned.deleted.join("\n"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a size for people has four digits")]
    let _ = writeln!(text, "Total reclaimed space: {}", human_size(pruned.space_reclaimed as f64));
    context.print(&text)?;
    Ok(SUCCESS)
}
