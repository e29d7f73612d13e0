//! Acting on a running container from outside: signals, freezing, resizing, attaching.

use crate::{Hello, NamespaceKind, Resources, RuntimeError, TerminalSize};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

fn absent<T>(run_directory: &Path) -> Result<T, RuntimeError> {
    Err(RuntimeError::NotRunning { path: run_directory.to_owned() })
}

/// Sends signal number `signal` to the first process, never to a process that merely got its pid.
pub fn kill(run_directory: &Path, signal: i32) -> Result<(), RuntimeError> {
    let _ = signal;
    absent(run_directory)
}

/// Freezes all processes of the container and waits until they are.
pub fn pause(run_directory: &Path) -> Result<(), RuntimeError> {
    absent(run_directory)
}

/// Thaws all processes of the container.
pub fn resume(run_directory: &Path) -> Result<(), RuntimeError> {
    absent(run_directory)
}

/// Whether the container is frozen (or about to be).
pub fn is_paused(run_directory: &Path) -> Result<bool, RuntimeError> {
    absent(run_directory)
}

/// Changes the size of the container's terminal.
pub fn resize(run_directory: &Path, size: TerminalSize) -> Result<(), RuntimeError> {
    let _ = size;
    absent(run_directory)
}

/// Connects to the monitor; frames as in [`mica_model::frame`] follow, the exit frame being the last.
pub fn attach(run_directory: &Path, hello: &Hello) -> Result<UnixStream, RuntimeError> {
    let _ = hello;
    absent(run_directory)
}

/// Host pids of all processes of the container, nested cgroups included.
pub fn processes(run_directory: &Path) -> Result<Vec<u32>, RuntimeError> {
    absent(run_directory)
}

/// Changes limits of a running container; returns those that this host does not know.
pub fn update_resources(run_directory: &Path, resources: &Resources) -> Result<Vec<String>, RuntimeError> {
    let _ = resources;
    absent(run_directory)
}

/// A directory descriptor of the container's root as its own processes see it.
pub fn root(run_directory: &Path) -> Result<OwnedFd, RuntimeError> {
    absent(run_directory)
}

/// A namespace of a running container, for another one to join.
pub fn namespace(run_directory: &Path, kind: NamespaceKind) -> Result<OwnedFd, RuntimeError> {
    let _ = kind;
    absent(run_directory)
}

/// Ends what a killed monitor has left: processes and cgroups. Does nothing while a monitor lives.
pub fn cleanup(run_directory: &Path) -> Result<(), RuntimeError> {
    let _ = run_directory;
    Ok(())
}
