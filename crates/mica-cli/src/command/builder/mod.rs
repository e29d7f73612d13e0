//! Commands about builds, one file each.

mod annotation;
mod attestation;
pub mod bake;
pub mod build;
mod cache;
mod context;
pub mod du;
pub mod history;
mod output;
mod progress;
pub mod prune;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[
    bake::COMMAND,
    build::COMMAND,
    du::COMMAND,
    history::inspect::COMMAND,
    history::logs::COMMAND,
    history::ls::COMMAND,
    history::rm::COMMAND,
    prune::COMMAND,
];
