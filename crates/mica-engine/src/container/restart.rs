//! Restart policies: what they say, who stays stopped, and `system restart-containers` after a reboot.

use crate::Local;
use crate::container::record::{Definition, Record};
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use mica_api::types::container::{RestartFailure, RestartResponse, StartOptions};
use mica_api::types::host_config::{HostConfig, RestartPolicy as Wanted};
use mica_runtime::{RestartPlan, RestartPolicy, StopMark};

/// Refuses what is no policy, in docker's words.
pub(crate) fn check(wanted: &Wanted) -> Result<RestartPolicy> {
    let count = wanted.maximum_retry_count;
    let refuse = |reason: &str| Err(Error::invalid(format!("invalid restart policy: {reason}")));
    let policy = match wanted.name.as_str() {
        "on-failure" => {
            let Ok(retries_max) = u32::try_from(count) else {
                return refuse("maximum retry count cannot be negative");
            };
            return Ok(RestartPolicy::OnFailure { retries_max });
        }
        "" => return Ok(RestartPolicy::Never),
        "no" => RestartPolicy::Never,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        other => {
            return refuse(&format!(
                "unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            ));
        }
    };
    match count {
        0 => Ok(policy),
        1.. => refuse("maximum retry count can only be used with 'on-failure'"),
        _ => refuse("maximum retry count can only be used with 'on-failure' and cannot be negative"),
    }
}

/// Refuses policies that contradict the rest of the wishes.
pub(crate) fn check_host(host: &HostConfig) -> Result<()> {
    if check(&host.restart_policy)? != RestartPolicy::Never && host.auto_remove {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    Ok(())
}

/// What the monitor of a container is told.
pub(crate) fn plan(definition: &Definition, disk: &ContainerDisk) -> RestartPlan {
    // It was checked when the container was made.
    let policy = check(&definition.host_config.restart_policy).unwrap_or_default();
    RestartPlan { policy, stop_file: disk.stop_mark() }
}

impl Local {
    /// To be told before a signal is sent: whether that is to end the container for good, or only
    /// keeps one with the policy `unless-stopped` from coming back, as docker has it.
    pub(crate) fn mark_stopped(&self, record: &Record, ends: bool) -> Result<()> {
        let disk = self.disk.container(&record.id);
        let mark = if ends { StopMark::Stopped } else { StopMark::Signalled };
        Ok(mica_runtime::mark_stopped(&disk.stop_mark(), disk.run(), mark)?)
    }

    /// Starts the containers whose policies say so after a boot of the host.
    pub(crate) fn restart_containers(&self) -> Result<RestartResponse> {
        let mut answer = RestartResponse::default();
        let mut rows = self.observe_all()?;
        // The oldest first: others may share its namespaces.
        rows.reverse();
        for (record, observed) in rows {
            if observed.status != "exited" || !self.comes_back(&record)? {
                continue;
            }
            match self.start(record.id.as_str(), &StartOptions::default()) {
                Ok(_) => answer.started.push(record.name),
                // Somebody else has started or removed it meanwhile.
                Err(Error::NotModified { .. } | Error::NoSuchContainer { .. }) => {}
                Err(error) => {
                    let message = mica_api::Error::from(error).message;
                    answer.failed.push(RestartFailure { name: record.name, message });
                }
            }
        }
        Ok(answer)
    }

    fn comes_back(&self, record: &Record) -> Result<bool> {
        let disk = self.disk.container(&record.id);
        let policy = check(&record.definition(&self.database())?.host_config.restart_policy)?;
        let mark = mica_runtime::stop_mark(&disk.stop_mark(), disk.run());
        let restarts = mica_runtime::last_exit(&disk.exit(), disk.run()).map_or(0, |exit| exit.restart_count);
        Ok(policy.survives_reboot(record.exit_code, restarts, mark))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, maximum_retry_count: i64) -> Wanted {
        Wanted { name: name.to_owned(), maximum_retry_count }
    }

    #[test]
    fn policies_are_those_of_docker() {
        assert_eq!(check(&wanted("", 3)).unwrap(), RestartPolicy::Never);
        assert_eq!(check(&wanted("on-failure", 3)).unwrap(), RestartPolicy::OnFailure { retries_max: 3 });
        assert_eq!(check(&wanted("unless-stopped", 0)).unwrap(), RestartPolicy::UnlessStopped);
        for (name, count) in
            [("always", 1), ("no", 2), ("on-failure", -1), ("unless-stopped", -1), ("often", 0)]
        {
            assert!(check(&wanted(name, count)).is_err(), "{name}:{count}");
        }
        let reason = check(&wanted("often", 0)).unwrap_err().to_string();
        assert!(reason.starts_with("invalid restart policy: unknown policy 'often'; use one of"), "{reason}");
        let host =
            HostConfig { auto_remove: true, restart_policy: wanted("always", 0), ..Default::default() };
        assert!(check_host(&host).is_err());
    }
}
