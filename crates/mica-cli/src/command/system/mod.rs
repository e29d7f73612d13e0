//! Commands about the engine and its host, and about this program itself, one file each.

pub mod completion;
pub mod definition;
pub mod df;
pub mod events;
pub mod info;
pub mod inspect;
pub mod man;
pub mod prune;
pub mod restart_containers;
pub mod version;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[
    completion::COMMAND,
    definition::COMMAND,
    df::COMMAND,
    events::COMMAND,
    info::COMMAND,
    inspect::COMMAND,
    man::COMMAND,
    prune::COMMAND,
    restart_containers::COMMAND,
    version::COMMAND,
];

#[cfg(test)]
mod tests;
