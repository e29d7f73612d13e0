//! A container's record as an OCI runtime specification document.
//!
//! The values are docker's: mounts, masked and read-only paths, capabilities, sysctls
//! (OCI runtime-spec 1.2; docker's `oci/defaults.go` names the same facts).

use crate::container::block_devices;
use crate::container::devices::Devices;
use crate::container::record::Definition;
use crate::container::rights::Rights;
use crate::container::security::Security;
use crate::container::settings;
use crate::container::sharing;
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use crate::mount::{UserMount, combined};
use mica_api::types::host_config::{HostConfig, Resources};
use mica_model::ContainerId;
use mica_runtime::{Forecast, NamespaceKind};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, LinuxBlockIo, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxMemoryBuilder,
    LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder, Mount, MountBuilder, Process, ProcessBuilder, RootBuilder, Spec, SpecBuilder,
};
use std::collections::HashMap;
use std::path::Path;

/// Which network namespace the process gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkPlace {
    /// A new one with nothing but the loopback interface.
    Private,
    /// The host's.
    Host,
    /// That of another container; the runtime is handed its descriptor.
    Joined,
}

/// Builds the document.
pub(crate) fn build(
    id: &ContainerId,
    definition: &Definition,
    disk: &ContainerDisk,
    network: &NetworkPlace,
    user_mounts: Vec<UserMount>,
) -> Result<Spec> {
    let devices = Devices::of(&definition.host_config)?;
    let block = block_devices::limits(&definition.host_config.resources)?;
    let rights = Rights::of(&definition.host_config)?;
    let security = Security::of(&definition.host_config)?;
    let invalid =
        |source| Error::invalid(format!("the specification of container {id} is not valid: {source}"));
    let mut spec =
        assemble(id, definition, network, ((devices, block), rights, security)).map_err(invalid)?;
    let files = files(disk).map_err(invalid)?;
    spec.set_mounts(Some(combined(
        kernel_mounts(&definition.host_config, network).map_err(invalid)?,
        user_mounts,
        files,
    )));
    Ok(spec)
}

fn assemble(
    id: &ContainerId,
    definition: &Definition,
    network: &NetworkPlace,
    ((devices, block), rights, security): ((Devices, Option<LinuxBlockIo>), Rights, Security),
) -> std::result::Result<Spec, OciSpecError> {
    let host = &definition.host_config;
    let mut resources = resources(&host.resources)?;
    resources.set_devices(Some(devices.rules));
    resources.set_block_io(block);
    let hidden = if host.privileged { (&[][..], &[][..]) } else { (&MASKED_PATHS[..], &READONLY_PATHS[..]) };
    let paths = |wanted: &Option<Vec<String>>, usual: &[&str]| -> Vec<String> {
        wanted.clone().unwrap_or_else(|| usual.iter().map(|&path| path.to_owned()).collect())
    };
    let linux = LinuxBuilder::default()
        .namespaces(namespaces(network, host)?)
        .cgroups_path(cgroup_path(id, &definition.host_config.resources))
        .resources(resources)
        .devices(devices.nodes)
        .sysctl(sysctls(network, host))
        .masked_paths(paths(&host.masked_paths, hidden.0))
        .readonly_paths(paths(&host.readonly_paths, hidden.1))
        .build()?;
    let root =
        RootBuilder::default().path("rootfs").readonly(definition.host_config.readonly_rootfs).build()?;
    // The host's names are not a container's to set.
    let named = |name: &str| if host.uts_mode == sharing::HOST { String::new() } else { name.to_owned() };
    SpecBuilder::default()
        .version("1.2.0")
        .hostname(named(&definition.config.hostname))
        .domainname(named(&definition.config.domainname))
        .root(root)
        .process(process(definition, &rights, &security)?)
        .linux(linux)
        .build()
}

fn process(
    definition: &Definition,
    rights: &Rights,
    security: &Security,
) -> std::result::Result<Process, OciSpecError> {
    let config = &definition.config;
    let working_dir = if config.working_dir.is_empty() { "/" } else { config.working_dir.as_str() };
    let process = ProcessBuilder::default()
        .terminal(config.tty)
        .args(definition.command.clone())
        .env(environment(definition))
        .cwd(working_dir)
        .capabilities(capabilities(&rights.capabilities)?)
        .no_new_privileges(security.no_new_privileges)
        .build()?;
    bounded(process, &definition.host_config)
}

/// Sets what limits each process of a container, the first and further ones alike.
pub(crate) fn bounded(mut process: Process, host: &HostConfig) -> std::result::Result<Process, OciSpecError> {
    process.set_rlimits(Some(settings::limits(host)?));
    // Zero is what processes have; writing it would only cost time.
    let score = i32::try_from(host.oom_score_adj).ok().filter(|score| *score != 0);
    process.set_oom_score_adj(score);
    Ok(process)
}

/// The environment in docker's order: PATH, HOSTNAME, TERM, then the container's own.
/// HOME is filled in where the user is looked up, inside the root.
pub(crate) fn environment(definition: &Definition) -> Vec<String> {
    let config = &definition.config;
    let own = config.env.as_deref().unwrap_or_default();
    let mut environment = vec![format!("PATH={PATH_DEFAULT}"), format!("HOSTNAME={}", config.hostname)];
    if config.tty {
        environment.push("TERM=xterm".to_owned());
    }
    for entry in own.iter().filter(|entry| entry.contains('=')) {
        set_variable(&mut environment, entry);
    }
    environment
}

/// Replaces a variable where it stands, or adds it.
pub(crate) fn set_variable(environment: &mut Vec<String>, entry: &str) {
    let name = entry.split('=').next();
    match environment.iter_mut().find(|known| known.split('=').next() == name) {
        Some(known) => entry.clone_into(known),
        None => environment.push(entry.to_owned()),
    }
}

/// The five capability sets of a root process that has `names`.
pub(crate) fn capabilities(
    names: &[Capability],
) -> std::result::Result<oci_spec::runtime::LinuxCapabilities, OciSpecError> {
    let set: std::collections::HashSet<Capability> = names.iter().copied().collect();
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set)
        .inheritable(std::collections::HashSet::new())
        .ambient(std::collections::HashSet::new())
        .build()
}

fn namespaces(
    network: &NetworkPlace,
    host: &HostConfig,
) -> std::result::Result<Vec<LinuxNamespace>, OciSpecError> {
    let kinds = [
        (LinuxNamespaceType::Mount, ""),
        (LinuxNamespaceType::Uts, host.uts_mode.as_str()),
        (LinuxNamespaceType::Pid, host.pid_mode.as_str()),
        (LinuxNamespaceType::Ipc, host.ipc_mode.as_str()),
        (LinuxNamespaceType::Cgroup, host.cgroupns_mode.as_str()),
    ];
    let mut namespaces = Vec::with_capacity(6);
    for (kind, _) in kinds.into_iter().filter(|(_, mode)| *mode != sharing::HOST) {
        namespaces.push(LinuxNamespaceBuilder::default().typ(kind).build()?);
    }
    let own = LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network);
    match network {
        // For a joined one this entry is replaced by the descriptor, see `StartPlan::joined`.
        NetworkPlace::Private | NetworkPlace::Joined => namespaces.push(own.build()?),
        NetworkPlace::Host => {}
    }
    Ok(namespaces)
}

/// The file systems of the kernel that every container has.
fn kernel_mounts(host: &HostConfig, network: &NetworkPlace) -> std::result::Result<Vec<Mount>, OciSpecError> {
    let shm_size = format!("size={}", host.shm_size);
    let kernel_access = if host.privileged { "rw" } else { "ro" };
    // The kernel refuses a new sysfs in a network namespace that this user namespace does not own,
    // and the host's network should show the host's devices: bind it then.
    let sysfs = match network {
        NetworkPlace::Private => {
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", kernel_access])?
        }
        _ => {
            mount("/sys", "bind", "/sys", &["rbind", "rprivate", "nosuid", "noexec", "nodev", kernel_access])?
        }
    };
    let shared_memory = match host.ipc_mode.as_str() {
        "none" => None,
        sharing::HOST => {
            Some(mount("/dev/shm", "bind", "/dev/shm", &["rbind", "rprivate", "nosuid", "noexec", "nodev"])?)
        }
        mode if sharing::joined(mode).is_some() => {
            let options = ["nosuid", "noexec", "nodev"];
            Some(mount("/dev/shm", mica_runtime::OF_CONTAINER, "/dev/shm", &options)?)
        }
        _ => Some(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm_size])?),
    };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"])?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        sysfs,
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[kernel_access, "nosuid", "noexec", "nodev"])?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"])?,
    ];
    mounts.extend(shared_memory);
    Ok(mounts)
}

/// What the document of a new container will most likely ask of the kernel, where that can be told from its request.
///
/// Whoever shares namespaces, or has other owners than the host, is left out, as are mounts of the user's: what they
/// need may be mounted only when the plan is made, too late for a process that has its copy of the host's mounts.
pub(crate) fn forecast(host: &HostConfig) -> Option<Forecast> {
    let modes = [&host.uts_mode, &host.pid_mode, &host.ipc_mode, &host.cgroupns_mode];
    let is_own = |mode: &&String| matches!(mode.as_str(), "" | "private" | "shareable");
    let is_plain = modes.iter().all(is_own)
        && host.userns_mode.is_empty()
        && !host.network_mode.starts_with("container:")
        && host.network_mode != "host"
        && host.resources.cgroup_parent.is_empty()
        && host.binds.as_ref().is_none_or(Vec::is_empty)
        && host.mounts.as_ref().is_none_or(Vec::is_empty)
        && host.volumes_from.as_ref().is_none_or(Vec::is_empty);
    if !is_plain {
        return None;
    }
    let mut namespaces = vec![
        NamespaceKind::Mount,
        NamespaceKind::Uts,
        NamespaceKind::Pid,
        NamespaceKind::Ipc,
        NamespaceKind::Cgroup,
    ];
    if host.network_mode == "none" {
        namespaces.push(NamespaceKind::Network);
    }
    Forecast::new(namespaces, &kernel_mounts(host, &NetworkPlace::Private).ok()?).ok()
}

/// The files that tell a container its name and its resolvers.
fn files(disk: &ContainerDisk) -> std::result::Result<Vec<Mount>, OciSpecError> {
    Ok(vec![
        bind("/etc/resolv.conf", &disk.resolv_conf())?,
        bind("/etc/hostname", &disk.hostname())?,
        bind("/etc/hosts", &disk.hosts())?,
    ])
}

fn mount(
    destination: &str,
    kind: &str,
    source: &str,
    options: &[&str],
) -> std::result::Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ(kind)
        .source(source)
        .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
        .build()
}

fn bind(destination: &str, source: &Path) -> std::result::Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(destination)
        .typ("bind")
        .source(source)
        .options(["rbind", "rprivate"].map(str::to_owned).to_vec())
        .build()
}

/// Where the container's cgroup lies below each hierarchy's root.
pub(crate) fn cgroup_path(id: &ContainerId, resources: &Resources) -> String {
    let parent =
        if resources.cgroup_parent.is_empty() { CGROUP_PARENT_DEFAULT } else { &resources.cgroup_parent };
    format!("/{}/{id}", parent.trim_matches('/'))
}

/// Limits in the terms of the specification; what is zero or absent is left out.
pub(crate) fn resources(limits: &Resources) -> std::result::Result<LinuxResources, OciSpecError> {
    let mut memory = LinuxMemoryBuilder::default();
    if limits.memory != 0 {
        memory = memory.limit(limits.memory);
    }
    if limits.memory_swap != 0 {
        memory = memory.swap(limits.memory_swap);
    }
    if limits.memory_reservation != 0 {
        memory = memory.reservation(limits.memory_reservation);
    }
    if let Some(swappiness) = limits.memory_swappiness.and_then(|value| u64::try_from(value).ok()) {
        memory = memory.swappiness(swappiness);
    }
    if limits.oom_kill_disable == Some(true) {
        memory = memory.disable_oom_killer(true);
    }
    let mut resources = LinuxResourcesBuilder::default().memory(memory.build()?).cpu(cpu(limits)?);
    if let Some(limit) = limits.pids_limit.filter(|&limit| limit != 0) {
        resources = resources.pids(LinuxPidsBuilder::default().limit(limit).build()?);
    }
    resources.build()
}

fn cpu(limits: &Resources) -> std::result::Result<oci_spec::runtime::LinuxCpu, OciSpecError> {
    let mut cpu = LinuxCpuBuilder::default();
    if let Ok(shares @ 1..) = u64::try_from(limits.cpu_shares) {
        cpu = cpu.shares(shares);
    }
    let mut period = limits.cpu_period;
    let mut quota = limits.cpu_quota;
    if limits.nano_cpus > 0 {
        period = CPU_PERIOD_MICROSECONDS;
        quota = limits.nano_cpus.saturating_mul(CPU_PERIOD_MICROSECONDS) / 1_000_000_000;
    }
    if let Ok(period @ 1..) = u64::try_from(period) {
        cpu = cpu.period(period);
    }
    if quota != 0 {
        cpu = cpu.quota(quota);
    }
    if limits.cpu_realtime_runtime != 0 {
        cpu = cpu.realtime_runtime(limits.cpu_realtime_runtime);
    }
    if let Ok(period @ 1..) = u64::try_from(limits.cpu_realtime_period) {
        cpu = cpu.realtime_period(period);
    }
    if !limits.cpuset_cpus.is_empty() {
        cpu = cpu.cpus(limits.cpuset_cpus.clone());
    }
    if !limits.cpuset_mems.is_empty() {
        cpu = cpu.mems(limits.cpuset_mems.clone());
    }
    cpu.build()
}

fn sysctls(network: &NetworkPlace, host: &HostConfig) -> HashMap<String, String> {
    let mut settings = HashMap::new();
    if *network == NetworkPlace::Private {
        // A private network has no ports and no pings that an unprivileged process must be kept from.
        settings.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        settings.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    }
    settings.extend(host.sysctls.clone().unwrap_or_default());
    settings
}

/// The cgroup below which all containers lie.
const CGROUP_PARENT_DEFAULT: &str = "mica";

/// Length of a CPU quota period in microseconds where `--cpus` is given.
const CPU_PERIOD_MICROSECONDS: i64 = 100_000;

/// The search path of a container whose image sets none.
pub(crate) const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Files that tell or touch the host and are hidden.
pub(crate) const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Files that would change the host and can only be read.
pub(crate) const READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
