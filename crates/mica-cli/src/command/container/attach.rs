//! `container attach`: joins a container that runs.

use crate::args::{Matches, switch};
use crate::command::container::session::{self, Session};
use crate::command::{Command, Operands, Visibility};
use crate::context::Context;
use crate::report::{Failure, Outcome};
use mica_api::types::container::{AttachStreams, ContainerState};

/// The entry of the table.
pub const COMMAND: Command = Command {
    paths: &["container attach", "attach"],
    summary: "Attach local standard input, output, and error streams to a running container",
    operands: Operands::exactly(1, &["CONTAINER"]),
    flags: || {
        vec![
            session::detach_keys_flag(),
            switch("no-stdin", "Do not attach STDIN"),
            switch("sig-proxy", "Proxy all received signals to the process (default true)"),
        ]
    },
    planned: &[],
    execute,
    examples: &[("Leave with ctrl-p ctrl-q, or with keys of your own", "attach --detach-keys ctrl-x box")],
    visibility: Visibility::Plain,
};

fn execute(matches: &Matches, context: &Context<'_>) -> Outcome {
    let reference = matches.operand(0).unwrap_or_default();
    let engine = context.engine()?;
    let container = engine.container_inspect(&reference, false)?;
    check(&container.state)?;
    let streams = AttachStreams {
        stdin: !matches.on("no-stdin") && container.config.open_stdin,
        stdout: true,
        stderr: true,
    };
    if streams.stdin && container.config.tty {
        session::check_input(context)?;
    }
    let detach_keys = session::detach_keys(matches, context)?;
    let passes_signals = !container.config.tty && matches.switch("sig-proxy").unwrap_or(true);
    let stream = engine.container_attach(&container.id, streams)?;
    let session = Session { signalled: passes_signals.then_some(&*container.id), streams, detach_keys };
    let end = session::follow(&stream, session, context)?;
    session::code_of(end, &container.id, context)
}

fn check(state: &ContainerState) -> Result<(), Failure> {
    let message = if state.paused {
        "You cannot attach to a paused container, unpause it first"
    } else if state.restarting {
        "You cannot attach to a restarting container, wait until it is running"
    } else if !state.running {
        "You cannot attach to a stopped container, start it first"
    } else {
        return Ok(());
    };
    Err(Failure::refused(message))
}
