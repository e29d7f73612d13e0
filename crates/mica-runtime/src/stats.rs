//! Raw counters of a running container, for `stats`.

use crate::RuntimeError;
use std::path::Path;

/// Counters at one moment. What the host does not count is zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Processor time in nanoseconds.
    pub cpu_total: u64,
    /// Of it in user mode.
    pub cpu_user: u64,
    /// Of it in the kernel.
    pub cpu_system: u64,
    /// Per processor, where the host counts so (cgroup v1).
    pub cpu_per_processor: Vec<u64>,
    /// Processors online.
    pub online_processors: u32,
    /// Processor time of the whole host in nanoseconds, all states.
    pub host_cpu_total: u64,
    /// Periods that a quota was in force.
    pub throttling_periods: u64,
    /// Of them throttled.
    pub throttled_periods: u64,
    /// Nanoseconds throttled.
    pub throttled_time: u64,
    /// Bytes of memory in use, page cache included.
    pub memory_usage: u64,
    /// The most so far.
    pub memory_max_usage: u64,
    /// The limit in bytes; the host's memory when there is none.
    pub memory_limit: u64,
    /// `memory.stat` as the kernel gives it.
    pub memory_stat: Vec<(String, u64)>,
    /// Bytes of inactive page cache, which `docker stats` subtracts.
    pub memory_inactive_file: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Their limit; 0 is none.
    pub pids_limit: u64,
    /// Block devices.
    pub block_io: Vec<BlockIo>,
    /// Network interfaces, the loopback left out.
    pub networks: Vec<NetworkCounters>,
}

/// Bytes and requests of one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockIo {
    /// Major device number.
    pub major: u32,
    /// Minor device number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
}

/// Counters of one network interface (`/proc/net/dev`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkCounters {
    /// Name inside the container.
    pub name: String,
    /// Received bytes, packets, errors, dropped.
    pub received: [u64; 4],
    /// Sent bytes, packets, errors, dropped.
    pub sent: [u64; 4],
}

/// Reads the counters of a running container.
pub fn stats(run_directory: &Path) -> Result<Stats, RuntimeError> {
    Err(RuntimeError::NotRunning { path: run_directory.to_owned() })
}
