//! `stats`: what a container uses, sampled once or every second.

use crate::Local;
use crate::container::record::Record;
use crate::error::Result;
use mica_api::types::container::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, StatsSample,
};
use mica_model::Timestamp;
use mica_runtime::{BlockIo, Stats};
use std::time::{Duration, Instant};

/// Time between two samples of a stream.
const INTERVAL: Duration = Duration::from_secs(1);

impl Local {
    /// Samples once with the sample before it empty, or every second until the sink declines or
    /// the container ends. A container that does not run has a sample of zeros, as docker's.
    pub(crate) fn stats(
        &self,
        reference: &str,
        stream: bool,
        sink: &mut dyn FnMut(StatsSample) -> bool,
    ) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        let mut before = StatsSample::default();
        let mut next = Instant::now();
        loop {
            let observed = record.observe(&disk);
            let counters = if observed.is_running() { mica_runtime::stats(disk.run()).ok() } else { None };
            let ended = counters.is_none();
            let sample = sample(&record, &counters.unwrap_or_default(), &before);
            before = sample.clone();
            if !sink(sample) || !stream || ended {
                return Ok(());
            }
            next += INTERVAL;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }
}

fn sample(record: &Record, counters: &Stats, before: &StatsSample) -> StatsSample {
    let networks = counters.networks.iter().map(|network| {
        let [rx_bytes, rx_packets, rx_errors, rx_dropped] = network.received;
        let [tx_bytes, tx_packets, tx_errors, tx_dropped] = network.sent;
        let counters = NetworkStats {
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        };
        (network.name.clone(), counters)
    });
    StatsSample {
        name: format!("/{}", record.name),
        id: record.id.to_string(),
        read: std::time::SystemTime::now().into(),
        preread: if before.id.is_empty() { Timestamp::NEVER } else { before.read },
        pids_stats: PidsStats { current: counters.pids, limit: counters.pids_limit },
        blkio_stats: BlkioStats {
            io_service_bytes_recursive: counters.block_io.iter().flat_map(both_ways).collect(),
        },
        num_procs: counters.online_processors,
        cpu_stats: CpuStats {
            cpu_usage: CpuUsage {
                total_usage: counters.cpu_total,
                usage_in_kernelmode: counters.cpu_system,
                usage_in_usermode: counters.cpu_user,
            },
            system_cpu_usage: counters.host_cpu_total,
            online_cpus: counters.online_processors,
        },
        precpu_stats: before.cpu_stats.clone(),
        memory_stats: MemoryStats {
            usage: counters.memory_usage,
            stats: counters.memory_stat.iter().cloned().collect(),
            limit: counters.memory_limit,
        },
        networks: networks.collect(),
    }
}

fn both_ways(device: &BlockIo) -> [BlkioEntry; 2] {
    [("read", device.read_bytes), ("write", device.written_bytes)].map(|(op, value)| BlkioEntry {
        major: u64::from(device.major),
        minor: u64::from(device.minor),
        op: op.to_owned(),
        value,
    })
}
