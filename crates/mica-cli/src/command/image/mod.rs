//! Commands about images, one file each.

pub mod import;
pub mod load;
pub mod prune;
pub mod pull;
pub mod rm;
pub mod save;
pub mod tag;

use crate::command::Command;
use crate::report::Failure;
use std::fs::File;
use std::os::fd::AsFd;

/// All of them.
pub const COMMANDS: &[Command] = &[
    import::COMMAND,
    load::COMMAND,
    prune::COMMAND,
    pull::COMMAND,
    rm::COMMAND,
    save::COMMAND,
    tag::COMMAND,
];

/// Standard input as a file of its own, which the engine may read from any thread.
fn standard_input() -> Result<File, Failure> {
    std::io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(|source| Failure::File {
        action: "read",
        path: "standard input".to_owned(),
        source,
    })
}
