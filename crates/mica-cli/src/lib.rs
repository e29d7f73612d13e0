//! What did you type, what do you see? Commands, output, errors.
//!
//! The only crate that reads argv and the environment and that prints. It speaks to an engine
//! through [`mica_api::Engine`] and never knows where that engine is.

pub mod args;
pub mod command;
mod complaint;
pub mod config;
mod confirmation;
pub mod context;
pub mod credentials;
pub mod dispatch;
mod document;
#[cfg(test)]
mod fake;
mod file_output;
mod help;
pub mod output;
pub mod proxy;
pub mod report;
mod row;
pub mod terminal;
#[cfg(test)]
mod testing;

pub use config::EngineOptions;
pub use context::OpenEngine;

use output::ui::Colour;
use std::ffi::OsString;
use std::process::ExitCode;

/// Does what `argv` says, with an engine that `open` opens if one is needed.
pub fn main(argv: Vec<OsString>, open: OpenEngine<'_>) -> ExitCode {
    let environment = config::Environment::inherited();
    let colour = if environment.is_colour_unwanted() { Colour::Never } else { Colour::Automatic };
    let surroundings = dispatch::Surroundings { environment, streams: context::Streams::inherited(colour) };
    ExitCode::from(dispatch::run(argv, surroundings, open))
}
