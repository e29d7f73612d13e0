//! `manifest push`: sends a list of manifests to the registry of its name.

use super::{access, insecure, plain};
use crate::args::{Matches, switch};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Outcome, SUCCESS};
use std::sync::{Mutex, PoisonError};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["manifest push"],
    summary: "Push a manifest list to a repository",
    operands: Operands::exactly(1, &["MANIFEST_LIST"]),
    flags: || {
        vec![
            insecure("Allow push to an insecure registry"),
            switch("purge", "Remove the local manifest list after push").short('p'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("And forget it here", "manifest push --purge team/app:v1")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let list = matches.operand(0).unwrap_or_default();
    let keyring = context.keyring();
    let how = access(matches, context, &keyring);
    let engine = context.engine()?;
    let lines = Mutex::new(Vec::new());
    let told = |line: String| lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    let pushed = engine.manifest_push(&list, &how, &told);
    for line in lines.into_inner().unwrap_or_else(PoisonError::into_inner) {
        context.print_line(&line)?;
    }
    context.print_line(&pushed.map_err(plain)?)?;
    if matches.on("purge") {
        engine.manifest_remove(&list).map_err(plain)?;
    }
    Ok(SUCCESS)
}
