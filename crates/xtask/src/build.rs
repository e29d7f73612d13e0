//! Builds the binary, and runs programs.

use crate::failure::Failure;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How the binary is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build: what the tests run.
    Dev,
    /// What users install, and what is measured.
    Release,
}

/// A `cargo` command at the top of the working copy.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(e2e::fixture::workspace());
    // Set by the outer `cargo run`; nested builds would be made anew if they saw another crate's.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// Builds `mica`; returns where it lies. `MICA_BIN` points at another binary that is taken as it is.
pub(crate) fn mica(profile: Profile) -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("MICA_BIN") {
        return Ok(path.into());
    }
    let mut command = cargo();
    command.args([
        "build",
        "--package",
        "mica",
        "--bin",
        "mica",
        "--message-format",
        "json-render-diagnostics",
    ]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    let shown = describe(&command);
    let output = command.stderr(Stdio::inherit()).output().map_err(|source| start(&command, source))?;
    let lines = String::from_utf8_lossy(&output.stdout);
    let executables = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path =
        executables.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
    match path {
        Some(path) if output.status.success() => Ok(path),
        _ => Err(Failure::Command { command: shown, detail: String::new() }),
    }
}

/// Runs a program to its end, with its output shown.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|source| start(command, source))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Command { command: describe(command), detail: String::new() })
    }
}

/// Runs a program to its end; returns what it printed. What it complained about is in the failure.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|source| start(command, source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut tail: Vec<&str> = said.trim().lines().rev().take(5).collect();
    tail.reverse();
    Err(Failure::Command { command: describe(command), detail: format!(": {}", tail.join("\n")) })
}

/// The failure of a program that could not be started.
pub(crate) fn start(command: &Command, source: std::io::Error) -> Failure {
    Failure::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

/// A command line as it would be typed.
pub(crate) fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
