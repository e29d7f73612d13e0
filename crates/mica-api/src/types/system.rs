//! The engine itself: version, host, disk use.

use crate::types::container::ContainerSummary;
use crate::types::image::ImageSummary;
use crate::types::volume::Volume;
use mica_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /version`, the engine's half of `version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Version {
    pub version: String,
    pub api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    pub git_commit: String,
    pub os: String,
    pub arch: String,
    pub kernel_version: String,
    pub build_time: String,
}

/// `GET /info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Info {
    #[serde(rename = "ID")]
    pub id: String,
    pub containers: u64,
    pub containers_running: u64,
    pub containers_paused: u64,
    pub containers_stopped: u64,
    pub images: u64,
    pub driver: String,
    pub driver_status: Vec<(String, String)>,
    pub logging_driver: String,
    pub plugins: Plugins,
    pub memory_limit: bool,
    pub swap_limit: bool,
    pub cpu_cfs_period: bool,
    pub cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    pub cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    pub cpu_set: bool,
    pub pids_limit: bool,
    pub oom_kill_disable: bool,
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    pub system_time: Timestamp,
    pub cgroup_driver: String,
    pub cgroup_version: String,
    pub kernel_version: String,
    pub operating_system: String,
    #[serde(rename = "OSType")]
    pub os_type: String,
    pub architecture: String,
    #[serde(rename = "NCPU")]
    pub cpu_count: u64,
    /// Bytes.
    pub mem_total: u64,
    pub docker_root_dir: String,
    pub name: String,
    pub server_version: String,
    pub security_options: Vec<String>,
    pub default_runtime: String,
    pub runtimes: BTreeMap<String, Runtime>,
    pub init_binary: String,
    #[serde(rename = "CDISpecDirs")]
    pub cdi_spec_dirs: Vec<String>,
    pub index_server_address: String,
    pub labels: Vec<String>,
    pub experimental_build: bool,
    pub live_restore_enabled: bool,
    pub swarm: Swarm,
    pub warnings: Vec<String>,
}

/// What runs containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The program.
    pub path: String,
}

/// Always inactive: there are no swarms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Swarm {
    #[serde(rename = "NodeID")]
    pub node_id: String,
    pub node_addr: String,
    pub local_node_state: String,
    pub control_available: bool,
    pub error: String,
    pub remote_managers: Option<Vec<String>>,
}

impl Default for Swarm {
    fn default() -> Self {
        Self {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive".to_owned(),
            control_available: false,
            error: String::new(),
            remote_managers: None,
        }
    }
}

/// What can be chosen by name, of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Plugins {
    /// Drivers of volumes.
    pub volume: Vec<String>,
    /// Drivers of networks.
    pub network: Vec<String>,
    /// There are none that grant rights.
    pub authorization: Option<Vec<String>>,
    /// Drivers of logs.
    pub log: Vec<String>,
}

/// `GET /system/df`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DiskUsage {
    /// Bytes of all layers, each once.
    pub layers_size: i64,
    /// Images with shared sizes and container counts.
    pub images: Vec<ImageSummary>,
    /// Containers with sizes.
    pub containers: Vec<ContainerSummary>,
    /// Volumes with sizes and container counts.
    pub volumes: Vec<Volume>,
    /// Bytes of layers that no container's image needs.
    pub images_reclaimable: i64,
}
