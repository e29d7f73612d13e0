//! A container as a whole: the OCI document, checked once, as a type that cannot be invalid.

use super::{DeviceRules, IdMaps, MountPlan, ProcessPlan, Resources};
use crate::seccomp::Filter;
use mica_model::ErrorKind;
use oci_spec::runtime::{Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceType, Spec};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

/// A checked OCI document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerPlan {
    pub(crate) process: ProcessPlan,
    pub(crate) hostname: Option<String>,
    pub(crate) domain_name: Option<String>,
    pub(crate) root_read_only: bool,
    pub(crate) namespaces: Vec<NamespacePlan>,
    /// `None` leaves the container in our user namespace.
    pub(crate) id_maps: Option<IdMaps>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) sysctls: Vec<(String, String)>,
    /// Relative path below each hierarchy; empty means `mica/<id>`.
    pub(crate) cgroup: String,
    pub(crate) resources: Resources,
    pub(crate) device_rules: DeviceRules,
}

/// Why a document cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A field that must be there is not.
    #[error("the container document lacks {field}")]
    Missing {
        /// Its path in the document.
        field: &'static str,
    },
    /// A field has a value that cannot be.
    #[error("{value:?} is not valid as {field}")]
    Invalid {
        /// Its path in the document.
        field: &'static str,
        /// What was there.
        value: String,
    },
    /// A field asks for what this version does not do.
    #[error("{field} is not supported by this version ({value})")]
    Unsupported {
        /// Its path in the document.
        field: &'static str,
        /// What was there.
        value: String,
    },
}

impl PlanError {
    /// The kind of failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } | Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
        }
    }
}

/// A kind of namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceKind {
    /// Mount points.
    Mount,
    /// Process ids.
    Pid,
    /// System V IPC and message queues.
    Ipc,
    /// Host name.
    Uts,
    /// Network.
    Network,
    /// Root of the cgroups seen.
    Cgroup,
}

impl NamespaceKind {
    /// Name of the file in `/proc/PID/ns`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "net",
            Self::Cgroup => "cgroup",
        }
    }
}

/// A namespace that the container gets: new, or that of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamespacePlan {
    pub(crate) kind: NamespaceKind,
    /// `None` makes a new one.
    pub(crate) path: Option<String>,
}

/// A device node besides the usual ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevicePlan {
    pub(crate) path: String,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO`.
    pub(crate) file_type: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl DevicePlan {
    /// With its owner as the host sees it, but for the container's root; `None` when nobody there is that owner,
    /// or when it is to lie where only the container's root could make it.
    pub(crate) fn mapped(&self, maps: &IdMaps) -> Option<Self> {
        if !self.path.starts_with("/dev/") {
            return None;
        }
        if (self.uid, self.gid) == (0, 0) {
            return Some(self.clone());
        }
        Some(Self { uid: maps.user(self.uid)?, gid: maps.group(self.gid)?, ..self.clone() })
    }
}

impl ContainerPlan {
    /// Checks and converts a document; the second value names what is in it and not applied.
    pub fn from_spec(spec: &Spec) -> Result<(Self, Vec<String>), PlanError> {
        refuse_present(&[("hooks", spec.hooks().is_some()), ("vm", spec.vm().is_some())])?;
        let process = spec.process().as_ref().ok_or(PlanError::Missing { field: "process" })?;
        let linux = spec.linux().as_ref().ok_or(PlanError::Missing { field: "linux" })?;
        refuse_unsupported(linux)?;
        let (resources, warnings) = linux.resources().as_ref().map(Resources::from_oci).unwrap_or_default();
        let plan = Self {
            process: ProcessPlan::from_oci(process)?,
            hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
            domain_name: spec.domainname().clone().filter(|name| !name.is_empty()),
            root_read_only: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
            namespaces: namespaces(linux)?,
            id_maps: id_maps(linux)?,
            mounts: spec.mounts().iter().flatten().map(MountPlan::from_oci).collect::<Result<_, _>>()?,
            devices: linux.devices().iter().flatten().map(device).collect::<Result<_, _>>()?,
            masked_paths: absolutes("linux.maskedPaths", linux.masked_paths().as_ref())?,
            readonly_paths: absolutes("linux.readonlyPaths", linux.readonly_paths().as_ref())?,
            sysctls: sysctls(linux)?,
            cgroup: cgroup(linux)?,
            resources,
            device_rules: device_rules(linux)?,
        };
        Ok((plan, warnings))
    }

    /// See [`ProcessPlan::with_rights_we_hold`].
    #[must_use]
    pub fn with_rights_we_hold(mut self) -> Self {
        self.process = self.process.with_rights_we_hold();
        self
    }

    /// The first process with a filter on its system calls, see [`ProcessPlan::with_filter`].
    #[must_use]
    pub fn with_filter(mut self, filter: Option<Filter>) -> Self {
        self.process = self.process.with_filter(filter);
        self
    }

    /// The container with further mounts, made after the others. What a bind shows must have the
    /// device and inode that are given with it.
    ///
    /// # Errors
    /// As for those of a document.
    pub fn with_mounts(
        mut self,
        mounts: &[(oci_spec::runtime::Mount, Option<(u64, u64)>)],
    ) -> Result<Self, PlanError> {
        for (mount, identity) in mounts {
            self.mounts.push(MountPlan { identity: *identity, ..MountPlan::from_oci(mount)? });
        }
        Ok(self)
    }

    /// The same with the first process not having a variable.
    #[must_use]
    pub fn without_variable(mut self, name: &str) -> Self {
        self.process.environment.retain(|entry| entry.split('=').next() != Some(name));
        self
    }

    /// The capabilities that the first process can ever gain, as a mask.
    pub fn bounding_set(&self) -> u64 {
        self.process.bounding_set()
    }

    pub(crate) fn is_new(&self, kind: NamespaceKind) -> bool {
        self.namespaces.iter().any(|namespace| namespace.kind == kind && namespace.path.is_none())
    }
}

fn refuse_unsupported(linux: &Linux) -> Result<(), PlanError> {
    refuse_present(&[
        ("linux.seccomp", linux.seccomp().is_some()),
        ("linux.rootfsPropagation", linux.rootfs_propagation().is_some()),
        ("linux.mountLabel", linux.mount_label().is_some()),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.memoryPolicy", linux.memory_policy().is_some()),
        ("linux.personality", linux.personality().is_some()),
        ("linux.timeOffsets", linux.time_offsets().is_some()),
        ("linux.netDevices", linux.net_devices().is_some()),
    ])
}

/// Refuses a document in which any of the named fields is present.
pub(super) fn refuse_present(fields: &[(&'static str, bool)]) -> Result<(), PlanError> {
    match fields.iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(PlanError::Unsupported { field, value: "present".to_owned() }),
        None => Ok(()),
    }
}

/// An absolute path without NUL as text.
pub(super) fn absolute(field: &'static str, path: &Path) -> Result<String, PlanError> {
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains('\0') => Ok(text.to_owned()),
        _ => Err(PlanError::Invalid { field, value: path.to_string_lossy().into_owned() }),
    }
}

fn absolutes(field: &'static str, paths: Option<&Vec<String>>) -> Result<Vec<String>, PlanError> {
    paths.into_iter().flatten().map(|path| absolute(field, Path::new(path))).collect()
}

fn namespaces(linux: &Linux) -> Result<Vec<NamespacePlan>, PlanError> {
    let mut plans: Vec<NamespacePlan> = Vec::new();
    for namespace in linux.namespaces().iter().flatten() {
        let kind = match namespace.typ() {
            LinuxNamespaceType::Mount => NamespaceKind::Mount,
            LinuxNamespaceType::Pid => NamespaceKind::Pid,
            LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
            LinuxNamespaceType::Uts => NamespaceKind::Uts,
            LinuxNamespaceType::Network => NamespaceKind::Network,
            LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
            // Its maps say everything, see `id_maps`.
            LinuxNamespaceType::User if namespace.path().is_none() => continue,
            other => {
                return Err(PlanError::Unsupported { field: "linux.namespaces", value: other.to_string() });
            }
        };
        if plans.iter().any(|plan| plan.kind == kind) {
            return Err(PlanError::Invalid { field: "linux.namespaces", value: kind.file_name().to_owned() });
        }
        let path = namespace.path().as_deref();
        let path = path.map(|path| absolute("linux.namespaces.path", path)).transpose()?;
        plans.push(NamespacePlan { kind, path });
    }
    if !plans.iter().any(|plan| plan.kind == NamespaceKind::Mount && plan.path.is_none()) {
        return Err(PlanError::Missing { field: "linux.namespaces (a new mount namespace)" });
    }
    Ok(plans)
}

/// A user namespace and its maps go together.
fn id_maps(linux: &Linux) -> Result<Option<IdMaps>, PlanError> {
    let is_user = |namespace: &LinuxNamespace| namespace.typ() == LinuxNamespaceType::User;
    let has_namespace = linux.namespaces().iter().flatten().any(is_user);
    match (IdMaps::from_oci(linux)?, has_namespace) {
        (Some(_), false) => Err(PlanError::Missing { field: "linux.namespaces (a user namespace)" }),
        (None, true) => Err(PlanError::Missing { field: "linux.uidMappings" }),
        (maps, _) => Ok(maps),
    }
}

fn device_rules(linux: &Linux) -> Result<DeviceRules, PlanError> {
    let rules = linux.resources().as_ref().and_then(|resources| resources.devices().as_ref());
    DeviceRules::from_oci(rules.map_or(&[][..], Vec::as_slice))
}

fn device(device: &LinuxDevice) -> Result<DevicePlan, PlanError> {
    let file_type = match device.typ().as_str() {
        "c" | "u" => 0o020_000,
        "b" => 0o060_000,
        "p" => 0o010_000,
        other => return Err(PlanError::Invalid { field: "linux.devices.type", value: other.to_owned() }),
    };
    let number = |value: i64| {
        u32::try_from(value)
            .map_err(|_| PlanError::Invalid { field: "linux.devices", value: value.to_string() })
    };
    Ok(DevicePlan {
        path: absolute("linux.devices.path", device.path())?,
        file_type,
        major: number(device.major())?,
        minor: number(device.minor())?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

fn sysctls(linux: &Linux) -> Result<Vec<(String, String)>, PlanError> {
    let mut sysctls = Vec::new();
    for (name, value) in linux.sysctl().iter().flatten() {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/@".contains(&byte));
        if !plain || name.split(['.', '/']).any(str::is_empty) {
            return Err(PlanError::Invalid { field: "linux.sysctl", value: name.clone() });
        }
        sysctls.push((name.clone(), value.clone()));
    }
    sysctls.sort();
    Ok(sysctls)
}

fn cgroup(linux: &Linux) -> Result<String, PlanError> {
    let Some(path) = linux.cgroups_path() else { return Ok(String::new()) };
    let error =
        || PlanError::Invalid { field: "linux.cgroupsPath", value: path.to_string_lossy().into_owned() };
    let relative = path.strip_prefix("/").unwrap_or(path);
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    let text = relative.to_str().ok_or_else(error)?;
    if !plain || text.contains('\0') { Err(error()) } else { Ok(text.to_owned()) }
}
