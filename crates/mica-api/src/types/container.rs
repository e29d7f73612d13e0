//! Containers: what is asked for, what is listed, what `inspect` shows.

pub use crate::types::health::{Health, HealthResult, Healthcheck};
use crate::types::host_config::{HostConfig, PortBinding};
use crate::types::network::{EndpointSettings, NetworkingConfig};
use mica_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An empty JSON object, as docker writes the values of its sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// The portable part of a container's definition: `Config` of the Engine API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ContainerConfig {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    pub image: String,
    pub volumes: Option<BTreeMap<String, Empty>>,
    pub working_dir: String,
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network_disabled: bool,
    pub on_build: Option<Vec<String>>,
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// `POST /containers/create`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateRequest {
    /// The name asked for; empty for a made-up one. A query parameter on the wire.
    #[serde(skip)]
    pub name: String,
    /// `os/arch[/variant]` asked for; empty for the host's. A query parameter on the wire.
    #[serde(skip)]
    pub platform: String,
    /// The portable part.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// The host's part.
    #[serde(rename = "HostConfig")]
    pub host_config: HostConfig,
    /// The networks.
    #[serde(rename = "NetworkingConfig")]
    pub networking_config: NetworkingConfig,
}

/// What `create` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateResponse {
    /// The full id.
    pub id: String,
    /// What could not be had but does not prevent the container.
    pub warnings: Vec<String>,
}

/// Which streams of a container to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttachStreams {
    /// Send input.
    pub stdin: bool,
    /// Receive standard output, or the terminal.
    pub stdout: bool,
    /// Receive standard error.
    pub stderr: bool,
}

/// How to start a container.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// Attach before the first byte can be written.
    pub attach: Option<AttachStreams>,
    /// Size of the terminal, rows and columns; set before the program runs.
    pub console_size: Option<(u16, u16)>,
    /// The caller stays and removes the container itself when it has exited (`run --rm` in the
    /// foreground); if the caller's stream closes without that, the monitor sees to it.
    pub caller_removes: bool,
}

/// What a start gives back.
#[derive(Debug)]
pub struct Started {
    /// The stream, where one was asked for.
    pub stream: Option<crate::stream::AttachStream>,
    /// Limits that the kernel could not apply, in docker's words.
    pub warnings: Vec<String>,
}

/// How to stop a container.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Signal to send first; the container's own if absent.
    pub signal: Option<String>,
    /// Seconds to wait before SIGKILL; negative waits for ever; the container's own if absent.
    pub timeout: Option<i64>,
}

/// How to remove a container.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Kill it first if it runs.
    pub force: bool,
    /// Also its anonymous volumes.
    pub volumes: bool,
    /// Remove a link instead of the container.
    pub link: bool,
    /// The caller has stayed with the run until its end, as [`StartOptions::caller_removes`] said: the
    /// container's monitor still is there to delete the files.
    pub after_run: bool,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// That it does not run (also when it never did).
    #[default]
    NotRunning,
    /// Its next exit.
    NextExit,
    /// That it has been removed.
    Removed,
}

/// The end of a wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WaitResponse {
    /// Exit code of the container.
    pub status_code: i64,
}

/// Which lines of a log to read.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on until the container ends.
    pub follow: bool,
    /// Only the last lines; `None` is all.
    pub tail: Option<u64>,
    /// Only from this instant.
    pub since: Option<Timestamp>,
    /// Only up to this instant.
    pub until: Option<Timestamp>,
}

/// A line of a log, or a part of a long one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Whether it was written to standard error.
    pub stderr: bool,
    /// The bytes, with their line end where they had one.
    pub line: Vec<u8>,
    /// `key=value,…` of `--details`, where the container has such attributes.
    pub details: String,
    /// It goes on with the line of the entry before it of the same stream.
    pub continues: bool,
}

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only the newest; 0 is no limit.
    pub limit: usize,
    /// Compute sizes, which walks the writable layers.
    pub size: bool,
    /// docker's filters.
    pub filters: mica_model::Filters,
}

/// A row of `ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ContainerSummary {
    pub id: String,
    /// Each with a leading slash, as on docker's wire.
    pub names: Vec<String>,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    /// Seconds since the epoch.
    pub created: i64,
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub state: String,
    pub status: String,
    pub host_config: SummaryHostConfig,
    pub mounts: Vec<MountPoint>,
    pub networks: Vec<String>,
}

/// The part of `HostConfig` that a list shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SummaryHostConfig {
    /// The network mode.
    pub network_mode: String,
}

/// A port of a container as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Port {
    /// Address on the host, where published.
    #[serde(rename = "IP", skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Port inside.
    pub private_port: u16,
    /// Port on the host, where published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `sctp`.
    #[serde(rename = "Type")]
    pub protocol: String,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct MountPoint {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub name: String,
    pub source: String,
    pub destination: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub driver: String,
    pub mode: String,
    #[serde(rename = "RW")]
    pub read_write: bool,
    pub propagation: String,
}

/// The state of a container, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ContainerState {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    pub status: String,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: i64,
    pub exit_code: i64,
    pub error: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// `GET /containers/ID/json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ContainerInspect {
    pub id: String,
    pub created: Timestamp,
    pub path: String,
    pub args: Vec<String>,
    pub state: ContainerState,
    pub image: String,
    pub resolv_conf_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub log_path: String,
    /// With a leading slash.
    pub name: String,
    pub restart_count: i64,
    pub driver: String,
    pub platform: String,
    pub mount_label: String,
    pub process_label: String,
    pub app_armor_profile: String,
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    pub host_config: HostConfig,
    pub graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<i64>,
    pub mounts: Vec<MountPoint>,
    pub config: ContainerConfig,
    pub network_settings: NetworkSettings,
}

/// Where the layers lie on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// `LowerDir` (all read-only layers, top first, joined by colons), `UpperDir`, `WorkDir`,
    /// `MergedDir` (of a running container: its root as seen from the host).
    pub data: BTreeMap<String, String>,
    /// Always `overlay2`, which is what tools look for.
    pub name: String,
}

/// The networks of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct NetworkSettings {
    pub bridge: String,
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    pub sandbox_key: String,
    pub ports: BTreeMap<String, Option<Vec<PortBinding>>>,
    #[serde(flatten)]
    pub default_network: DefaultNetworkSettings,
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// The place in the network `bridge` once more, where it was before there were other networks: much that is
/// written still looks for `.NetworkSettings.IPAddress`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct DefaultNetworkSettings {
    pub hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_length: i64,
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<String>>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<String>>,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_length: i64,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_length: i64,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    pub mac_address: String,
}

impl From<&EndpointSettings> for DefaultNetworkSettings {
    fn from(bridge: &EndpointSettings) -> Self {
        Self {
            endpoint_id: bridge.endpoint_id.clone(),
            gateway: bridge.gateway.clone(),
            global_ipv6_address: bridge.global_ipv6_address.clone(),
            global_ipv6_prefix_length: bridge.global_ipv6_prefix_length,
            ip_address: bridge.ip_address.clone(),
            ip_prefix_length: bridge.ip_prefix_length,
            ipv6_gateway: bridge.ipv6_gateway.clone(),
            mac_address: bridge.mac_address.clone(),
            ..Self::default()
        }
    }
}

/// A path that a container changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FilesystemChange {
    /// Absolute path in the container.
    pub path: String,
    /// 0 modified, 1 added, 2 deleted.
    pub kind: u8,
}

/// The processes of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TopResponse {
    /// Column titles.
    pub titles: Vec<String>,
    /// One row a process.
    pub processes: Vec<Vec<String>>,
}

/// What `update` changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateRequest {
    /// Fields that are zero or empty stay as they are.
    #[serde(flatten)]
    pub resources: crate::types::host_config::Resources,
    /// The new policy, if any.
    pub restart_policy: Option<crate::types::host_config::RestartPolicy>,
}

/// What came of starting containers after a boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartResponse {
    /// Names of those that were started.
    pub started: Vec<String>,
    /// Those that did not start.
    pub failed: Vec<RestartFailure>,
}

/// A container that did not start after a boot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestartFailure {
    /// Its name.
    pub name: String,
    /// Why.
    pub message: String,
}

/// What a prune removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PruneResponse {
    /// Ids, or for images the lines of [`crate::types::image::ImageDelete`] in words.
    pub deleted: Vec<String>,
    /// Bytes.
    pub space_reclaimed: u64,
}

/// What is at a path in a container; the `X-Docker-Container-Path-Stat` header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathStat {
    /// Base name.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Go's `os.FileMode` bits.
    pub mode: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Where a symbolic link points.
    pub link_target: String,
}

/// Where a tar stream is to be unpacked in a container.
#[derive(Debug, Clone, Default)]
pub struct ArchivePut {
    /// Directory in the container.
    pub path: String,
    /// Refuse to replace a directory by a file and the other way round.
    pub no_overwrite_directory_with_file: bool,
    /// Keep the archive's owners.
    pub copy_uid_gid: bool,
}

/// What to record when a container becomes an image.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// Container to commit.
    pub container: String,
    /// Reference to give, or empty.
    pub reference: String,
    /// Author.
    pub author: String,
    /// Message.
    pub comment: String,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// Pause while committing.
    pub pause: bool,
}

/// A sample of what a container uses: raw counters, as docker's wire has them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StatsSample {
    /// Name with a leading slash.
    pub name: String,
    /// Full id.
    pub id: String,
    /// When the sample was taken.
    pub read: Timestamp,
    /// When the one before it was.
    pub preread: Timestamp,
    /// Processes.
    pub pids_stats: PidsStats,
    /// Disk.
    pub blkio_stats: BlkioStats,
    /// CPUs of the host.
    pub num_procs: u32,
    /// Processor time now.
    pub cpu_stats: CpuStats,
    /// Processor time at the sample before.
    pub precpu_stats: CpuStats,
    /// Memory.
    pub memory_stats: MemoryStats,
    /// By interface.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub networks: BTreeMap<String, NetworkStats>,
}

/// Number of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// At the most; 0 is no limit.
    pub limit: u64,
}

/// Bytes moved to and from disks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioStats {
    /// One entry a device and direction.
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
}

/// Bytes one way on one device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlkioEntry {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// `read` or `write`.
    pub op: String,
    /// Bytes.
    pub value: u64,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuStats {
    /// Of the container.
    pub cpu_usage: CpuUsage,
    /// Of the whole host.
    pub system_cpu_usage: u64,
    /// CPUs online.
    pub online_cpus: u32,
}

/// Processor time of a container, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// All of it.
    pub total_usage: u64,
    /// In the kernel.
    pub usage_in_kernelmode: u64,
    /// In programs.
    pub usage_in_usermode: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryStats {
    /// As the controller counts it, page cache included.
    pub usage: u64,
    /// The kernel's own breakdown.
    pub stats: BTreeMap<String, u64>,
    /// The limit, or the host's memory.
    pub limit: u64,
}

/// Counters of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct NetworkStats {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}
