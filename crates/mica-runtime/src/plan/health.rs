//! How a container's health is found out.

use super::ProcessPlan;
use crate::HealthSchedule;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that probing a container needs.
#[derive(Debug)]
pub struct HealthPlan {
    /// When.
    pub schedule: HealthSchedule,
    /// What is run in the container; its exit code 0 means that the container is well.
    pub process: ProcessPlan,
    /// As [`crate::StartPlan::user`].
    pub user: Option<String>,
    /// As [`crate::StartPlan::groups`].
    pub groups: Vec<String>,
    /// What the event file is told.
    pub events: HealthEvents,
    /// Where the record is kept when the container does not run.
    pub kept_file: PathBuf,
}

/// Lines for the event file, in which `@TIME@`, `@TIMENANO@` and those named are replaced.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthEvents {
    /// For the start of a probe: `@EXECID@`.
    pub begin: String,
    /// For its end: `@EXECID@`, `@EXITCODE@`.
    pub end: String,
    /// For a change of the status: `@HEALTH@`.
    pub status: String,
}
