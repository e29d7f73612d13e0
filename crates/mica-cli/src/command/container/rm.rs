//! `container rm`: deletes containers and their writable layers.

use crate::args::{Matches, switch};
use crate::command::container::CONTAINERS;
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Gathered, Outcome, engine_words};
use mica_api::types::container::RemoveOptions;
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container rm", "container remove", "rm"],
    summary: "Remove one or more containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: || {
        vec![
            switch("force", "Force the removal of a running container (uses SIGKILL)").short('f'),
            switch("link", "Remove the specified link").short('l'),
            switch("volumes", "Remove anonymous volumes associated with the container").short('v'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("Remove a container even if it runs", "rm -f web")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let options = RemoveOptions {
        force: matches.on("force"),
        volumes: matches.on("volumes"),
        link: matches.on("link"),
        after_run: false,
    };
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    for reference in matches.operands() {
        match engine.container_remove(&reference, options) {
            // With --force what is not there is as good as removed: mentioned, but no failure.
            Err(error) if options.force && error.kind == ErrorKind::NotFound => {
                context.say_error(&format!("{}\n", engine_words(&error)));
            }
            answer => {
                if gathered.note(answer).is_some() {
                    context.print_line(&reference)?;
                }
            }
        }
    }
    gathered.finish(context)
}
