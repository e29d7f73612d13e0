//! What a container uses, as a row: docker's fields and its arithmetic.

use crate::output::format::Layout;
use crate::output::template::Object;
use crate::output::units::{binary_size, human_size_short};
use mica_api::types::container::{CpuStats, MemoryStats, StatsSample};
use serde_json::{Map, Value};

/// The default table and the headings.
pub(super) const LAYOUT: Layout = Layout {
    table: "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
    headings: &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
    ],
};

/// Digits of an id that a table shows.
const ID_LENGTH: usize = 12;

/// What stands where there is no sample.
const UNKNOWN: &str = "--";

/// A container that is watched.
#[derive(Debug)]
pub(super) struct Row {
    /// What it was asked for by.
    pub(super) reference: String,
    id: String,
    name: String,
    is_truncated: bool,
    is_ended: bool,
    sample: Option<StatsSample>,
}

impl Row {
    /// A row without a sample.
    pub(super) const fn new(reference: String, id: String, name: String, is_truncated: bool) -> Self {
        Self { reference, id, name, is_truncated, is_ended: false, sample: None }
    }

    /// Takes in the next sample.
    pub(super) fn update(&mut self, sample: StatsSample) {
        self.id.clone_from(&sample.id);
        self.name.clone_from(&sample.name);
        self.sample = Some(sample);
    }

    /// Notes that no more will come.
    pub(super) const fn end(&mut self) {
        self.is_ended = true;
    }

    /// Whether neither a sample nor the end has come.
    pub(super) const fn is_waiting(&self) -> bool {
        self.sample.is_none() && !self.is_ended
    }

    fn text(&self, field: &str) -> Option<String> {
        Some(match field {
            "Container" => self.reference.clone(),
            "ID" if self.is_truncated => self.id.get(..ID_LENGTH).unwrap_or(&self.id).to_owned(),
            "ID" => self.id.clone(),
            "Name" if self.name.is_empty() => UNKNOWN.to_owned(),
            "Name" => self.name.strip_prefix('/').unwrap_or(&self.name).to_owned(),
            _ => match &self.sample {
                Some(sample) => measured(field, sample)?,
                None => unknown(field)?,
            },
        })
    }
}

impl Object for Row {
    fn type_name(&self) -> &str {
        "*container.statsContext"
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.text(name).map(Value::from)
    }

    fn all(&self) -> Value {
        let fields =
            LAYOUT.headings.iter().filter_map(|(name, _)| Some(((*name).to_owned(), self.field(name)?)));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

fn unknown(field: &str) -> Option<String> {
    let text = match field {
        "MemUsage" => "-- / --",
        "BlockIO" | "CPUPerc" | "MemPerc" | "NetIO" | "PIDs" => UNKNOWN,
        _ => return None,
    };
    Some(text.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn measured(field: &str, sample: &StatsSample) -> Option<String> {
    let memory = &sample.memory_stats;
    let pair = |one: u64, other: u64| {
        format!("{} / {}", human_size_short(one as f64), human_size_short(other as f64))
    };
    Some(match field {
        "CPUPerc" => format!("{:.2}%", processor_percent(&sample.precpu_stats, &sample.cpu_stats)),
        "MemUsage" => {
            format!("{} / {}", binary_size(in_use(memory) as f64), binary_size(memory.limit as f64))
        }
        "MemPerc" if memory.limit == 0 => "0.00%".to_owned(),
        "MemPerc" => format!("{:.2}%", in_use(memory) as f64 / memory.limit as f64 * 100.0),
        "NetIO" => {
            let sum = |count: fn(&mica_api::types::container::NetworkStats) -> u64| {
                sample.networks.values().map(count).sum()
            };
            pair(sum(|network| network.rx_bytes), sum(|network| network.tx_bytes))
        }
        "BlockIO" => {
            let entries = &sample.blkio_stats.io_service_bytes_recursive;
            let sum = |first: char| {
                let matching =
                    entries.iter().filter(|entry| entry.op.to_ascii_lowercase().starts_with(first));
                matching.map(|entry| entry.value).sum()
            };
            pair(sum('r'), sum('w'))
        }
        "PIDs" => sample.pids_stats.current.to_string(),
        _ => return None,
    })
}

/// The share of one processor since the sample before: 200 % is two of them.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn processor_percent(before: &CpuStats, now: &CpuStats) -> f64 {
    let used = now.cpu_usage.total_usage.saturating_sub(before.cpu_usage.total_usage);
    let passed = now.system_cpu_usage.saturating_sub(before.system_cpu_usage);
    if passed == 0 {
        return 0.0;
    }
    used as f64 / passed as f64 * f64::from(now.online_cpus) * 100.0
}

/// Memory without the page cache that the kernel gives back for the asking: `total_inactive_file`
/// on cgroup v1, `inactive_file` on v2.
fn in_use(memory: &MemoryStats) -> u64 {
    let cache = ["total_inactive_file", "inactive_file"].iter().find_map(|name| memory.stats.get(*name));
    cache.filter(|cache| **cache < memory.usage).map_or(memory.usage, |cache| memory.usage - cache)
}
