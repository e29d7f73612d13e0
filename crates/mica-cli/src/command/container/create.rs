//! `container create`: makes a container without starting it.

use crate::args::Matches;
use crate::command::container::definition::making::{self, IdFile};
use crate::command::container::definition::request::Definition;
use crate::command::container::definition::{flags, planned};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container create", "create"],
    summary: "Create a new container",
    operands: Operands::trailing(1, &["IMAGE [COMMAND] [ARG...]"]),
    flags: flags::all,
    planned: planned::FLAGS,
    execute,
    examples: &[("A container to start later", "create --name web -it hello")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let definition = Definition::from(matches, context)?;
    let id_file = definition.cid_file.as_deref().map(IdFile::create).transpose().map_err(plainly)?;
    let request = &definition.request;
    let created = making::with_image(&definition, context, |engine| engine.container_create(request))
        .map_err(plainly)?;
    making::warn(&created.warnings, context);
    if let Some(file) = id_file {
        file.write(&created.id)?;
    }
    context.print_line(&created.id)?;
    Ok(SUCCESS)
}

/// What is refused is an ordinary failure here: no program was to be started.
fn plainly(failure: Failure) -> Failure {
    match failure {
        Failure::Launch { source } => Failure::Engine { source },
        Failure::RefusedLaunch { message } => Failure::Refused { message },
        other => other,
    }
}
