//! Limits: one list of file writes per cgroup version, so that what a host lacks can be named.

use super::{Group, Version, block};
use crate::Resources;
use crate::error::{SetupError, SetupStep};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// One limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    /// The file to write and what; the first that the host has is taken.
    pub(super) files: Vec<(&'static str, String)>,
    /// What is said when the host has none: docker's words.
    pub(super) missing: &'static str,
}

/// Applies limits; gives those that this host does not know.
///
/// # Errors
/// When the kernel knows a limit and refuses its value.
pub(crate) fn apply(group: &Group, resources: &Resources) -> Result<Vec<String>, SetupError> {
    if *resources == Resources::default() {
        return Ok(Vec::new());
    }
    let mut warnings: Vec<&str> = Vec::new();
    let mut refused = Vec::new();
    for setting in all_settings(group, resources) {
        match set(group, &setting) {
            Ok(()) => {}
            Err(Errno::NOENT) => warnings.push(setting.missing),
            // It may contradict what is written only after it.
            Err(Errno::INVAL) => refused.push(setting),
            Err(errno) => return Err(failed(group, &setting, errno)),
        }
    }
    for setting in refused {
        set(group, &setting).map_err(|errno| failed(group, &setting, errno))?;
    }
    warnings.dedup();
    Ok(warnings.into_iter().map(str::to_owned).collect())
}

fn set(group: &Group, setting: &Setting) -> Result<(), Errno> {
    let (directory, _) = group.controller(setting.controller).ok_or(Errno::NOENT)?;
    let mut tried = setting.files.iter().map(|(file, value)| write(&directory.join(file), value));
    tried.find(|written| *written != Err(Errno::NOENT)).unwrap_or(Err(Errno::NOENT))
}

fn failed(group: &Group, setting: &Setting, errno: Errno) -> SetupError {
    let directory = group.controller(setting.controller).map(|(directory, _)| directory.to_owned());
    let (file, value) = setting.files.first().map_or(("", ""), |(file, value)| (*file, value.as_str()));
    let path = directory.unwrap_or_default().join(file);
    SetupError::new(SetupStep::Limit, format!("{} = {value}", path.display()), errno)
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
    let cpuset = "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.";
    for (file, value) in [("cpuset.cpus", &resources.cpuset_cpus), ("cpuset.mems", &resources.cpuset_mems)] {
        settings.extend(value.as_ref().map(|value| setting("cpuset", file, value.clone(), cpuset)));
    }
    let pids = resources.pids_max.map(|most| if most < 0 { "max".to_owned() } else { most.to_string() });
    settings.extend(pids.map(|value| setting("pids", "pids.max", value, NO_PIDS)));
    settings.extend(match version("blkio") {
        Version::Legacy => block::legacy(&resources.block),
        Version::Unified => block::unified(&resources.block),
    });
    settings
}

const NO_MEMORY: &str = "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.";
const NO_SWAP: &str = "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.";
const NO_RESERVATION: &str = "Your kernel does not support memory soft limit capabilities or the cgroup is not mounted. Limitation discarded.";
const NO_SWAPPINESS: &str = "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.";
const NO_OOM_CONTROL: &str = "Your kernel does not support OomKillDisable. OomKillDisable discarded.";
const NO_SHARES: &str =
    "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.";
const NO_CFS: &str = "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.";
const NO_REALTIME: &str =
    "Your kernel does not support CPU real-time scheduler. CPU real-time limits discarded.";
const NO_PIDS: &str = "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.";

fn setting(controller: &'static str, file: &'static str, value: String, missing: &'static str) -> Setting {
    Setting { controller, files: vec![(file, value)], missing }
}

fn legacy_memory(resources: &Resources, current_swap: Option<u64>) -> Vec<Setting> {
    let limit = resources
        .memory_bytes
        .map(|value| setting("memory", "memory.limit_in_bytes", value.to_string(), NO_MEMORY));
    let swap = resources
        .memory_swap_bytes
        .map(|value| setting("memory", "memory.memsw.limit_in_bytes", value.to_string(), NO_SWAP));
    let reservation = resources
        .memory_reservation_bytes
        .map(|value| setting("memory", "memory.soft_limit_in_bytes", value.to_string(), NO_RESERVATION));
    // Memory may never exceed memory plus swap, not even between two writes.
    let grows = match (resources.memory_bytes, resources.memory_swap_bytes, current_swap) {
        (_, Some(-1), _) => true,
        (Some(memory), Some(_), Some(current)) => u64::try_from(memory).is_ok_and(|memory| memory > current),
        _ => false,
    };
    let ordered = if grows { [swap, limit, reservation] } else { [limit, swap, reservation] };
    let swappiness = resources
        .swappiness
        .map(|value| setting("memory", "memory.swappiness", value.to_string(), NO_SWAPPINESS));
    let oom = resources
        .is_oom_killer_off
        .then(|| setting("memory", "memory.oom_control", "1".to_owned(), NO_OOM_CONTROL));
    ordered.into_iter().chain([swappiness, oom]).flatten().collect()
}

fn unified_memory(resources: &Resources) -> Vec<Setting> {
    let text = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    let limit = resources.memory_bytes.map(|value| setting("memory", "memory.max", text(value), NO_MEMORY));
    // Version 2 counts swap alone, documents count memory and swap together.
    let swap = resources.memory_swap_bytes.map(|total| match (total, resources.memory_bytes) {
        (total, Some(memory)) if total >= 0 && memory >= 0 => total.saturating_sub(memory),
        (total, _) => total,
    });
    let swap = swap.map(|value| setting("memory", "memory.swap.max", text(value), NO_SWAP));
    let reservation = resources.memory_reservation_bytes;
    let low = reservation.map(|value| setting("memory", "memory.low", text(value), NO_RESERVATION));
    // Of these version 2 knows nothing.
    let none = |missing| Setting { controller: "memory", files: Vec::new(), missing };
    let swappiness = resources.swappiness.map(|_| none(NO_SWAPPINESS));
    let oom = resources.is_oom_killer_off.then(|| none(NO_OOM_CONTROL));
    [limit, swap, low, swappiness, oom].into_iter().flatten().collect()
}

fn legacy_cpu(resources: &Resources) -> Vec<Setting> {
    let shares = resources.cpu_shares.map(|value| setting("cpu", "cpu.shares", value.to_string(), NO_SHARES));
    let period =
        resources.cpu_period.map(|value| setting("cpu", "cpu.cfs_period_us", value.to_string(), NO_CFS));
    let quota =
        resources.cpu_quota.map(|value| setting("cpu", "cpu.cfs_quota_us", value.to_string(), NO_CFS));
    let realtime_period = resources
        .realtime_period
        .map(|value| setting("cpu", "cpu.rt_period_us", value.to_string(), NO_REALTIME));
    let realtime_runtime = resources
        .realtime_runtime
        .map(|value| setting("cpu", "cpu.rt_runtime_us", value.to_string(), NO_REALTIME));
    [shares, period, quota, realtime_period, realtime_runtime].into_iter().flatten().collect()
}

fn unified_cpu(resources: &Resources) -> Vec<Setting> {
    let weight = resources
        .cpu_shares
        .map(|shares| setting("cpu", "cpu.weight", weight_of(shares).to_string(), NO_SHARES));
    let bandwidth = match (resources.cpu_quota, resources.cpu_period) {
        (None, None) => None,
        (quota, period) => {
            let quota = quota.filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
            let value = format!("{quota} {}", period.unwrap_or(100_000));
            Some(setting("cpu", "cpu.max", value, NO_CFS))
        }
    };
    let has_realtime = resources.realtime_period.is_some() || resources.realtime_runtime.is_some();
    let realtime =
        has_realtime.then(|| Setting { controller: "cpu", files: Vec::new(), missing: NO_REALTIME });
    [weight, bandwidth, realtime].into_iter().flatten().collect()
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
        let all = settings.iter().flat_map(|setting| &setting.files);
        all.map(|(file, value)| (*file, value.as_str())).collect()
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
    fn what_a_version_does_not_know_is_told() {
        let resources = Resources { swappiness: Some(10), is_oom_killer_off: true, ..Resources::default() };
        let told: Vec<&str> = unified_memory(&resources).iter().map(|setting| setting.missing).collect();
        assert_eq!(told, [NO_SWAPPINESS, NO_OOM_CONTROL]);
        assert_eq!(files(&unified_memory(&resources)), []);
        assert_eq!(
            files(&legacy_memory(&resources, None)),
            [("memory.swappiness", "10"), ("memory.oom_control", "1")]
        );
    }

    #[test]
    fn quotas_of_version_2_share_a_file() {
        let resources = Resources { cpu_quota: Some(50_000), ..Resources::default() };
        assert_eq!(files(&unified_cpu(&resources)), [("cpu.max", "50000 100000")]);
        let none = Resources { cpu_quota: Some(-1), cpu_period: Some(20_000), ..Resources::default() };
        assert_eq!(files(&unified_cpu(&none)), [("cpu.max", "max 20000")]);
    }
}
