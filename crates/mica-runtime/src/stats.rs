//! Raw counters of a running container, for `stats`.

use crate::RuntimeError;
use crate::cgroup::{Group, Version};
use crate::control::Target;
use std::fs;
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
    let target = Target::find(run_directory)?;
    let group = &target.state.group;
    let mut stats = Stats { online_processors: online_processors(), ..Stats::default() };
    stats.host_cpu_total = read("/proc/stat").lines().next().map_or(0, parse_host_cpu);
    add_cpu(&mut stats, group);
    add_memory(&mut stats, group);
    if let Some((directory, _)) = group.controller("pids") {
        stats.pids = number(&directory.join("pids.current"));
        stats.pids_limit = number(&directory.join("pids.max"));
    } else {
        stats.pids = group.processes().len() as u64;
    }
    add_block_io(&mut stats, group);
    stats.networks = parse_networks(&read(format!("/proc/{}/net/dev", target.state.pid)));
    Ok(stats)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A file that holds one number; `max` and whatever else is no number count as 0.
fn number(path: &Path) -> u64 {
    read(path).trim().parse().unwrap_or(0)
}

/// Lines of a name and a number.
fn pairs(text: &str) -> Vec<(String, u64)> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

fn value(pairs: &[(String, u64)], name: &str) -> u64 {
    pairs.iter().find(|(key, _)| key == name).map_or(0, |(_, value)| *value)
}

fn online_processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// The kernel counts in hundredths of a second here, whatever its own clock (proc(5), `USER_HZ`).
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

fn parse_host_cpu(line: &str) -> u64 {
    // The guest columns after the eighth are contained in the first ones.
    let columns = line.split_whitespace().skip(1).take(8);
    columns.filter_map(|column| column.parse::<u64>().ok()).sum::<u64>().saturating_mul(NANOSECONDS_PER_TICK)
}

fn add_cpu(stats: &mut Stats, group: &Group) {
    if let Some((directory, Version::Legacy)) = group.controller("cpuacct") {
        let times = pairs(&read(directory.join("cpuacct.stat")));
        stats.cpu_total = number(&directory.join("cpuacct.usage"));
        stats.cpu_user = value(&times, "user") * NANOSECONDS_PER_TICK;
        stats.cpu_system = value(&times, "system") * NANOSECONDS_PER_TICK;
        let per_processor = read(directory.join("cpuacct.usage_percpu"));
        stats.cpu_per_processor =
            per_processor.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    } else if let Some(directory) = &group.unified {
        let times = pairs(&read(Path::new(directory).join("cpu.stat")));
        stats.cpu_total = value(&times, "usage_usec") * 1000;
        stats.cpu_user = value(&times, "user_usec") * 1000;
        stats.cpu_system = value(&times, "system_usec") * 1000;
    }
    if let Some((directory, version)) = group.controller("cpu") {
        let times = pairs(&read(directory.join("cpu.stat")));
        stats.throttling_periods = value(&times, "nr_periods");
        stats.throttled_periods = value(&times, "nr_throttled");
        stats.throttled_time = match version {
            Version::Legacy => value(&times, "throttled_time"),
            Version::Unified => value(&times, "throttled_usec") * 1000,
        };
    }
}

fn add_memory(stats: &mut Stats, group: &Group) {
    let Some((directory, version)) = group.controller("memory") else { return };
    let [usage, most, limit, inactive] = match version {
        Version::Legacy => [
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.limit_in_bytes",
            "total_inactive_file",
        ],
        Version::Unified => ["memory.current", "memory.peak", "memory.max", "inactive_file"],
    };
    stats.memory_usage = number(&directory.join(usage));
    stats.memory_max_usage = number(&directory.join(most));
    stats.memory_stat = pairs(&read(directory.join("memory.stat")));
    stats.memory_inactive_file = value(&stats.memory_stat, inactive);
    let host = parse_memory_total(&read("/proc/meminfo"));
    stats.memory_limit = match number(&directory.join(limit)) {
        0 => host,
        limit => limit.min(host),
    };
}

fn parse_memory_total(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

fn add_block_io(stats: &mut Stats, group: &Group) {
    if let Some((directory, Version::Legacy)) = group.controller("blkio") {
        let bytes = read(directory.join("blkio.throttle.io_service_bytes_recursive"));
        let requests = read(directory.join("blkio.throttle.io_serviced_recursive"));
        stats.block_io = parse_legacy_io(&bytes, &requests);
    } else if let Some((directory, Version::Unified)) = group.controller("io") {
        stats.block_io = parse_unified_io(&read(directory.join("io.stat")));
    }
}

fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn parse_legacy_io(bytes: &str, requests: &str) -> Vec<BlockIo> {
    let mut all: Vec<BlockIo> = Vec::new();
    for (text, counts_bytes) in [(bytes, true), (requests, false)] {
        for line in text.lines() {
            let mut words = line.split(' ');
            let Some((major, minor)) = words.next().and_then(device) else { continue };
            let (Some(operation), Some(count)) =
                (words.next(), words.next().and_then(|word| word.parse().ok()))
            else {
                continue;
            };
            let known = all.iter().position(|io| (io.major, io.minor) == (major, minor));
            let index = known.unwrap_or_else(|| {
                all.push(BlockIo { major, minor, ..BlockIo::default() });
                all.len() - 1
            });
            match (operation, counts_bytes) {
                ("Read", true) => all[index].read_bytes = count,
                ("Write", true) => all[index].written_bytes = count,
                ("Read", false) => all[index].reads = count,
                ("Write", false) => all[index].writes = count,
                _ => {}
            }
        }
    }
    all
}

fn parse_unified_io(text: &str) -> Vec<BlockIo> {
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (major, minor) = device(words.next()?)?;
        let mut io = BlockIo { major, minor, ..BlockIo::default() };
        for (name, count) in words.filter_map(|word| word.split_once('=')) {
            let count = count.parse().unwrap_or(0);
            match name {
                "rbytes" => io.read_bytes = count,
                "wbytes" => io.written_bytes = count,
                "rios" => io.reads = count,
                "wios" => io.writes = count,
                _ => {}
            }
        }
        Some(io)
    };
    text.lines().filter_map(parse).collect()
}

fn parse_networks(text: &str) -> Vec<NetworkCounters> {
    let parse = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let four = |from: usize| <[u64; 4]>::try_from(counters.get(from..from + 4)?).ok();
        Some(NetworkCounters { name: name.trim().to_owned(), received: four(0)?, sent: four(8)? })
    };
    text.lines().filter_map(parse).filter(|counters| counters.name != "lo").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_block_counters_are_read() {
        let bytes = "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\nTotal 12288\n";
        let requests = "8:0 Read 1\n8:0 Write 2\nTotal 3\n";
        let expected =
            BlockIo { major: 8, minor: 0, read_bytes: 4096, written_bytes: 8192, reads: 1, writes: 2 };
        assert_eq!(parse_legacy_io(bytes, requests), [expected]);
        let unified = "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n";
        assert_eq!(parse_unified_io(unified), [expected]);
    }

    #[test]
    fn network_counters_skip_the_headings_and_the_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
            lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let networks = parse_networks(text);
        assert_eq!(networks.len(), 1);
        assert_eq!((networks[0].received, networks[0].sent), ([10, 2, 3, 4], [50, 6, 7, 8]));
    }

    #[test]
    fn host_time_is_the_sum_of_all_states() {
        assert_eq!(parse_host_cpu("cpu  1 2 3 4 5 6 7 8 100 100"), 36 * NANOSECONDS_PER_TICK);
        assert_eq!(parse_memory_total("MemTotal:       2048 kB\nMemFree: 1 kB\n"), 2 << 20);
    }
}
