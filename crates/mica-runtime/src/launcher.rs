//! Starting monitors: early, so that their start overlaps with the caller's own work.

use crate::{ExecPlan, RuntimeError, StartPlan};
use mica_model::{ContainerId, Timestamp};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A monitor that waits for its plan. Dropping it makes the monitor end without a trace.
#[derive(Debug)]
pub struct Launcher {
    socket: UnixStream,
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Started {
    /// Host pid of its first process.
    pub pid: u32,
    /// When its program was started.
    pub started_at: Timestamp,
    /// Frames of the streams asked for in [`StartPlan::attach`], from the first byte; else the exit frame.
    pub stream: UnixStream,
    /// Limits that this host cannot apply.
    pub warnings: Vec<String>,
}

/// A further process that runs.
#[derive(Debug)]
pub struct ExecStarted {
    /// Its host pid.
    pub pid: u32,
    /// When it was started.
    pub started_at: Timestamp,
    /// Frames of the streams asked for in [`ExecPlan::attach`]; else the exit frame. `Resize` frames
    /// may be sent in any case.
    pub stream: UnixStream,
}

impl Launcher {
    /// Starts a monitor from our own binary.
    pub fn spawn(id: &ContainerId) -> Result<Self, RuntimeError> {
        Self::spawn_with(Path::new("/proc/self/exe"), id)
    }

    /// Starts a monitor from another binary whose `main` asks [`crate::door`].
    pub fn spawn_with(program: &Path, id: &ContainerId) -> Result<Self, RuntimeError> {
        let _ = (program, id);
        Err(RuntimeError::Lost)
    }

    /// Hands the plan over and waits until the program runs or cannot run.
    pub fn start(self, plan: StartPlan) -> Result<Started, RuntimeError> {
        let _ = (self.socket, plan);
        Err(RuntimeError::Lost)
    }
}

/// Starts a further process in a running container.
pub fn exec(run_directory: &Path, plan: ExecPlan) -> Result<ExecStarted, RuntimeError> {
    let _ = (run_directory, plan);
    Err(RuntimeError::Lost)
}
