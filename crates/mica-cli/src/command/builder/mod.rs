//! Commands about builds, one file each.

mod annotation;
pub mod bake;
pub mod build;
mod cache;
mod context;
pub mod du;
mod output;
mod progress;
pub mod prune;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[bake::COMMAND, build::COMMAND, du::COMMAND, prune::COMMAND];
