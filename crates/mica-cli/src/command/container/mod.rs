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
use crate::report::{Failure, Gathered, Outcome};
use mica_api::Engine;
use mica_model::ErrorKind;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

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

/// To how many containers something is done at once, as docker has it.
const AT_ONCE: usize = 50;

/// Does something to all containers, many at once: that of one may be long to wait for. Prints the name of each
/// where it went well, in their order, and goes on after an error. What needs no change has gone well.
pub(crate) fn each(
    references: &[String],
    context: &Context<'_>,
    deed: impl Fn(&dyn Engine, &str) -> mica_api::Result<()> + Sync,
) -> Outcome {
    let engine = context.engine()?;
    let mut gathered = Gathered::default();
    let mut tell = |reference: &str, answer: mica_api::Result<()>| {
        let answer = match answer {
            Err(error) if error.kind == ErrorKind::NotModified => Ok(()),
            answer => answer,
        };
        match gathered.note(answer) {
            Some(()) => context.print_line(reference),
            None => Ok(()),
        }
    };
    if let [reference] = references {
        tell(reference, deed(engine, reference))?;
    } else {
        let (next, deed) = (&AtomicUsize::new(0), &deed);
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            for _ in 0..references.len().min(AT_ONCE) {
                let sender = sender.clone();
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(reference) = references.get(index) else { return };
                        // Nobody listens any more when our output was closed.
                        let _ = sender.send((index, deed(engine, reference)));
                    }
                });
            }
            drop(sender);
            let mut early = BTreeMap::new();
            for (index, reference) in references.iter().enumerate() {
                while !early.contains_key(&index)
                    && let Ok((index, answer)) = receiver.recv()
                {
                    early.insert(index, answer);
                }
                early.remove(&index).map_or(Ok(()), |answer| tell(reference, answer))?;
            }
            Ok::<(), Failure>(())
        })?;
    }
    gathered.finish(context)
}

#[cfg(test)]
mod tests;
