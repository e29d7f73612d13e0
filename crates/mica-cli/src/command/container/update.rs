//! `container update`: changes limits, also of a container that runs.

use crate::args::{Matches, PlannedFlag};
use crate::command::container::definition::resources;
use crate::command::container::{CONTAINERS, each};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome};
use mica_api::types::container::UpdateRequest;

const ISOLATION: &str = "isolation, limits, volumes and health";

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container update", "update"],
    summary: "Update configuration of one or more containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: resources::flags,
    planned: &[PlannedFlag::value("restart", None, ISOLATION)],
    execute,
    examples: &[("Less memory for a running container", "update -m 256m --memory-swap 512m web")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    if !resources::NAMES.iter().any(|name| matches.given(name)) {
        return Err(Failure::refused("you must provide one or more flags when using this command"));
    }
    resources::tell_deprecated(matches, context);
    let request = UpdateRequest { resources: resources::from(matches), restart_policy: None };
    each(&matches.operands(), context, |engine, reference| {
        let warnings = engine.container_update(reference, &request)?;
        warnings.iter().for_each(|warning| context.warn(warning));
        Ok(())
    })
}
