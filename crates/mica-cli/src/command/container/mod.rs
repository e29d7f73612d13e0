//! Commands about containers, one file each.

pub mod attach;
pub mod commit;
pub mod cp;
pub mod create;
pub mod definition;
pub mod diff;
pub mod exec;
pub mod export;
pub mod inspect;
pub mod kill;
pub mod logs;
pub mod ls;
pub mod pause;
pub mod port;
pub mod prune;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod run;
pub mod session;
pub mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod unpause;
pub mod update;
pub mod wait;

use crate::command::Command;
use crate::context::Context;
use crate::report::{Gathered, Outcome};
use mica_api::Engine;
use mica_model::ErrorKind;

/// All of them.
pub const COMMANDS: &[Command] = &[
    attach::COMMAND,
    commit::COMMAND,
    cp::COMMAND,
    create::COMMAND,
    diff::COMMAND,
    exec::COMMAND,
    export::COMMAND,
    inspect::COMMAND,
    kill::COMMAND,
    logs::COMMAND,
    ls::COMMAND,
    pause::COMMAND,
    port::COMMAND,
    prune::COMMAND,
    rename::COMMAND,
    restart::COMMAND,
    rm::COMMAND,
    run::COMMAND,
    start::COMMAND,
    stats::COMMAND,
    stop::COMMAND,
    top::COMMAND,
    unpause::COMMAND,
    update::COMMAND,
    wait::COMMAND,
];

/// How usage lines name one or more containers.
pub(crate) const CONTAINERS: &[&str] = &["CONTAINER [CONTAINER...]"];

/// Does something to each container, prints the name of each where it went well, and goes on
/// after an error. What needs no change has gone well.
pub(crate) fn each(
    references: &[String],
    context: &Context<'_>,
    deed: impl Fn(&dyn Engine, &str) -> mica_api::Result<()>,
) -> Outcome {
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    for reference in references {
        let answer = match deed(engine, reference) {
            Err(error) if error.kind == ErrorKind::NotModified => Ok(()),
            answer => answer,
        };
        if gathered.note(answer).is_some() {
            context.print_line(reference)?;
        }
    }
    gathered.finish(context)
}

#[cfg(test)]
mod tests;
