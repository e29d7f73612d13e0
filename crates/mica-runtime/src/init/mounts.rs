//! Chapter three: the mounts of the document, in its order.

use super::root::{Links, Place, Root, attach_at, copy_tree, file_type};
use super::{Chapter, at};
use crate::error::{SetupError, SetupStep};
use crate::plan::{MountKind, MountPlan};
use mica_sys::attribute::{self, Reach};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

/// Mounts that later chapters need again.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    /// A fresh `/dev`; `None` when it is the host's or the image's.
    pub(super) dev: Option<OwnedFd>,
    pub(super) devpts: Option<OwnedFd>,
    pub(super) proc: Option<OwnedFd>,
}

/// Files of `/proc` that may be covered, as LXCFS does; everything else there is the kernel's word.
const PROC_COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Detached copies of what is to be bound, taken while the host's tree is unchanged.
pub(super) fn open_sources(plans: &[MountPlan]) -> Chapter<Vec<Option<OwnedFd>>> {
    plans
        .iter()
        .map(|plan| {
            let MountKind::Bind { source, recursive } = &plan.kind else { return Ok(None) };
            let failed = |errno| SetupError::new(SetupStep::Mount, source.clone(), errno);
            let place = openat(CWD, source.as_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            let reach = if *recursive { Reach::Below } else { Reach::One };
            let copy = copy_tree(place.map_err(failed)?.as_fd(), reach).map_err(failed)?;
            set_attributes(&copy, plan).map_err(failed)?;
            Ok(Some(copy))
        })
        .collect()
}

/// Mounts everything; `sources` belong to `plans` one by one.
pub(super) fn mount_all(
    root: &Root,
    plans: &[MountPlan],
    sources: Vec<Option<OwnedFd>>,
    mut cgroups: Option<super::cgroups::View>,
) -> Chapter<Mounted> {
    let mut mounted = Mounted::default();
    for (plan, source) in plans.iter().zip(sources) {
        match (&plan.kind, source) {
            (MountKind::Bind { .. }, Some(source)) => bind(root, plan, &source)?,
            (MountKind::FileSystem { name, .. }, _) => {
                let mount = mount_new(root, plan)?;
                match (name.as_str(), plan.destination.as_str()) {
                    ("tmpfs", "/dev") => mounted.dev = Some(mount),
                    ("devpts", _) => mounted.devpts = Some(mount),
                    ("proc", _) => mounted.proc = Some(mount),
                    _ => {}
                }
            }
            (MountKind::Cgroup, _) => {
                let place = ordinary_directory(root, &plan.destination)?;
                if let Some(view) = cgroups.take() {
                    view.attach(&place, plan)?;
                }
            }
            (MountKind::Bind { .. }, None) => {
                return Err(SetupError::new(SetupStep::Mount, plan.destination.clone(), Errno::BADF));
            }
        }
    }
    Ok(mounted)
}

fn bind(root: &Root, plan: &MountPlan, source: &OwnedFd) -> Chapter {
    let destination = &plan.destination;
    let failed = |errno| SetupError::new(SetupStep::Mount, destination.clone(), errno);
    let is_directory = file_type(source.as_fd()).map_err(failed)? == FileType::Directory;
    let place = if is_directory { Place::Directory } else { Place::File };
    let target = root.open_or_make(destination, place, Links::Follow).map_err(failed)?;
    refuse_proc(target.as_fd(), destination)?;
    let is_same_kind = (file_type(target.as_fd()).map_err(failed)? == FileType::Directory) == is_directory;
    if !is_same_kind {
        return Err(SetupError::new(SetupStep::Mount, destination.clone(), Errno::NOTDIR));
    }
    attach_at(source.as_fd(), target.as_fd()).map_err(failed)
}

/// Nothing but the listed files may be put on `/proc`: what reads or writes there must meet the kernel.
fn refuse_proc(target: BorrowedFd<'_>, destination: &str) -> Chapter {
    let status = rustix::fs::fstatfs(target).map_err(at(SetupStep::Mount, destination))?;
    if status.f_type == PROC_SUPER_MAGIC && !PROC_COVERABLE.contains(&destination) {
        let subject = format!("{destination} (inside /proc)");
        return Err(SetupError::new(SetupStep::MountTarget, subject, Errno::PERM));
    }
    Ok(())
}

fn mount_new(root: &Root, plan: &MountPlan) -> Chapter<OwnedFd> {
    let MountKind::FileSystem { name, source, options } = &plan.kind else {
        return Err(SetupError::new(SetupStep::Mount, plan.destination.clone(), Errno::INVAL));
    };
    let failed = |errno| SetupError::new(SetupStep::Mount, plan.destination.clone(), errno);
    let target = if matches!(name.as_str(), "proc" | "sysfs") {
        ordinary_directory(root, &plan.destination)?
    } else {
        let target = root.open_or_make(&plan.destination, Place::Directory, Links::Follow).map_err(failed)?;
        refuse_proc(target.as_fd(), &plan.destination)?;
        target
    };
    let mount = new_file_system(name, source, options).map_err(failed)?;
    set_attributes(&mount, plan).map_err(failed)?;
    attach_at(mount.as_fd(), target.as_fd()).map_err(failed)?;
    Ok(mount)
}

/// A directory that no link leads to: an image whose `/proc` or `/sys` is a link would choose where
/// the kernel's files appear.
fn ordinary_directory(root: &Root, path: &str) -> Chapter<OwnedFd> {
    let refused = |errno| SetupError::new(SetupStep::MountTarget, path, errno);
    let target = root.open_or_make(path, Place::Directory, Links::Refuse).map_err(refused)?;
    match file_type(target.as_fd()).map_err(refused)? {
        FileType::Directory => Ok(target),
        _ => Err(refused(Errno::NOTDIR)),
    }
}

/// A new, detached instance of a file system.
pub(super) fn new_file_system(name: &str, source: &str, options: &[String]) -> Result<OwnedFd, Errno> {
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", source)?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value)?,
            None => fsconfig_set_flag(&context, option.as_str())?,
        }
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

/// Attributes are set while the mount is not visible yet.
fn set_attributes(mount: &OwnedFd, plan: &MountPlan) -> Result<(), Errno> {
    const MS_REC: u64 = 0x4000;
    if plan.attributes_recursive {
        attribute::set(mount.as_fd(), plan.attributes, 0, Reach::Below)?;
    } else if plan.attributes != 0 {
        attribute::set(mount.as_fd(), plan.attributes, 0, Reach::One)?;
    }
    if plan.propagation != 0 {
        let reach = if plan.propagation & MS_REC == 0 { Reach::One } else { Reach::Below };
        attribute::set(mount.as_fd(), 0, plan.propagation & !MS_REC, reach)?;
    }
    Ok(())
}
