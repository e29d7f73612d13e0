//! `container run`: makes a container, starts it and stays with it until it ends.

use crate::args::{Matches, switch};
use crate::command::container::definition::making::{self, IdFile};
use crate::command::container::definition::request::Definition;
use crate::command::container::definition::{flags, planned};
use crate::command::container::session::{self, End, Session};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome, SUCCESS, engine_words};
use crate::terminal::DetachKeys;
use clap::Arg;
use mica_api::Result as EngineResult;
use mica_api::types::container::{AttachStreams, CreateResponse, RemoveOptions, StartOptions, Started};
use mica_model::ErrorKind;

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container run", "run"],
    summary: "Create and run a new container from an image",
    operands: Operands::trailing(1, &["IMAGE [COMMAND] [ARG...]"]),
    flags,
    planned: planned::FLAGS,
    execute,
    examples: &[
        ("See that this machine can run containers", "run hello"),
        ("A shell that leaves nothing behind", "run -it --rm debian bash"),
        ("A service in the background", "run -d --name web -e MODE=fast web"),
    ],
    visibility: Visibility::Common(1),
};

fn flags() -> Vec<Arg> {
    let mut flags = flags::all();
    flags.extend([
        switch("detach", "Run container in background and print container ID").short('d'),
        session::detach_keys_flag(),
        switch("sig-proxy", "Proxy received signals to the process (default true)"),
    ]);
    flags
}

/// What was typed.
#[derive(Debug)]
struct RunArguments {
    definition: Definition,
    /// Streams to stay with; none in the background.
    streams: Option<AttachStreams>,
    detach_keys: DetachKeys,
    passes_signals: bool,
}

impl RunArguments {
    fn from(matches: &Matches, context: &Context<'_>) -> Result<Self, Failure> {
        let mut definition = Definition::from(matches, context)?;
        let config = &mut definition.request.config;
        if matches.on("detach") {
            if matches.given("attach") {
                let message = "conflicting options: cannot specify both --attach and --detach";
                return Err(Failure::refused(message));
            }
            (config.attach_stdin, config.attach_stdout, config.attach_stderr) = (false, false, false);
            config.stdin_once = false;
        } else if config.attach_stdin && config.tty {
            session::check_input(context)?;
        }
        let streams = AttachStreams {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
        };
        let is_attached = streams.stdin || streams.stdout || streams.stderr;
        // A terminal turns its keys into signals by itself.
        let passes_signals = !config.tty && matches.switch("sig-proxy").unwrap_or(true);
        let has_keys = is_attached && config.tty;
        Ok(Self {
            definition,
            streams: is_attached.then_some(streams),
            detach_keys: if has_keys || matches.given("detach-keys") {
                session::detach_keys(matches, context)?
            } else {
                DetachKeys::default()
            },
            passes_signals,
        })
    }

    fn is_removed_by_us(&self) -> bool {
        self.definition.request.host_config.auto_remove && self.streams.is_some()
    }
}

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let mut arguments = RunArguments::from(matches, context)?;
    let console_size =
        arguments.definition.request.config.tty.then(|| session::console_size(context)).flatten();
    if let Some((rows, columns)) = console_size {
        arguments.definition.request.host_config.console_size = [rows, columns];
    }
    let options = StartOptions {
        attach: arguments.streams,
        console_size,
        caller_removes: arguments.is_removed_by_us(),
    };
    let (created, started) = launch(&arguments.definition, &options, context)?;
    let shows_output = arguments.streams.is_some_and(|streams| streams.stdout || streams.stderr);
    if !shows_output {
        context.print_line(&created.id)?;
    }
    let outcome = match started {
        Ok(started) => {
            making::warn(&started.warnings, context);
            stay(&arguments, &created.id, started, context)
        }
        Err(error) => Err(Failure::launch(error)),
    };
    if arguments.definition.request.host_config.auto_remove {
        remove_if_over(&arguments, &created.id, &outcome, context)?;
    }
    outcome.map(Stayed::code)
}

/// How staying with the container ended.
enum Stayed {
    Ended(u8),
    Left,
}

impl Stayed {
    const fn code(self) -> u8 {
        match self {
            Self::Ended(code) => code,
            Self::Left => SUCCESS,
        }
    }
}

fn launch(
    definition: &Definition,
    options: &StartOptions,
    context: &Context<'_>,
) -> Result<(CreateResponse, EngineResult<Started>), Failure> {
    let request = &definition.request;
    let Some(path) = &definition.cid_file else {
        let launched =
            making::with_image(definition, context, |engine| engine.container_run(request, options))?;
        making::warn(&launched.0.warnings, context);
        return Ok(launched);
    };
    // The program may look for the file, so that it is written before the start.
    let file = IdFile::create(path)?;
    let created = making::with_image(definition, context, |engine| engine.container_create(request))?;
    making::warn(&created.warnings, context);
    file.write(&created.id)?;
    let started = context.engine()?.container_start(&created.id, options);
    Ok((created, started))
}

fn stay(
    arguments: &RunArguments,
    id: &str,
    started: Started,
    context: &Context<'_>,
) -> Result<Stayed, Failure> {
    let (Some(streams), Some(stream)) = (arguments.streams, started.stream) else {
        return Ok(Stayed::Left);
    };
    let session = Session {
        signalled: arguments.passes_signals.then_some(id),
        streams,
        detach_keys: arguments.detach_keys.clone(),
    };
    match session::follow(&stream, session, context)? {
        End::Detached => Ok(Stayed::Left),
        end => session::code_of(end, id, context).map(Stayed::Ended),
    }
}

/// Removes what `--rm` promised to remove: what never ran, or ended while we stayed with it. All
/// else goes on without us, and its monitor sees to it.
fn remove_if_over(
    arguments: &RunArguments,
    id: &str,
    outcome: &Result<Stayed, Failure>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    let has_failed = match outcome {
        Ok(Stayed::Ended(_)) if arguments.is_removed_by_us() => false,
        Err(Failure::Launch { .. } | Failure::RefusedLaunch { .. }) => true,
        _ => return Ok(()),
    };
    let options = RemoveOptions { force: has_failed, volumes: true, link: false, after_run: !has_failed };
    match context.engine()?.container_remove(id, options) {
        Err(error) if error.kind != ErrorKind::NotFound => {
            context.say_error(&format!("{}\n", engine_words(&error)))
        }
        _ => {}
    }
    Ok(())
}
