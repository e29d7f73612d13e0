//! Commands about containers, one file each.

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[];
