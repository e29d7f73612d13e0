//! Being joined to a program in a container: keys, signals, what its end means for us.

use crate::args::{Matches, text};
use crate::context::Context;
use crate::report::Failure;
use crate::terminal::{AttachEnd, AttachOptions, DetachKeys, attach_loop, window_size};
use clap::Arg;
use mica_api::stream::AttachStream;
use mica_api::types::container::{AttachStreams, WaitCondition};

/// What to join, and how.
#[derive(Debug)]
pub struct Session<'a> {
    /// Id of the container that signals are for; nothing where they are not passed on.
    pub signalled: Option<&'a str>,
    /// Which streams to copy.
    pub streams: AttachStreams,
    /// Keys that leave the program running.
    pub detach_keys: DetachKeys,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The program exited.
    Exited(u8),
    /// The keys were typed; the program goes on.
    Detached,
    /// The connection broke off.
    Lost,
}

/// `--detach-keys`.
pub fn detach_keys_flag() -> Arg {
    text("detach-keys", "string", "Override the key sequence for detaching a container")
}

/// The keys that detach: typed, or of `config.json`, or docker's.
///
/// # Errors
/// They name no keys.
pub fn detach_keys(matches: &Matches, context: &Context<'_>) -> Result<DetachKeys, Failure> {
    let typed = matches.text("detach-keys").filter(|keys| !keys.is_empty());
    let keys = typed.unwrap_or_else(|| context.file().detach_keys.clone());
    if keys.is_empty() { Ok(DetachKeys::default()) } else { Ok(keys.parse()?) }
}

/// Refuses to send the keys of something that is no terminal to one.
///
/// # Errors
/// Standard input is none.
pub fn check_input(context: &Context<'_>) -> Result<(), Failure> {
    if context.terminals().input {
        return Ok(());
    }
    Err(Failure::refused("the input device is not a TTY"))
}

/// Rows and columns of our terminal, if we have one.
pub fn console_size(context: &Context<'_>) -> Option<(u16, u16)> {
    let size =
        window_size(context.output_descriptor()).or_else(|| window_size(context.input_descriptor()))?;
    Some((size.rows, size.columns))
}

/// Copies both ways until the program ends or the keys are typed.
///
/// # Errors
/// Our output, the terminal or the connection fails.
pub fn follow(stream: &AttachStream, session: Session<'_>, context: &Context<'_>) -> Result<End, Failure> {
    let Session { signalled, streams, detach_keys } = session;
    let engine = context.engine()?;
    let mut pass_on = |signal: i32| {
        if let Some(id) = signalled {
            // It may have ended in this moment; then there is nobody left to tell.
            let _ = engine.container_kill(id, &signal.to_string());
        }
    };
    let terminals = context.terminals();
    let terminal = match (stream.terminal, terminals.output, terminals.input) {
        (true, true, _) => Some(context.output_descriptor()),
        (true, false, true) => Some(context.input_descriptor()),
        _ => None,
    };
    let options = AttachOptions {
        stdin: streams.stdin.then(|| context.input_descriptor()),
        stdout: streams.stdout.then(|| context.output_descriptor()),
        stderr: streams.stderr.then(|| context.error_descriptor()),
        terminal,
        detach_keys: stream.terminal.then_some(detach_keys),
        on_signal: signalled.is_some().then_some(&mut pass_on as &mut dyn FnMut(i32)),
    };
    match attach_loop(&stream.socket, options)? {
        AttachEnd::Exit { code, .. } => Ok(End::Exited(exit_code(i64::from(code)))),
        AttachEnd::Detached => Ok(End::Detached),
        AttachEnd::LeftBehind => Err(Failure::LeftBehind),
        AttachEnd::Lost => Ok(End::Lost),
        AttachEnd::Failed { message } => Err(Failure::refused_launch(message)),
    }
}

/// The exit code of a container whose connection may have broken off before its end.
///
/// # Errors
/// The engine cannot be asked.
pub fn code_of(end: End, id: &str, context: &Context<'_>) -> Result<u8, Failure> {
    match end {
        End::Exited(code) => Ok(code),
        End::Detached => Ok(crate::report::SUCCESS),
        End::Lost => {
            let waited = context.engine()?.container_wait(id, WaitCondition::NotRunning)?;
            Ok(exit_code(waited.status_code))
        }
    }
}

/// The low eight bits, as exit(3) passes on.
fn exit_code(code: i64) -> u8 {
    code.to_le_bytes()[0]
}
