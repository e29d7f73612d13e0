//! `manifest create`: puts a list of manifests together on this machine.

use super::{access, insecure, plain};
use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};
use mica_api::types::manifest::ManifestCreateRequest;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["manifest create"],
    summary: "Create a local manifest list for annotating and pushing to a registry",
    operands: Operands::at_least(2, &["MANIFEST_LIST MANIFEST [MANIFEST...]"]),
    flags: || {
        vec![
            switch("amend", "Amend an existing manifest list").short('a'),
            insecure("Allow communication with an insecure registry"),
        ]
    },
    planned: &[],
    execute,
    examples: &[(
        "Of what two machines have pushed",
        "manifest create team/app:v1 team/app:v1-amd64 team/app:v1-arm64",
    )],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let mut names = matches.operands();
    let list = names.remove(0);
    let request = ManifestCreateRequest { list, manifests: names, is_amendment: matches.on("amend") };
    let keyring = context.keyring();
    let how = access(matches, context, &keyring);
    let name = context.engine()?.manifest_create(&request, &how).map_err(plain)?;
    context.print_line(&format!("Created manifest list {name}"))?;
    Ok(SUCCESS)
}
