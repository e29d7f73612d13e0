//! When a container that has ended is started again: policies, pauses, and the marks of who ended it.
//!
//! Its monitor decides, alone. What others have to say to it lies in files: that the container was
//! stopped, beside its exit record, where it outlives a reboot; another policy, in the run directory.

use crate::RuntimeError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    Never,
    /// Whatever its exit code.
    Always,
    /// The same, unless it was stopped.
    UnlessStopped,
    /// When its exit code tells of a failure.
    OnFailure {
        /// How often in a row at most; 0 is without end.
        retries_max: u32,
    },
}

/// What a container's monitor must know to start it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartPlan {
    /// The policy that it starts with.
    pub policy: RestartPolicy,
    /// Where [`mark_stopped`] leaves its mark.
    pub stop_file: PathBuf,
}

/// Who had a hand in the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopMark {
    /// Somebody sent a signal that was not meant to end it.
    Signalled,
    /// Somebody ended it.
    Stopped,
}

impl StopMark {
    fn word(self) -> &'static str {
        match self {
            Self::Signalled => "signalled",
            Self::Stopped => "stopped",
        }
    }
}

/// Name of the mark in the run directory, where a full disk had no room for it.
const STOP_FILE: &str = "stopped";

/// Name of a policy that was changed while the container runs, in the run directory.
const POLICY_FILE: &str = "restart";

/// The first pause (docker's).
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause (docker's).
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A run that lasted as long as this begins the pauses anew (docker's).
const STEADY: Duration = Duration::from_secs(10);

/// Says that somebody ends the container, to be done before the signal is sent. A mark that says
/// more already stays.
pub fn mark_stopped(stop_file: &Path, run_directory: &Path, mark: StopMark) -> Result<(), RuntimeError> {
    if stop_mark(stop_file, run_directory) >= Some(mark) {
        return Ok(());
    }
    let spare = run_directory.join(STOP_FILE);
    match write(stop_file, mark.word().as_bytes()).or_else(|_| write(&spare, mark.word().as_bytes())) {
        // Nothing runs that could be started again.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(RuntimeError::file("write", spare)),
    }
}

/// The mark of the current or the last run.
pub fn stop_mark(stop_file: &Path, run_directory: &Path) -> Option<StopMark> {
    [stop_file, &run_directory.join(STOP_FILE)]
        .into_iter()
        .filter_map(|path| {
            let text = fs::read(path).ok()?;
            // One that was torn by a crash says at least that there was something to say.
            Some(if text == StopMark::Signalled.word().as_bytes() {
                StopMark::Signalled
            } else {
                StopMark::Stopped
            })
        })
        .max()
}

/// Forgets the marks of the last run.
pub fn forget_stop(stop_file: &Path, run_directory: &Path) -> Result<(), RuntimeError> {
    for path in [stop_file, &run_directory.join(STOP_FILE), &run_directory.join(POLICY_FILE)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(RuntimeError::file("remove", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives a running container another policy.
pub fn set_restart_policy(run_directory: &Path, policy: RestartPolicy) -> Result<(), RuntimeError> {
    let path = run_directory.join(POLICY_FILE);
    let bytes = postcard::to_stdvec(&policy)
        .map_err(|source| RuntimeError::Encode { what: "the restart policy", source })?;
    match write(&path, &bytes) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(RuntimeError::file("write", path)),
    }
}

/// By way of another name, so that the monitor reads all or nothing.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, path)
}

impl RestartPlan {
    /// The policy in force now.
    pub(crate) fn current(&self, run_directory: &Path) -> RestartPolicy {
        let changed = fs::read(run_directory.join(POLICY_FILE)).ok();
        changed.and_then(|bytes| postcard::from_bytes(&bytes).ok()).unwrap_or(self.policy)
    }

    /// Whether somebody has ended the container.
    pub(crate) fn is_stopped(&self, run_directory: &Path) -> bool {
        stop_mark(&self.stop_file, run_directory) == Some(StopMark::Stopped)
    }
}

impl RestartPolicy {
    /// Whether a container that ended before this host came up is started again, `restarts` being
    /// how often it was in its last run.
    pub fn survives_reboot(self, code: i64, restarts: u32, mark: Option<StopMark>) -> bool {
        match self {
            Self::Always => true,
            other => other.wants(code != 0, restarts, mark),
        }
    }

    fn wants(self, has_failed: bool, restarts: u32, mark: Option<StopMark>) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::UnlessStopped => mark.is_none(),
            Self::OnFailure { retries_max } => has_failed && (retries_max == 0 || restarts < retries_max),
        }
    }
}

/// How often a container was started again, and how long the next pause is.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    pause: Duration,
    pub(crate) restarts: u32,
}

impl Backoff {
    /// The pause before the next start; `None` when there is to be none.
    pub(crate) fn after(
        &mut self,
        policy: RestartPolicy,
        code: u32,
        lasted: Duration,
        mark: Option<StopMark>,
    ) -> Option<Duration> {
        if mark == Some(StopMark::Stopped) || !policy.wants(code != 0, self.restarts, mark) {
            return None;
        }
        if lasted >= STEADY {
            self.pause = Duration::ZERO;
        }
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        self.restarts = self.restarts.saturating_add(1);
        Some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_ten_seconds() {
        let mut backoff = Backoff::default();
        let mut next = |lasted| backoff.after(RestartPolicy::Always, 0, lasted, None).unwrap().as_millis();
        let pauses: Vec<u128> = (0..12).map(|_| next(SHORT)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]);
        assert_eq!(next(Duration::from_secs(10)), 100);
        assert_eq!(next(Duration::from_millis(9_999)), 200);
        assert_eq!(backoff.restarts, 14);
    }

    #[test]
    fn failures_are_counted() {
        let policy = RestartPolicy::OnFailure { retries_max: 2 };
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(policy, 0, SHORT, None), None);
        assert!(backoff.after(policy, 1, SHORT, None).is_some());
        assert!(backoff.after(policy, 1, SHORT, None).is_some());
        assert_eq!(backoff.after(policy, 1, SHORT, None), None);
        assert_eq!(backoff.restarts, 2);
        assert!(Backoff::default().after(RestartPolicy::Never, 1, SHORT, None).is_none());
    }

    #[test]
    fn what_was_stopped_stays_so_until_a_reboot() {
        let stopped = Some(StopMark::Stopped);
        for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped] {
            assert_eq!(Backoff::default().after(policy, 1, SHORT, stopped), None);
        }
        let signalled = Some(StopMark::Signalled);
        assert!(Backoff::default().after(RestartPolicy::Always, 1, SHORT, signalled).is_some());
        assert!(Backoff::default().after(RestartPolicy::UnlessStopped, 1, SHORT, signalled).is_none());
        assert!(RestartPolicy::Always.survives_reboot(0, 3, stopped));
        assert!(RestartPolicy::UnlessStopped.survives_reboot(0, 3, None));
        assert!(!RestartPolicy::UnlessStopped.survives_reboot(0, 3, stopped));
        assert!(RestartPolicy::OnFailure { retries_max: 0 }.survives_reboot(255, 3, None));
        assert!(!RestartPolicy::OnFailure { retries_max: 3 }.survives_reboot(255, 3, None));
        assert!(!RestartPolicy::Never.survives_reboot(255, 0, None));
    }

    #[test]
    fn marks_are_kept_where_there_is_room_and_never_say_less() {
        let directory = tempfile::tempdir().unwrap();
        let (file, run) = (directory.path().join("stop"), directory.path());
        assert_eq!(stop_mark(&file, run), None);
        mark_stopped(&file, run, StopMark::Signalled).unwrap();
        assert_eq!(stop_mark(&file, run), Some(StopMark::Signalled));
        mark_stopped(&file, run, StopMark::Stopped).unwrap();
        mark_stopped(&file, run, StopMark::Signalled).unwrap();
        assert_eq!(stop_mark(&file, run), Some(StopMark::Stopped));
        forget_stop(&file, run).unwrap();
        assert_eq!(stop_mark(&file, run), None);
        let nowhere = directory.path().join("no/where");
        mark_stopped(&nowhere, run, StopMark::Stopped).unwrap();
        assert_eq!(stop_mark(&nowhere, run), Some(StopMark::Stopped));
    }

    #[test]
    fn a_changed_policy_is_the_one_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let plan = RestartPlan { policy: RestartPolicy::Never, stop_file: PathBuf::new() };
        assert_eq!(plan.current(directory.path()), RestartPolicy::Never);
        set_restart_policy(directory.path(), RestartPolicy::Always).unwrap();
        assert_eq!(plan.current(directory.path()), RestartPolicy::Always);
    }
}
