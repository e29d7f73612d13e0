//! Commands about manifests in registries and lists of them, one file each.

pub mod annotate;
pub mod create;
pub mod inspect;
pub mod push;
pub mod rm;

use crate::args::{Matches, switch};
use crate::command::Command;
use crate::context::Context;
use crate::credentials::UserKeyring;
use crate::report::Failure;
use clap::Arg;
use mica_api::Error;
use mica_api::types::manifest::ManifestAccess;
use mica_model::ErrorKind;

/// All of them.
pub const COMMANDS: &[Command] =
    &[annotate::COMMAND, create::COMMAND, inspect::COMMAND, push::COMMAND, rm::COMMAND];

fn insecure(help: &'static str) -> Arg {
    switch("insecure", help)
}

fn access<'k>(matches: &Matches, context: &Context<'_>, keyring: &'k UserKeyring) -> ManifestAccess<'k> {
    ManifestAccess { is_insecure: matches.on("insecure"), access: context.registry_access(keyring) }
}

/// docker's client makes these errors itself, and says them without a word before.
fn plain(error: Error) -> Failure {
    match error.kind {
        ErrorKind::NotFound | ErrorKind::InvalidArgument | ErrorKind::Conflict => {
            Failure::refused(error.message)
        }
        _ => error.into(),
    }
}
