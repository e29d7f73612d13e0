//! Health checks: what is asked for, what the monitor is told to probe, and how what it finds is shown.

use crate::Local;
use crate::container::exec;
use crate::container::record::{Definition, Observed, Record};
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use crate::events;
use mica_api::types::container::{Health, HealthResult, Healthcheck};
use mica_api::types::exec::ExecRequest;
use mica_model::Timestamp;
use mica_runtime::{HealthEvents, HealthPlan, HealthRecord, HealthSchedule, HealthStatus};
use std::time::Duration;

/// From one probe to the next, and how long one may take, where nobody says otherwise (docker's).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(30);

/// From one probe to the next while the container starts (docker's).
const START_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// How many failures in a row make a container unhealthy (docker's).
const RETRIES_DEFAULT: u32 = 3;

/// The shortest duration that is taken, in nanoseconds (docker's).
const DURATION_MIN_NANOSECONDS: i64 = 1_000_000;

/// What has no health check says so by this word.
pub(crate) const NONE: &str = "none";

/// The wishes win; what they leave open comes from the image.
pub(crate) fn merge(wished: Option<Healthcheck>, image: Option<Healthcheck>) -> Option<Healthcheck> {
    let (Some(mut wished), Some(image)) = (wished.clone(), image.clone()) else { return wished.or(image) };
    if wished.test.is_empty() {
        wished.test = image.test;
    }
    for (own, other) in [
        (&mut wished.interval, image.interval),
        (&mut wished.timeout, image.timeout),
        (&mut wished.start_period, image.start_period),
        (&mut wished.start_interval, image.start_interval),
        (&mut wished.retries, image.retries),
    ] {
        if *own == 0 {
            *own = other;
        }
    }
    Some(wished)
}

/// Refuses what cannot be, in docker's words.
pub(crate) fn check(wished: Option<&Healthcheck>) -> Result<()> {
    let Some(wished) = wished else { return Ok(()) };
    for (name, nanoseconds) in [
        ("Interval", wished.interval),
        ("Timeout", wished.timeout),
        ("StartPeriod", wished.start_period),
        ("StartInterval", wished.start_interval),
    ] {
        if nanoseconds != 0 && nanoseconds < DURATION_MIN_NANOSECONDS {
            return Err(Error::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if wished.retries < 0 {
        return Err(Error::invalid("Retries in Healthcheck cannot be negative"));
    }
    match wished.test.first().map(String::as_str) {
        None | Some("NONE") => Ok(()),
        Some("CMD" | "CMD-SHELL") if wished.test.len() > 1 => Ok(()),
        Some("CMD" | "CMD-SHELL") => Err(Error::invalid("Test in Healthcheck has no command")),
        Some(kind) => Err(Error::invalid(format!("Unknown healthcheck type '{kind}' (expected 'CMD')"))),
    }
}

/// The program and arguments of a probe; `None` without a health check.
fn command(definition: &Definition) -> Option<Vec<String>> {
    let check = definition.config.healthcheck.as_ref()?;
    let (kind, words) = check.test.split_first()?;
    match kind.as_str() {
        "CMD" => Some(words.to_vec()),
        "CMD-SHELL" => {
            let shell = definition.config.shell.clone().filter(|shell| !shell.is_empty());
            let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            command.extend_from_slice(words);
            Some(command)
        }
        _ => None,
    }
}

/// Whether a container is probed.
pub(crate) fn is_probed(definition: &Definition) -> bool {
    command(definition).is_some()
}

fn schedule(check: &Healthcheck) -> HealthSchedule {
    let duration = |nanoseconds: i64, default: Duration| match u64::try_from(nanoseconds) {
        Ok(nanoseconds @ 1..) => Duration::from_nanos(nanoseconds),
        _ => default,
    };
    HealthSchedule {
        interval: duration(check.interval, INTERVAL_DEFAULT),
        start_interval: duration(check.start_interval, START_INTERVAL_DEFAULT),
        start_period: duration(check.start_period, Duration::ZERO),
        timeout: duration(check.timeout, INTERVAL_DEFAULT),
        retries: u32::try_from(check.retries).ok().filter(|retries| *retries > 0).unwrap_or(RETRIES_DEFAULT),
    }
}

impl Local {
    /// What the monitor of a container is told to probe.
    pub(crate) fn health_plan(&self, record: &Record, definition: &Definition) -> Result<Option<HealthPlan>> {
        let (Some(command), Some(check)) = (command(definition), &definition.config.healthcheck) else {
            return Ok(None);
        };
        let request = ExecRequest { command: command.clone(), ..ExecRequest::default() };
        let id = [("execID", "@EXECID@".to_owned())];
        let end = [id[0].clone(), ("exitCode", "@EXITCODE@".to_owned())];
        let line = |action: &str, attributes: &[(&str, String)]| {
            events::template(&events::container(record, action, attributes))
        };
        let begin = ["exec_create", "exec_start"].map(|action| line(&exec::action(action, &command), &id));
        Ok(Some(HealthPlan {
            schedule: schedule(check),
            process: exec::process(self, definition, &request)?,
            user: Some(definition.config.user.clone()),
            groups: definition.host_config.group_add.clone().unwrap_or_default(),
            events: HealthEvents {
                begin: begin.join("\n"),
                end: line("exec_die", &end),
                status: line("health_status: @HEALTH@", &[]),
            },
            kept_file: self.disk.container(&record.id).health(),
        }))
    }

    /// Tells the monitor of a container that is probed that it was frozen or thawed.
    pub(crate) fn note_pause(&self, record: &Record, is_paused: bool) -> Result<()> {
        if !is_probed(&record.definition(&self.database())?) {
            return Ok(());
        }
        match mica_runtime::note_pause(self.disk.container(&record.id).run(), is_paused) {
            // It has ended meanwhile.
            Err(mica_runtime::RuntimeError::NotRunning { .. }) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// What is known of a container's health; `None` when it was never probed.
pub(crate) fn of(disk: &ContainerDisk, observed: &Observed) -> Option<HealthRecord> {
    let mut health = mica_runtime::health(disk.run(), &disk.health())?;
    if observed.status != "running" {
        // Its monitor may have had no time to write that down.
        health.status = HealthStatus::Unhealthy;
    }
    Some(health)
}

/// As `inspect` shows it.
pub(crate) fn shown(health: HealthRecord) -> Health {
    let result = |probe: mica_runtime::ProbeResult| HealthResult {
        start: Timestamp::from_nanoseconds(probe.started_at),
        end: Timestamp::from_nanoseconds(probe.ended_at),
        exit_code: probe.exit_code,
        output: probe.output,
    };
    Health {
        status: health.status.word().to_owned(),
        failing_streak: i64::from(health.failing_streak),
        log: health.log.into_iter().map(result).collect(),
    }
}

/// What `ps` says of it after the time.
pub(crate) fn words(status: HealthStatus) -> String {
    match status {
        HealthStatus::Starting => " (health: starting)".to_owned(),
        other => format!(" ({})", other.word()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_of(test: &[&str]) -> Healthcheck {
        Healthcheck { test: test.iter().map(|&word| word.to_owned()).collect(), ..Healthcheck::default() }
    }

    #[test]
    fn what_is_not_wished_comes_from_the_image() {
        let image = Healthcheck { interval: 7, retries: 2, ..check_of(&["CMD", "true"]) };
        let wished = Healthcheck { retries: 9, ..Healthcheck::default() };
        let merged = merge(Some(wished), Some(image.clone())).unwrap();
        assert_eq!(merged, Healthcheck { retries: 9, ..image.clone() });
        assert_eq!(merge(None, Some(image.clone())), Some(image.clone()));
        let none = merge(Some(check_of(&["NONE"])), Some(image)).unwrap();
        assert_eq!(none.test, ["NONE"]);
        assert_eq!(merge(None, None), None);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut wished = check_of(&["CMD", "true"]);
        check(Some(&wished)).unwrap();
        wished.start_interval = 999_999;
        let error = check(Some(&wished)).unwrap_err().to_string();
        assert_eq!(error, "StartInterval in Healthcheck cannot be less than 1ms");
        assert!(check(Some(&Healthcheck { retries: -1, ..Healthcheck::default() })).is_err());
        assert!(check(Some(&check_of(&["CMD"]))).is_err());
        assert!(check(Some(&check_of(&["EXEC", "x"]))).is_err());
        check(Some(&check_of(&["NONE"]))).unwrap();
    }

    #[test]
    fn what_is_not_said_is_dockers() {
        let schedule = schedule(&Healthcheck { start_period: 5, ..Healthcheck::default() });
        assert_eq!((schedule.interval, schedule.timeout), (INTERVAL_DEFAULT, INTERVAL_DEFAULT));
        assert_eq!((schedule.retries, schedule.start_period), (3, Duration::from_nanos(5)));
    }
}
