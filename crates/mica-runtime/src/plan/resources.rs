//! Limits of a container, as the cgroup room applies them.

use oci_spec::runtime::LinuxResources;
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
        };
        (resources, unapplied(document))
    }
}

fn unapplied(document: &LinuxResources) -> Vec<String> {
    let memory = document.memory().as_ref();
    let cpu = document.cpu().as_ref();
    let present = [
        ("block I/O limits", document.block_io().is_some()),
        ("huge page limits", document.hugepage_limits().as_ref().is_some_and(|limits| !limits.is_empty())),
        ("network classes", document.network().is_some()),
        ("RDMA limits", document.rdma().is_some()),
        ("unified settings", document.unified().as_ref().is_some_and(|settings| !settings.is_empty())),
        (
            "kernel memory",
            memory.is_some_and(|memory| memory.kernel().is_some() || memory.kernel_tcp().is_some()),
        ),
        ("swappiness", memory.is_some_and(|memory| memory.swappiness().is_some())),
        ("disabling the OOM killer", memory.is_some_and(|memory| memory.disable_oom_killer() == Some(true))),
        (
            "real-time CPU",
            cpu.is_some_and(|cpu| cpu.realtime_runtime().is_some() || cpu.realtime_period().is_some()),
        ),
        ("CPU burst", cpu.is_some_and(|cpu| cpu.burst().is_some())),
        ("idle CPU", cpu.is_some_and(|cpu| cpu.idle().is_some())),
    ];
    let named = present.into_iter().filter(|(_, is_present)| *is_present);
    named.map(|(name, _)| format!("{name} are not applied by this version")).collect()
}
