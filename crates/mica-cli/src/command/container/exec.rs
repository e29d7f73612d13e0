//! `container exec`: a further program in a container that runs.

use crate::args::{Matches, list, switch, text};
use crate::command::container::definition::variables;
use crate::command::container::session::{self, End, Session};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{CANNOT_EXECUTE, FAILURE, Failure, Outcome, SUCCESS, engine_words};
use mica_api::types::container::AttachStreams;
use mica_api::types::exec::ExecRequest;
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container exec", "exec"],
    summary: "Execute a command in a running container",
    operands: Operands::trailing(2, &["CONTAINER COMMAND [ARG...]"]),
    flags: || {
        vec![
            switch("detach", "Detached mode: run command in the background").short('d'),
            session::detach_keys_flag(),
            list("env", "list", "Set environment variables")
                .short('e')
                .value_parser(variables::parse_variable),
            list("env-file", "list", "Read in a file of environment variables"),
            switch("interactive", "Keep STDIN open even if not attached").short('i'),
            switch("privileged", "Give extended privileges to the command"),
            switch("tty", "Allocate a pseudo-TTY").short('t'),
            text("user", "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")").short('u'),
            text("workdir", "string", "Working directory inside the container").short('w'),
        ]
    },
    planned: &[],
    execute,
    examples: &[("A shell in a running container", "exec -it web sh")],
    visibility: Visibility::Common(2),
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let request = request(matches, context)?;
    if request.attach.stdin && request.terminal {
        session::check_input(context)?;
    }
    let detach_keys = session::detach_keys(matches, context)?;
    let streams = request.attach;
    let started = context.engine()?.exec(&request).map_err(|error| refused(error, &request, context))?;
    let Some(stream) = started.stream else { return Ok(SUCCESS) };
    let session = Session { signalled: None, streams, detach_keys };
    match session::follow(&stream, session, context)? {
        End::Exited(code) => Ok(code),
        End::Detached => Ok(SUCCESS),
        End::Lost => Err(Failure::refused("the connection broke off before the command ended")),
    }
}

/// docker's codes: in the background every failure is an ordinary one; else what cannot be set up, such as a user who
/// does not exist, could not be executed.
fn refused(error: mica_api::Error, request: &ExecRequest, context: &Context<'_>) -> Failure {
    let code = match error.kind {
        _ if request.detach => FAILURE,
        ErrorKind::InvalidArgument => CANNOT_EXECUTE,
        _ => return error.into(),
    };
    context.say_error(&format!("{}\n", engine_words(&error)));
    Failure::Reported { code }
}

fn request(matches: &Matches, context: &Context<'_>) -> Result<ExecRequest, Failure> {
    let mut operands = matches.operands().into_iter();
    let container = operands.next().unwrap_or_default();
    let detach = matches.on("detach");
    let terminal = matches.on("tty");
    Ok(ExecRequest {
        container,
        command: operands.collect(),
        env: variables::environment(
            &matches.list("env-file"),
            &matches.list("env"),
            &context.config.environment,
        )?,
        user: matches.text_or_empty("user"),
        working_dir: matches.text_or_empty("workdir"),
        privileged: matches.on("privileged"),
        terminal,
        console_size: terminal.then(|| session::console_size(context)).flatten(),
        attach: AttachStreams {
            stdin: !detach && matches.on("interactive"),
            stdout: !detach,
            stderr: !detach,
        },
        detach,
    })
}
