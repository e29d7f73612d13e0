//! The `mica` binary: picks a door.
//!
//! A monitor is this same binary under another name and is looked for first, before anything is
//! allocated that its small memory would carry along.

use mica_api::Engine;
use mica_engine::LocalEngine;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if let Some(code) = arguments.next().and_then(|name| mica_runtime::door(&name)) {
        return code;
    }
    mica_cli::main(std::env::args_os().collect(), &open)
}

fn open(options: &mica_cli::EngineOptions) -> mica_api::Result<Box<dyn Engine>> {
    let options = mica_engine::EngineOptions { root: options.root.clone(), run: options.run_directory.clone() };
    Ok(Box::new(LocalEngine::open(&options)?))
}
