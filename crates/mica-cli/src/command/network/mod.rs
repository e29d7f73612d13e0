//! Commands about networks, one file each.

pub mod connect;
pub mod create;
pub mod disconnect;
pub mod inspect;
pub mod ls;
pub mod prune;
pub mod reload;
pub mod rm;
#[cfg(test)]
mod tests;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[
    connect::COMMAND,
    create::COMMAND,
    disconnect::COMMAND,
    inspect::COMMAND,
    ls::COMMAND,
    prune::COMMAND,
    reload::COMMAND,
    rm::COMMAND,
];
