//! Limits: one list of file writes per cgroup version, so that what a host lacks can be named.

use super::{Group, Version};
use crate::Resources;
use crate::error::{SetupError, SetupStep};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// One file to write.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: String,
    /// What is missing when the host has no such file.
    missing: &'static str,
}

/// Applies limits; gives those that this host does not know.
///
/// # Errors
/// When the kernel knows a limit and refuses its value.
pub(crate) fn apply(group: &Group, resources: &Resources) -> Result<Vec<String>, SetupError> {
    let mut warnings = Vec::new();
    if *resources == Resources::default() {
        return Ok(warnings);
    }
    for setting in all_settings(group, resources) {
        let Some((directory, _)) = group.controller(setting.controller) else {
            warnings.push(missing(&setting));
            continue;
        };
        let path = directory.join(setting.file);
        match write(&path, &setting.value) {
            Ok(()) => {}
            Err(Errno::NOENT) => warnings.push(missing(&setting)),
            Err(errno) => {
                let subject = format!("{} = {}", path.display(), setting.value);
                return Err(SetupError::new(SetupStep::Limit, subject, errno));
            }
        }
    }
    Ok(warnings)
}

fn missing(setting: &Setting) -> String {
    format!(
        "Your kernel does not support {} or the cgroup is not mounted. Limitation discarded.",
        setting.missing
    )
}

fn write(path: &std::path::Path, value: &str) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(|_| ())
}

fn all_settings(group: &Group, resources: &Resources) -> Vec<Setting> {
    let version = |controller| group.controller(controller).map_or(Version::Unified, |(_, version)| version);
    let mut settings = match version("memory") {
        Version::Legacy => {
            let current = group.controller("memory").and_then(|(directory, _)| {
                std::fs::read_to_string(directory.join("memory.memsw.limit_in_bytes"))
                    .ok()?
                    .trim()
                    .parse()
                    .ok()
            });
            legacy_memory(resources, current)
        }
        Version::Unified => unified_memory(resources),
    };
    settings.extend(match version("cpu") {
        Version::Legacy => legacy_cpu(resources),
        Version::Unified => unified_cpu(resources),
    });
    for (file, value) in [("cpuset.cpus", &resources.cpuset_cpus), ("cpuset.mems", &resources.cpuset_mems)] {
        settings.extend(value.as_ref().map(|value| setting("cpuset", file, value.clone(), "cpusets")));
    }
    let pids = resources.pids_max.map(|most| if most < 0 { "max".to_owned() } else { most.to_string() });
    settings.extend(pids.map(|value| setting("pids", "pids.max", value, "pids limit capabilities")));
    settings
}

fn setting(controller: &'static str, file: &'static str, value: String, missing: &'static str) -> Setting {
    Setting { controller, file, value, missing }
}

fn legacy_memory(resources: &Resources, current_swap: Option<u64>) -> Vec<Setting> {
    let limit = resources.memory_bytes.map(|value| {
        setting("memory", "memory.limit_in_bytes", value.to_string(), "memory limit capabilities")
    });
    let swap = resources.memory_swap_bytes.map(|value| {
        setting("memory", "memory.memsw.limit_in_bytes", value.to_string(), "swap limit capabilities")
    });
    let reservation = resources.memory_reservation_bytes.map(|value| {
        setting("memory", "memory.soft_limit_in_bytes", value.to_string(), "memory soft limit capabilities")
    });
    // Memory may never exceed memory plus swap, not even between two writes.
    let grows = match (resources.memory_bytes, resources.memory_swap_bytes, current_swap) {
        (_, Some(-1), _) => true,
        (Some(memory), Some(_), Some(current)) => u64::try_from(memory).is_ok_and(|memory| memory > current),
        _ => false,
    };
    let ordered = if grows { [swap, limit, reservation] } else { [limit, swap, reservation] };
    ordered.into_iter().flatten().collect()
}

fn unified_memory(resources: &Resources) -> Vec<Setting> {
    let text = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    let limit = resources
        .memory_bytes
        .map(|value| setting("memory", "memory.max", text(value), "memory limit capabilities"));
    // Version 2 counts swap alone, documents count memory and swap together.
    let swap = resources.memory_swap_bytes.map(|total| match (total, resources.memory_bytes) {
        (total, Some(memory)) if total >= 0 && memory >= 0 => total.saturating_sub(memory),
        (total, _) => total,
    });
    let swap = swap.map(|value| setting("memory", "memory.swap.max", text(value), "swap limit capabilities"));
    let reservation = resources.memory_reservation_bytes;
    let low = reservation
        .map(|value| setting("memory", "memory.low", text(value), "memory soft limit capabilities"));
    [limit, swap, low].into_iter().flatten().collect()
}

fn legacy_cpu(resources: &Resources) -> Vec<Setting> {
    let shares =
        resources.cpu_shares.map(|value| setting("cpu", "cpu.shares", value.to_string(), "CPU shares"));
    let period = resources
        .cpu_period
        .map(|value| setting("cpu", "cpu.cfs_period_us", value.to_string(), "CPU CFS scheduler"));
    let quota = resources
        .cpu_quota
        .map(|value| setting("cpu", "cpu.cfs_quota_us", value.to_string(), "CPU CFS scheduler"));
    [shares, period, quota].into_iter().flatten().collect()
}

fn unified_cpu(resources: &Resources) -> Vec<Setting> {
    let weight = resources
        .cpu_shares
        .map(|shares| setting("cpu", "cpu.weight", weight_of(shares).to_string(), "CPU shares"));
    let bandwidth = match (resources.cpu_quota, resources.cpu_period) {
        (None, None) => None,
        (quota, period) => {
            let quota = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
            let value = format!("{quota} {}", period.unwrap_or(100_000));
            Some(setting("cpu", "cpu.max", value, "CPU CFS scheduler"))
        }
    };
    [weight, bandwidth].into_iter().flatten().collect()
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), by the linear
/// conversion that all runtimes share.
fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(settings: &[Setting]) -> Vec<(&str, &str)> {
        settings.iter().map(|setting| (setting.file, setting.value.as_str())).collect()
    }

    #[test]
    fn shares_become_weights_over_the_whole_range() {
        assert_eq!([2, 1024, 262_144, 0].map(weight_of), [1, 39, 10_000, 1]);
    }

    #[test]
    fn swap_of_version_2_excludes_memory() {
        let resources =
            Resources { memory_bytes: Some(100), memory_swap_bytes: Some(300), ..Resources::default() };
        assert_eq!(files(&unified_memory(&resources)), [("memory.max", "100"), ("memory.swap.max", "200")]);
        let unlimited =
            Resources { memory_bytes: Some(100), memory_swap_bytes: Some(-1), ..Resources::default() };
        assert_eq!(files(&unified_memory(&unlimited))[1], ("memory.swap.max", "max"));
    }

    #[test]
    fn a_growing_limit_of_version_1_raises_swap_first() {
        let resources =
            Resources { memory_bytes: Some(500), memory_swap_bytes: Some(900), ..Resources::default() };
        assert_eq!(files(&legacy_memory(&resources, Some(300)))[0].0, "memory.memsw.limit_in_bytes");
        assert_eq!(files(&legacy_memory(&resources, Some(u64::MAX)))[0].0, "memory.limit_in_bytes");
    }

    #[test]
    fn quotas_of_version_2_share_a_file() {
        let resources = Resources { cpu_quota: Some(50_000), ..Resources::default() };
        assert_eq!(files(&unified_cpu(&resources)), [("cpu.max", "50000 100000")]);
        let none = Resources { cpu_quota: Some(-1), cpu_period: Some(20_000), ..Resources::default() };
        assert_eq!(files(&unified_cpu(&none)), [("cpu.max", "max 20000")]);
    }
}
