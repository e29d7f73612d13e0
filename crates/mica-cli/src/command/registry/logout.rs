//! `logout`: forgets the credential for a registry.

use super::registry;
use crate::args::Matches;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::credentials::{DOCKER_KEY, file, key_of, program};
use crate::report::{Failure, Outcome, SUCCESS};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["logout"],
    summary: "Log out from a registry",
    operands: Operands::between(0, 1, &["[SERVER]"]),
    flags: Vec::new,
    planned: &[],
    execute,
    examples: &[("Forget the password of a registry", "logout registry.example:5000")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let registry = registry(matches.operand(0));
    let keyring = context.keyring();
    let key = key_of(&registry);
    let shown = if key == DOCKER_KEY { DOCKER_KEY } else { registry.as_str() };
    context.print_line(&format!("Removing login credentials for {shown}"))?;
    if let Some(name) = keyring.file().helper_of(&registry)
        && let Err(error) = program::erase(name, &key)
    {
        context.warn(&format!("could not erase credentials: {error}"));
    }
    let path = context.config.file_path();
    let taken = if path.exists() { file::change(&path, &registry, None) } else { Ok(false) };
    taken.map_err(|source| Failure::File { action: "change", path: path.display().to_string(), source })?;
    Ok(SUCCESS)
}
