//! `container update`: changes limits and the restart policy, also of a container that runs.

use crate::args::Matches;
use crate::command::container::CONTAINERS;
use crate::command::container::definition::{life, resources};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Gathered, Outcome};
use mica_api::types::container::UpdateRequest;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container update", "update"],
    summary: "Update configuration of one or more containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: || {
        let mut flags = resources::flags();
        flags.push(life::restart_flag("Restart policy to apply when a container exits"));
        flags
    },
    planned: &[],
    execute,
    examples: &[
        ("Less memory for a running container", "update -m 256m --memory-swap 512m web"),
        ("From now on it comes back after a crash and a reboot", "update --restart unless-stopped web"),
    ],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    if !resources::NAMES.iter().chain(&["restart"]).any(|name| matches.given(name)) {
        return Err(Failure::refused("you must provide one or more flags when using this command"));
    }
    resources::tell_deprecated(matches, context);
    let request =
        UpdateRequest { resources: resources::from(matches), restart_policy: life::restart(matches) };
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    for reference in matches.operands() {
        if let Some(warnings) = gathered.note(engine.container_update(&reference, &request)) {
            warnings.iter().for_each(|warning| context.warn(warning));
            context.print_line(&reference)?;
        }
    }
    gathered.finish(context)
}
