//! Whether a container is well: docker's three states, how probes change them, and the record that tells.
//!
//! The monitor keeps the record in the run directory while the container runs, and beside the exit
//! record when it has ended. Everything here is decided from what is handed in, without a clock.

use crate::RuntimeError;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How well a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HealthStatus {
    /// No probe has succeeded in this life, and not enough have failed.
    #[default]
    Starting,
    /// The last probes succeeded, or too few have failed since.
    Healthy,
    /// Enough probes in a row have failed, or nobody probes any more.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What one probe has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// When it began, in nanoseconds since the epoch.
    pub started_at: i64,
    /// When it ended, in nanoseconds since the epoch.
    pub ended_at: i64,
    /// Its exit code; -1 for one that could not run or had to be ended.
    pub exit_code: i64,
    /// What it said, the beginning of it if that was much.
    pub output: String,
}

/// What is known of a container's health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HealthRecord {
    version: u32,
    /// How well it is.
    pub status: HealthStatus,
    /// How many probes in a row have failed and counted.
    pub failing_streak: u32,
    /// The last probes, the latest last.
    pub log: VecDeque<ProbeResult>,
}

/// When probes are made and what they decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSchedule {
    /// From the end of a probe to the next.
    pub interval: Duration,
    /// The same while the container starts.
    pub start_interval: Duration,
    /// For how long failures do not count if no probe has succeeded.
    pub start_period: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How many failures in a row make a container unhealthy.
    pub retries: u32,
}

/// Name of the record in a run directory.
pub(crate) const HEALTH_FILE: &str = "health.json";

/// Format of the record.
const RECORD_VERSION: u32 = 1;

/// How many results are kept (docker's number).
const LOG_LENGTH_MAX: usize = 5;

impl HealthSchedule {
    /// How long to wait before the next probe of a container that has lived for `age`.
    pub(crate) fn pause(&self, status: HealthStatus, age: Duration) -> Duration {
        let is_starting = status == HealthStatus::Starting && age < self.start_period;
        if is_starting { self.start_interval } else { self.interval }
    }
}

impl HealthRecord {
    /// Begins a new life; what was found in earlier ones can still be read.
    pub(crate) fn begin(&mut self) {
        (self.status, self.failing_streak) = (HealthStatus::Starting, 0);
    }

    /// Nobody probes any more, which docker calls unhealthy.
    pub(crate) fn end(&mut self) {
        self.status = HealthStatus::Unhealthy;
    }

    /// Takes in what a probe has found that began when the container had lived for `age`; gives the
    /// status if that has changed.
    pub(crate) fn take_in(
        &mut self,
        result: ProbeResult,
        age: Duration,
        schedule: &HealthSchedule,
    ) -> Option<HealthStatus> {
        let before = self.status;
        if result.exit_code == 0 {
            (self.status, self.failing_streak) = (HealthStatus::Healthy, 0);
        } else if before != HealthStatus::Starting || age >= schedule.start_period {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= schedule.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        self.log.push_back(result);
        while self.log.len() > LOG_LENGTH_MAX {
            self.log.pop_front();
        }
        (self.status != before).then_some(self.status)
    }

    /// Reads a record; one that is not there, or is not understood, tells nothing.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (record.version == RECORD_VERSION).then_some(record)
    }

    /// Writes it, so that a reader sees all or nothing.
    pub(crate) fn write(&mut self, path: &Path) -> Result<(), RuntimeError> {
        self.version = RECORD_VERSION;
        let failed = || RuntimeError::file("write", path);
        let text = serde_json::to_vec(self).map_err(|error| failed()(error.into()))?;
        let temporary = path.with_extension("new");
        fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)).map_err(failed())
    }
}

/// What is known of the health of the container whose run directory it is and whose last record is
/// kept in `kept_file`; `None` when nobody has ever looked.
pub fn health(run_directory: &Path, kept_file: &Path) -> Option<HealthRecord> {
    // Where both are, the one in the run directory is that of the later run.
    HealthRecord::read(&run_directory.join(HEALTH_FILE)).or_else(|| HealthRecord::read(kept_file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule(retries: u32, start_period: Duration) -> HealthSchedule {
        let (interval, start_interval) = (30 * SECOND, 5 * SECOND);
        HealthSchedule { interval, start_interval, start_period, timeout: SECOND, retries }
    }

    fn result(exit_code: i64) -> ProbeResult {
        ProbeResult { started_at: 1, ended_at: 2, exit_code, output: exit_code.to_string() }
    }

    #[test]
    fn failures_of_a_starting_container_do_not_count_until_it_was_well_once() {
        let schedule = schedule(2, 10 * SECOND);
        let mut record = HealthRecord::default();
        for _ in 0..4 {
            assert_eq!(record.take_in(result(1), SECOND, &schedule), None);
        }
        assert_eq!(record.failing_streak, 0);
        assert_eq!(record.take_in(result(0), SECOND, &schedule), Some(HealthStatus::Healthy));
        assert_eq!(record.take_in(result(1), 2 * SECOND, &schedule), None);
        assert_eq!(record.take_in(result(-1), 2 * SECOND, &schedule), Some(HealthStatus::Unhealthy));
        assert_eq!(record.take_in(result(9), 2 * SECOND, &schedule), None);
        assert_eq!((record.failing_streak, record.log.len()), (3, 5));
        record.begin();
        assert_eq!((record.status, record.failing_streak), (HealthStatus::Starting, 0));
        assert_eq!(record.log.len(), 5, "the log outlives a life");
    }

    #[test]
    fn probes_come_faster_only_while_a_container_starts() {
        let schedule = schedule(3, 10 * SECOND);
        assert_eq!(schedule.pause(HealthStatus::Starting, SECOND), 5 * SECOND);
        assert_eq!(schedule.pause(HealthStatus::Healthy, SECOND), 30 * SECOND);
        assert_eq!(schedule.pause(HealthStatus::Starting, 10 * SECOND), 30 * SECOND);
    }

    #[test]
    fn a_record_is_read_back_and_a_damaged_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let (run, kept) = (directory.path(), directory.path().join("kept.json"));
        assert_eq!(health(run, &kept), None);
        let mut record = HealthRecord::default();
        record.take_in(result(0), SECOND, &schedule(1, SECOND));
        record.write(&kept).unwrap();
        assert_eq!(health(run, &kept), Some(record.clone()));
        record.end();
        record.write(&run.join(HEALTH_FILE)).unwrap();
        assert_eq!(health(run, &kept), Some(record));
        fs::write(run.join(HEALTH_FILE), "{\"version\":1,").unwrap();
        assert!(health(run, &kept).is_some(), "the other one still tells");
    }

    /// What must be true, told from all results at once.
    fn expected(results: &[(i64, u64)], schedule: &HealthSchedule) -> (HealthStatus, u32) {
        let mut streak = 0;
        let mut has_settled = false;
        let mut status = HealthStatus::Starting;
        for (code, age) in results {
            let counts = has_settled || Duration::from_secs(*age) >= schedule.start_period;
            streak = if *code == 0 { 0 } else { streak + u32::from(counts) };
            if *code == 0 {
                status = HealthStatus::Healthy;
            } else if counts && streak >= schedule.retries {
                status = HealthStatus::Unhealthy;
            }
            has_settled = status != HealthStatus::Starting;
        }
        (status, streak)
    }

    proptest! {
        #[test]
        fn any_series_of_probes_ends_where_the_rules_say(
            codes in prop::collection::vec(-1_i64..3, 0..40),
            steps in prop::collection::vec(0_u64..4, 40),
            retries in 1_u32..6,
            start_period in 0_u64..30,
        ) {
            let schedule = schedule(retries, Duration::from_secs(start_period));
            let mut record = HealthRecord::default();
            let mut age = 0;
            let mut results = Vec::new();
            for (code, step) in codes.iter().zip(&steps) {
                age += step;
                results.push((*code, age));
                let before = record.status;
                let news = record.take_in(result(*code), Duration::from_secs(age), &schedule);
                prop_assert_eq!(news.is_some(), before != record.status, "what changes is told, and nothing else");
                prop_assert_eq!(*code == 0, record.status == HealthStatus::Healthy && record.failing_streak == 0
                    && record.log.back().is_some_and(|last| last.exit_code == 0));
                prop_assert!(!(before != HealthStatus::Starting && record.status == HealthStatus::Starting));
            }
            prop_assert_eq!((record.status, record.failing_streak), expected(&results, &schedule));
            let last: Vec<i64> = record.log.iter().map(|result| result.exit_code).collect();
            prop_assert_eq!(last.as_slice(), &codes[codes.len().saturating_sub(LOG_LENGTH_MAX)..]);
        }
    }
}
