//! The host and the engine: randomness, host name, `info`, `version`, `system df`.

use crate::Local;
use crate::container::record::Observed;
use crate::error::Result;
use crate::host::{self, Controllers};
use crate::image::record::ImageRecord;
use mica_api::API_VERSION;
use mica_api::types::container::ListOptions;
use mica_api::types::image::ImageListOptions;
use mica_api::types::system::{DiskUsage, Info, Plugins, Runtime, Swarm, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Random bytes of the kernel (getrandom(2)).
pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        // It can only be interrupted; the pool is ready long before any container runs.
        if let Ok(count) =
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
        {
            filled += count;
        }
    }
    bytes
}

/// The host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Local {
    /// The engine's version.
    pub(crate) fn engine_version(&self) -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: API_VERSION.to_owned(),
            min_api_version: API_VERSION_MIN.to_owned(),
            git_commit: option_env!("MICA_COMMIT").unwrap_or("unknown").to_owned(),
            os: "linux".to_owned(),
            arch: architecture().to_owned(),
            kernel_version: kernel_version(),
            build_time: option_env!("MICA_BUILD_TIME").unwrap_or("unknown").to_owned(),
        }
    }

    /// The engine and its host.
    pub(crate) fn engine_info(&self) -> Result<Info> {
        let containers = self.observe_all()?;
        let count =
            |wanted: fn(&Observed) -> bool| containers.iter().filter(|(_, o)| wanted(o)).count() as u64;
        let total = containers.len() as u64;
        let running = count(|observed| observed.status == "running");
        let paused = count(|observed| observed.status == "paused");
        let controllers = Controllers::read();
        Ok(Info {
            id: self.store_id(),
            containers: total,
            containers_running: running,
            containers_paused: paused,
            containers_stopped: total - running - paused,
            images: ImageRecord::readable(&self.database())?.len() as u64,
            driver: "overlay2".to_owned(),
            driver_status: vec![
                ("Layers unpacked by".to_owned(), "diffID".to_owned()),
                ("Mounted in".to_owned(), "the container's own mount namespace".to_owned()),
            ],
            logging_driver: crate::container::log_driver::default_driver(self.config()?).to_owned(),
            plugins: Plugins {
                volume: vec!["local".to_owned()],
                network: ["bridge", "host", "ipvlan", "macvlan", "null"].map(str::to_owned).to_vec(),
                authorization: None,
                log: crate::container::log_driver::names(),
            },
            memory_limit: controllers.has("memory"),
            swap_limit: controllers.limits_swap(),
            cpu_cfs_period: controllers.has("cpu"),
            cpu_cfs_quota: controllers.has("cpu"),
            cpu_shares: controllers.has("cpu"),
            cpu_set: controllers.has("cpuset"),
            pids_limit: controllers.has("pids"),
            oom_kill_disable: controllers.spares_on_shortage(),
            ipv4_forwarding: host::forwards_ipv4(),
            system_time: std::time::SystemTime::now().into(),
            cgroup_driver: "cgroupfs".to_owned(),
            cgroup_version: controllers.version().to_owned(),
            kernel_version: kernel_version(),
            operating_system: operating_system(),
            os_type: "linux".to_owned(),
            architecture: rustix::system::uname().machine().to_string_lossy().into_owned(),
            cpu_count: std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64,
            mem_total: memory_total(),
            docker_root_dir: self.disk.root().to_string_lossy().into_owned(),
            name: host_name(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            security_options: self.security_options()?,
            default_runtime: RUNTIME.to_owned(),
            runtimes: BTreeMap::from([(RUNTIME.to_owned(), Runtime { path: RUNTIME.to_owned() })]),
            init_binary: "docker-init".to_owned(),
            cdi_spec_dirs: self.device_directories()?,
            index_server_address: "https://index.docker.io/v1/".to_owned(),
            labels: Vec::new(),
            experimental_build: false,
            // Containers live on whatever becomes of the commands that started them.
            live_restore_enabled: true,
            swarm: Swarm::default(),
            warnings: Vec::new(),
        })
    }

    fn security_options(&self) -> Result<Vec<String>> {
        let mut options = vec!["name=seccomp,profile=builtin".to_owned()];
        if !self.config()?.userns_remap.is_empty() {
            options.push("name=userns".to_owned());
        }
        Ok(options)
    }

    /// Who uses how much disk.
    pub(crate) fn disk_use(&self) -> Result<DiskUsage> {
        let containers = self.list(&ListOptions { all: true, size: true, ..ListOptions::default() })?;
        let options = ImageListOptions { shared_size: true, ..ImageListOptions::default() };
        let mut images = self.list_images(&options)?;
        for image in &mut images {
            image.containers =
                containers.iter().filter(|container| container.image_id == image.id).count() as i64;
        }
        let used: BTreeSet<&str> = containers.iter().map(|container| container.image_id.as_str()).collect();
        let mut layers: BTreeMap<(mica_model::Digest, Option<mica_model::Digest>), (u64, bool)> =
            BTreeMap::new();
        for image in ImageRecord::readable(&self.database())? {
            let is_used = used.contains(image.id.to_string().as_str());
            for layer in image.layers {
                layers.entry((layer.diff_id, layer.chain)).or_insert((layer.size, false)).1 |= is_used;
            }
        }
        let sum = |wanted: fn(&(u64, bool)) -> bool| {
            layers.values().filter(|layer| wanted(layer)).map(|(size, _)| *size as i64).sum()
        };
        Ok(DiskUsage {
            layers_size: sum(|_| true),
            images_reclaimable: sum(|(_, is_used)| !is_used),
            images,
            containers,
            volumes: self.volumes_with_usage()?,
        })
    }

    /// A name for this store that stays the same: of the database file's device and inode.
    fn store_id(&self) -> String {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.disk.database())
            .map(|file| format!("{:x}-{:x}", file.dev(), file.ino()))
            .unwrap_or_default()
    }
}

/// The architecture as images name it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn kernel_version() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn operating_system() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    pretty.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

fn memory_total() -> u64 {
    let information = rustix::system::sysinfo();
    information.totalram.saturating_mul(u64::from(information.mem_unit))
}

/// The only thing that runs containers, as `HostConfig.Runtime` names it.
const RUNTIME: &str = "mica";

/// The oldest that a client may speak.
const API_VERSION_MIN: &str = "1.24";
