//! Where a container's output goes: `--log-driver`, `--log-opt`.

use crate::args::{Matches, list, text};
use crate::report::Failure;
use clap::Arg;
use mica_api::types::host_config::LogConfig;

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        text("log-driver", "string", "Logging driver for the container"),
        list("log-opt", "list", "Log driver options"),
    ]
}

/// What was typed; an option without a value has an empty one.
///
/// # Errors
/// Options for no driver at all.
pub fn from(matches: &Matches) -> Result<LogConfig, Failure> {
    let pairs = matches.list("log-opt");
    let pairs = pairs.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let config = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // Where none is typed, the machine's settings choose.
    let config = LogConfig { driver: matches.text_or_empty("log-driver"), config };
    if config.driver == "none" && !config.config.is_empty() {
        return Err(Failure::refused_launch("invalid logging opts for driver none"));
    }
    Ok(config)
}
