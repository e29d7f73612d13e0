//! `container start`: starts containers that exist, and stays with one if asked to.

use crate::args::{Matches, PlannedFlag, switch};
use crate::command::container::CONTAINERS;
use crate::command::container::definition::making;
use crate::command::container::session::{self, Session};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS, engine_words};
use mica_api::types::container::{AttachStreams, StartOptions};
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container start", "start"],
    summary: "Start one or more stopped containers",
    operands: Operands::at_least(1, CONTAINERS),
    flags: || {
        vec![
            switch("attach", "Attach STDOUT/STDERR and forward signals").short('a'),
            session::detach_keys_flag(),
            switch("interactive", "Attach container's STDIN").short('i'),
        ]
    },
    planned: &[
        PlannedFlag::value("checkpoint", None, "checkpoints"),
        PlannedFlag::value("checkpoint-dir", None, "checkpoints"),
    ],
    execute,
    examples: &[("Go on in a shell that was left", "start -ai box")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let references = matches.operands();
    if !matches.on("attach") && !matches.on("interactive") {
        return all(&references, context);
    }
    match references.as_slice() {
        [reference] => attached(reference, matches, context),
        _ => Err(Failure::refused("you cannot start and attach multiple containers at once")),
    }
}

/// Starts each, goes on after an error, and names those that failed at the end.
fn all(references: &[String], context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let mut failed = Vec::new();
    for reference in references {
        match engine.container_start(reference, &StartOptions::default()) {
            Ok(started) => making::warn(&started.warnings, context),
            Err(error) if error.kind == ErrorKind::NotModified => {}
            Err(error) => {
                let hint = error.hint.as_ref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
                context.say_error(&format!("{}\n{hint}", engine_words(&error)));
                failed.push(reference.as_str());
                continue;
            }
        }
        context.print_line(reference)?;
    }
    if failed.is_empty() {
        return Ok(SUCCESS);
    }
    Err(Failure::refused(format!("Error: failed to start containers: {}", failed.join(", "))))
}

fn attached(reference: &str, matches: &Matches, context: &Context<'_>) -> Outcome {
    let engine = context.engine()?;
    let container = engine.container_inspect(reference, false)?;
    let streams = AttachStreams {
        stdin: matches.on("interactive") && container.config.open_stdin,
        stdout: true,
        stderr: true,
    };
    if streams.stdin && container.config.tty {
        session::check_input(context)?;
    }
    let detach_keys = session::detach_keys(matches, context)?;
    let console_size = container.config.tty.then(|| session::console_size(context)).flatten();
    let options = StartOptions { attach: Some(streams), console_size, caller_removes: false };
    let stream = match engine.container_start(&container.id, &options) {
        Ok(started) => {
            making::warn(&started.warnings, context);
            started.stream
        }
        Err(error) if error.kind == ErrorKind::NotModified => {
            Some(engine.container_attach(&container.id, streams)?)
        }
        Err(error) => return Err(error.into()),
    };
    let Some(stream) = stream else { return Ok(SUCCESS) };
    let session =
        Session { signalled: (!container.config.tty).then_some(&*container.id), streams, detach_keys };
    let end = session::follow(&stream, session, context)?;
    session::code_of(end, &container.id, context)
}
