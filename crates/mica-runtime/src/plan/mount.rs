//! Mounts of a document, with their options read once.

use super::container::{PlanError, absolute};
use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A mount inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// What appears there.
    pub kind: MountKind,
    /// Absolute path inside the container.
    pub destination: String,
    /// Attributes to set (`MOUNT_ATTR_*` of mount_setattr(2)).
    pub attributes: u64,
    /// Whether the attributes also hold for mounts below a recursive bind.
    pub attributes_recursive: bool,
    /// Propagation (`MS_SHARED` and so on), 0 for private.
    pub propagation: u64,
    /// Only this part of what would appear, a path that stays inside it; empty for the whole.
    pub part: String,
    /// Device and inode that the source of a bind must have, where its name could have been given to
    /// something else meanwhile.
    pub identity: Option<(u64, u64)>,
    /// Whether owners are shown as the container's user namespace maps them, if it has one of its own.
    pub are_ids_mapped: bool,
}

/// What an option begins with that names a part of the source. Options that begin with `x-` are not
/// for the kernel (mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS").
pub const SUBPATH_OPTION: &str = "x-mica.subpath=";

/// The type of a mount that shows what another container has in memory; its source is the place there.
pub const OF_CONTAINER: &str = "x-mica.of-container";

/// What the options of an overlay begin with that name its trees, the top one first.
const LOWER_OPTION: &str = "lowerdir+=";

/// What appears at a mount's destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or directory of the host.
    Bind {
        /// Where it is on the host.
        source: String,
        /// With the mounts below it.
        recursive: bool,
    },
    /// A new instance of a file system.
    FileSystem {
        /// `proc`, `tmpfs`, `devpts`, ...
        name: String,
        /// Shown as the source in `/proc/mounts`.
        source: String,
        /// Options of the file system: `key=value` or flags.
        options: Vec<String>,
    },
    /// Several directories of the host seen as one, which cannot be written.
    Overlay {
        /// The top one first.
        lowers: Vec<PathBuf>,
    },
    /// The container's cgroups, whatever their version is on this host.
    Cgroup,
    /// A file system in memory that another container has, one whose mount namespace was handed over: see
    /// [`crate::StartPlan::joined`].
    OfContainer {
        /// Where that one has it.
        path: String,
    },
}

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

const MS_REC: u64 = 0x4000;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;
const MS_UNBINDABLE: u64 = 1 << 17;

impl MountPlan {
    /// Whether it is the file system that devices are made in.
    pub(crate) fn is_fresh_dev(&self) -> bool {
        let is_tmpfs = matches!(&self.kind, MountKind::FileSystem { name, .. } if name == "tmpfs");
        is_tmpfs && self.destination == "/dev"
    }

    /// Whether it is a new file system that can be made without the container's root: one in memory has the mode of
    /// the directory that it covers, unless it is told one.
    pub(crate) fn is_independent_of_root(&self) -> bool {
        matches!(&self.kind, MountKind::FileSystem { .. }) && self.part.is_empty() && !self.lacks_mode()
    }

    /// Whether its mode is that of the directory that it covers.
    pub(crate) fn lacks_mode(&self) -> bool {
        let MountKind::FileSystem { name, options, .. } = &self.kind else { return false };
        name == "tmpfs" && !options.iter().any(|option| option.starts_with("mode="))
    }

    /// Checks and converts one OCI mount.
    pub(crate) fn from_oci(mount: &Mount) -> Result<Self, PlanError> {
        super::container::refuse_present(&[
            ("mounts.uidMappings", mount.uid_mappings().is_some()),
            ("mounts.gidMappings", mount.gid_mappings().is_some()),
        ])?;
        let mut options = Options::default();
        for option in mount.options().iter().flatten() {
            options.read(option)?;
        }
        let destination = absolute("mounts.destination", mount.destination())?;
        let text_of_source = mount.source().as_ref().map(|path| path.to_string_lossy().into_owned());
        let name = mount.typ().clone().unwrap_or_default();
        let kind = if options.bind || name == "bind" {
            refuse_data(&options.data)?;
            let source = text_of_source.ok_or(PlanError::Missing { field: "mounts.source" })?;
            MountKind::Bind {
                source: absolute("mounts.source", source.as_ref())?,
                recursive: options.recursive,
            }
        } else if name == "overlay" {
            options.attributes |= RDONLY;
            MountKind::Overlay { lowers: lowers(&options.data)? }
        } else if name == "cgroup" || name == "cgroup2" {
            MountKind::Cgroup
        } else if name == OF_CONTAINER {
            refuse_data(&options.data)?;
            let path = text_of_source.ok_or(PlanError::Missing { field: "mounts.source" })?;
            MountKind::OfContainer { path: absolute("mounts.source", path.as_ref())? }
        } else if name.is_empty() {
            return Err(PlanError::Missing { field: "mounts.type" });
        } else {
            let source = text_of_source.unwrap_or_else(|| name.clone());
            MountKind::FileSystem { name, source, options: options.data }
        };
        Ok(Self {
            kind,
            destination,
            attributes: options.attributes,
            attributes_recursive: options.attributes_recursive,
            propagation: options.propagation,
            part: options.part,
            identity: None,
            are_ids_mapped: options.are_ids_mapped,
        })
    }

    /// Whether mounts of the host are passed on into it.
    pub(crate) fn hears_of_the_host(&self) -> bool {
        self.propagation & (MS_SHARED | MS_SLAVE) != 0
    }
}

fn lowers(data: &[String]) -> Result<Vec<PathBuf>, PlanError> {
    let invalid = |option: &String| PlanError::Invalid { field: "mounts.options", value: option.clone() };
    let lower =
        |option: &String| option.strip_prefix(LOWER_OPTION).map(PathBuf::from).ok_or_else(|| invalid(option));
    data.iter().map(lower).collect()
}

fn refuse_data(data: &[String]) -> Result<(), PlanError> {
    match data.first() {
        Some(option) => Err(PlanError::Invalid { field: "mounts.options", value: option.clone() }),
        None => Ok(()),
    }
}

#[derive(Default)]
struct Options {
    bind: bool,
    recursive: bool,
    attributes: u64,
    attributes_recursive: bool,
    propagation: u64,
    part: String,
    are_ids_mapped: bool,
    data: Vec<String>,
}

impl Options {
    fn read(&mut self, option: &str) -> Result<(), PlanError> {
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "ro" => self.attributes |= RDONLY,
            "rro" => (self.attributes, self.attributes_recursive) = (self.attributes | RDONLY, true),
            "rw" => self.attributes &= !RDONLY,
            "nosuid" => self.attributes |= NOSUID,
            "suid" => self.attributes &= !NOSUID,
            "nodev" => self.attributes |= NODEV,
            "dev" => self.attributes &= !NODEV,
            "noexec" => self.attributes |= NOEXEC,
            "exec" => self.attributes &= !NOEXEC,
            "noatime" => self.attributes |= NOATIME,
            "strictatime" => self.attributes |= STRICTATIME,
            "nodiratime" => self.attributes |= NODIRATIME,
            "nosymfollow" => self.attributes |= NOSYMFOLLOW,
            "relatime" | "defaults" | "async" | "atime" | "diratime" | "norelatime" | "nostrictatime" => {}
            "private" => self.propagation = MS_PRIVATE,
            "rprivate" => self.propagation = MS_PRIVATE | MS_REC,
            "slave" => self.propagation = MS_SLAVE,
            "rslave" => self.propagation = MS_SLAVE | MS_REC,
            "shared" => self.propagation = MS_SHARED,
            "rshared" => self.propagation = MS_SHARED | MS_REC,
            "unbindable" => self.propagation = MS_UNBINDABLE,
            "runbindable" => self.propagation = MS_UNBINDABLE | MS_REC,
            "idmap" | "ridmap" => self.are_ids_mapped = true,
            "tmpcopyup" | "sync" | "mand" | "remount" | "dirsync" => {
                return Err(PlanError::Unsupported { field: "mounts.options", value: option.to_owned() });
            }
            other => match other.strip_prefix(SUBPATH_OPTION) {
                Some(part) => part.clone_into(&mut self.part),
                None => self.data.push(other.to_owned()),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::MountBuilder;

    fn plan(kind: &str, options: &[&str]) -> Result<MountPlan, PlanError> {
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let mount = MountBuilder::default().typ(kind).source("/src").destination("/dst").options(options);
        MountPlan::from_oci(&mount.build().unwrap())
    }

    #[test]
    fn options_are_split_into_attributes_and_data() {
        let mount =
            plan("tmpfs", &["nosuid", "noexec", "nodev", "mode=755", "size=65536k", "ro", "rw"]).unwrap();
        assert_eq!(mount.attributes, NOSUID | NODEV | NOEXEC);
        let MountKind::FileSystem { options, .. } = mount.kind else { panic!("not a file system") };
        assert_eq!(options, ["mode=755", "size=65536k"]);
    }

    #[test]
    fn binds_know_their_depth_and_refuse_data() {
        let mount = plan("bind", &["rbind", "rro", "rslave"]).unwrap();
        assert_eq!(mount.kind, MountKind::Bind { source: "/src".to_owned(), recursive: true });
        assert!(mount.attributes_recursive);
        assert!(plan("bind", &["bind", "mode=755"]).is_err());
        assert!(plan("bind", &["bind", "idmap"]).unwrap().are_ids_mapped);
    }

    #[test]
    fn an_overlay_names_its_trees_and_is_read_only() {
        let mount = plan("overlay", &["lowerdir+=/a:b", "lowerdir+=/c,d", "x-mica.subpath=usr/lib"]).unwrap();
        let lowers = ["/a:b", "/c,d"].map(PathBuf::from).to_vec();
        assert_eq!(mount.kind, MountKind::Overlay { lowers });
        assert_eq!((mount.attributes, mount.part.as_str()), (RDONLY, "usr/lib"));
        assert!(plan("overlay", &["upperdir=/x"]).is_err());
    }

    #[test]
    fn only_what_is_not_private_hears_of_the_host() {
        let hears = |word| plan("bind", &["rbind", word]).unwrap().hears_of_the_host();
        assert!(["shared", "rshared", "slave", "rslave"].into_iter().all(hears));
        assert!(!["private", "rprivate", "unbindable", "ro"].into_iter().any(hears));
    }
}
