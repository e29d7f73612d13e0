//! Limits of a container, as the cgroup room applies them.

use oci_spec::runtime::{LinuxBlockIo, LinuxResources};
use serde::{Deserialize, Serialize};

/// Limits; `None` leaves what the kernel has. Of memory and pids, -1 means unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Memory in bytes.
    pub memory_bytes: Option<i64>,
    /// Memory plus swap in bytes.
    pub memory_swap_bytes: Option<i64>,
    /// Soft limit of memory in bytes.
    pub memory_reservation_bytes: Option<i64>,
    /// Relative weight of the processor, 2 to 262144, 1024 being usual.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per period.
    pub cpu_quota: Option<i64>,
    /// Length of that period in microseconds.
    pub cpu_period: Option<u64>,
    /// Processors to use, as `0-2,5`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use.
    pub cpuset_mems: Option<String>,
    /// Most processes and threads.
    pub pids_max: Option<i64>,
    /// How readily memory is swapped out, 0 to 100 (version 1 only).
    pub swappiness: Option<u64>,
    /// Processes wait for memory instead of being killed (version 1 only).
    pub is_oom_killer_off: bool,
    /// Microseconds of real-time processor time per period (version 1 only).
    pub realtime_runtime: Option<i64>,
    /// Length of that period in microseconds.
    pub realtime_period: Option<u64>,
    /// Block devices.
    pub block: BlockLimits,
}

/// Limits of block devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BlockLimits {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// The same for one device, given as `major:minor`.
    pub weight_by_device: Vec<(String, u16)>,
    /// Rates.
    pub throttles: Vec<Throttle>,
}

/// A rate at which one device may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// What is counted.
    pub kind: ThrottleKind,
    /// `major:minor`.
    pub device: String,
    /// Per second; 0 is without limit.
    pub rate: u64,
}

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Reads.
    ReadOperations,
    /// Writes.
    WriteOperations,
}

impl Resources {
    /// Converts a document's limits; the second value names those that are not applied.
    pub fn from_oci(document: &LinuxResources) -> (Self, Vec<String>) {
        let memory = document.memory().as_ref();
        let cpu = document.cpu().as_ref();
        let resources = Self {
            memory_bytes: memory.and_then(|memory| memory.limit()),
            memory_swap_bytes: memory.and_then(|memory| memory.swap()),
            memory_reservation_bytes: memory.and_then(|memory| memory.reservation()),
            cpu_shares: cpu.and_then(|cpu| cpu.shares()).filter(|shares| *shares != 0),
            cpu_quota: cpu.and_then(|cpu| cpu.quota()).filter(|quota| *quota != 0),
            cpu_period: cpu.and_then(|cpu| cpu.period()).filter(|period| *period != 0),
            cpuset_cpus: cpu.and_then(|cpu| cpu.cpus().clone()).filter(|list| !list.is_empty()),
            cpuset_mems: cpu.and_then(|cpu| cpu.mems().clone()).filter(|list| !list.is_empty()),
            pids_max: document.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0),
            swappiness: memory.and_then(|memory| memory.swappiness()),
            is_oom_killer_off: memory.and_then(|memory| memory.disable_oom_killer()).unwrap_or(false),
            realtime_runtime: cpu.and_then(|cpu| cpu.realtime_runtime()).filter(|runtime| *runtime != 0),
            realtime_period: cpu.and_then(|cpu| cpu.realtime_period()).filter(|period| *period != 0),
            block: document.block_io().as_ref().map(block_limits).unwrap_or_default(),
        };
        (resources, unapplied(document))
    }
}

fn block_limits(document: &LinuxBlockIo) -> BlockLimits {
    let weights = document.weight_device().iter().flatten();
    let weight_by_device = weights
        .filter_map(|device| Some((format!("{}:{}", device.major(), device.minor()), device.weight()?)))
        .collect();
    let lists = [
        (ThrottleKind::ReadBytes, document.throttle_read_bps_device()),
        (ThrottleKind::WriteBytes, document.throttle_write_bps_device()),
        (ThrottleKind::ReadOperations, document.throttle_read_iops_device()),
        (ThrottleKind::WriteOperations, document.throttle_write_iops_device()),
    ];
    let all = lists.into_iter().flat_map(|(kind, list)| list.iter().flatten().map(move |one| (kind, one)));
    let throttles = all.map(|(kind, one)| Throttle {
        kind,
        device: format!("{}:{}", one.major(), one.minor()),
        rate: one.rate(),
    });
    BlockLimits { weight: document.weight(), weight_by_device, throttles: throttles.collect() }
}

fn unapplied(document: &LinuxResources) -> Vec<String> {
    let memory = document.memory().as_ref();
    let cpu = document.cpu().as_ref();
    let present = [
        ("huge page limits", document.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty())),
        ("network classes", document.network().is_some()),
        ("RDMA limits", document.rdma().is_some()),
        ("unified settings", document.unified().as_ref().is_some_and(|settings| !settings.is_empty())),
        (
            "kernel memory",
            memory.is_some_and(|memory| memory.kernel().is_some() || memory.kernel_tcp().is_some()),
        ),
        ("CPU burst", cpu.is_some_and(|cpu| cpu.burst().is_some())),
        ("idle CPU", cpu.is_some_and(|cpu| cpu.idle().is_some())),
    ];
    let named = present.into_iter().filter(|(_, is_present)| *is_present);
    named.map(|(name, _)| format!("{name} are not applied by this version")).collect()
}
