//! `container commit`: makes an image of a container's writable layer.

use crate::args::{Matches, list, switch, text};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS};
use mica_api::types::container::CommitRequest;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container commit", "commit"],
    summary: "Create a new image from a container's changes",
    operands: Operands::between(1, 2, &["CONTAINER [REPOSITORY[:TAG]]"]),
    flags: || {
        vec![
            text("author", "string", "Author (e.g., \"Ada Lovelace <ada@example.org>\")").short('a'),
            list("change", "list", "Apply Dockerfile instruction to the created image").short('c'),
            text("message", "string", "Commit message").short('m'),
            switch("no-pause", "Do not pause container during commit"),
            switch("pause", "Pause container during commit (default true)").short('p'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("Keep what was installed by hand", "commit -m 'add tools' box box:tools")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    if matches.given("pause") && matches.given("no-pause") {
        return Err(Failure::refused("conflicting options: --no-pause and --pause cannot be used together"));
    }
    let request = CommitRequest {
        container: matches.operand(0).unwrap_or_default(),
        reference: matches.operand(1).unwrap_or_default(),
        author: matches.text_or_empty("author"),
        comment: matches.text_or_empty("message"),
        changes: matches.list("change"),
        pause: matches.switch("pause").unwrap_or(!matches.on("no-pause")),
    };
    let id = context.engine()?.container_commit(&request)?;
    context.print_line(&id)?;
    Ok(SUCCESS)
}
