//! The `mica` binary: picks a door.
//!
//! A monitor is this same binary under another name and is looked for first, before anything is
//! allocated that its small memory would carry along.

use mica_api::Engine;
use mica_engine::{EarlyMonitor, LocalEngine};
use std::cell::Cell;
use std::ffi::OsString;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if let Some(code) = arguments.next().and_then(|name| mica_runtime::door(&name, companion)) {
        return code;
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.as_slice() {
        [name, root, run, config] if name == mica_engine::CHORES_NAME => do_chores(root, run, config),
        _ => {
            let early = Cell::new(early_monitor(&arguments));
            mica_cli::main(arguments, &|options| open(options, early.take()))
        }
    }
}

/// For a command that, most likely, starts a process: a monitor takes as long to come up as such a command takes to
/// read its own words and the database.
fn early_monitor(arguments: &[OsString]) -> Option<EarlyMonitor> {
    let mut words = arguments.iter().skip(1).map(OsString::as_os_str);
    let verb = words.next().filter(|word| *word != "container").or_else(|| words.next())?;
    match verb.to_str()? {
        "run" => EarlyMonitor::start(),
        "exec" => EarlyMonitor::start_for_exec(),
        _ => None,
    }
}

/// Nobody waits for chores and nobody reads what they say; the next ones go on where these fail.
fn do_chores(root: &OsString, run: &OsString, config: &OsString) -> ExitCode {
    let options = mica_engine::EngineOptions { root: root.into(), run: run.into(), config: config.into() };
    LocalEngine::do_chores(&options).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn open(options: &mica_cli::EngineOptions, early: Option<EarlyMonitor>) -> mica_api::Result<Box<dyn Engine>> {
    let options = mica_engine::EngineOptions {
        root: options.root.clone(),
        run: options.run_directory.clone(),
        config: options.config.clone(),
    };
    Ok(Box::new(LocalEngine::open(&options)?.with(early)))
}

/// What a monitor does for the networks of its container.
#[derive(Debug)]
struct Attendant(mica_network::Attendant);

impl mica_runtime::Companion for Attendant {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }

    fn serve(&mut self) {
        self.0.serve();
    }

    fn fit_out(&mut self, network: BorrowedFd<'_>) -> Result<(), String> {
        self.0.fit_out(network).map_err(|error| error.to_string())
    }
}

fn companion(order: &[u8], descriptors: Vec<OwnedFd>) -> Option<Box<dyn mica_runtime::Companion>> {
    let attendant = mica_network::Attendant::begin(order, descriptors)?;
    Some(Box::new(Attendant(attendant)))
}
