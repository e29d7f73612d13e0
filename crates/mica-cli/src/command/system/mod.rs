//! Commands about the engine and its host, one file each.

pub mod version;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[version::COMMAND];
