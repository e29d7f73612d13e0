//! Commands about volumes, one file each.

pub mod create;
pub mod inspect;
pub mod ls;
pub mod prune;
pub mod rm;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] =
    &[create::COMMAND, inspect::COMMAND, ls::COMMAND, prune::COMMAND, rm::COMMAND];

#[cfg(test)]
mod tests;
