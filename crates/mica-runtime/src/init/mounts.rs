//! Chapter three: the mounts of the document, in its order.

use super::root::{Links, Place, Root, attach_at, copy_tree, file_type, retry_while_renamed};
use super::{Chapter, at};
use crate::error::{SetupError, SetupStep};
use crate::plan::{MountKind, MountPlan};
use mica_sys::attribute::{self, Reach};
use mica_sys::overlay_mount::{OverlayLayers, overlay};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use std::path::{Path, PathBuf};

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

/// When a source is opened: a copy taken after this namespace's mounts were made private hears nothing
/// of the host any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    BeforePrivacy,
    Privately,
}

/// Detached copies of what is to be bound, taken while the host's tree is unchanged; of each plan
/// at its moment.
pub(super) fn open_sources(plans: &[MountPlan], moment: Moment) -> Chapter<Vec<Option<OwnedFd>>> {
    let is_due = |plan: &MountPlan| plan.hears_of_the_host() == (moment == Moment::BeforePrivacy);
    let open = |plan: &MountPlan| match &plan.kind {
        MountKind::Bind { source, recursive } if is_due(plan) => {
            open_source(plan, source, if *recursive { Reach::Below } else { Reach::One }).map(Some)
        }
        _ => Ok(None),
    };
    plans.iter().map(open).collect()
}

/// Puts what other containers lend where it belongs.
pub(super) fn with_lent(
    mut sources: Vec<Option<OwnedFd>>,
    plans: &[MountPlan],
    lent: Vec<OwnedFd>,
) -> Chapter<Vec<Option<OwnedFd>>> {
    let is_lent = |plan: &&MountPlan| matches!(plan.kind, MountKind::OfContainer { .. });
    let places = sources.iter_mut().zip(plans).filter(|(_, plan)| is_lent(plan));
    for ((source, plan), copy) in places.zip(lent) {
        let failed = |errno| SetupError::new(SetupStep::Mount, plan.destination.clone(), errno);
        set_attributes(&copy, plan).map_err(failed)?;
        *source = Some(copy);
    }
    Ok(sources)
}

pub(super) fn open_source(plan: &MountPlan, source: &str, reach: Reach) -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Mount, source, errno);
    let whole = openat(CWD, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let place = part_of(&whole, plan)?.unwrap_or(whole);
    if let Some(identity) = plan.identity {
        let stat = rustix::fs::fstat(&place).map_err(failed)?;
        if (stat.st_dev, stat.st_ino) != identity {
            return Err(failed(Errno::STALE));
        }
    }
    let copy = copy_tree(place.as_fd(), reach).map_err(failed)?;
    set_attributes(&copy, plan).map_err(failed)?;
    Ok(copy)
}

/// The part of a source that is wanted. Links in it may be followed as long as they stay inside; one
/// that leads out is an error, not a way around.
fn part_of(whole: &OwnedFd, plan: &MountPlan) -> Chapter<Option<OwnedFd>> {
    if plan.part.is_empty() {
        return Ok(None);
    }
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = retry_while_renamed(|| openat2(whole, plan.part.as_str(), flags, Mode::empty(), within));
    opened.map(Some).map_err(at(SetupStep::Part, plan.part.clone()))
}

/// File systems that have been made already and appear nowhere yet, with their plans.
#[derive(Debug, Default)]
pub(super) struct Ready(Vec<(MountPlan, OwnedFd)>);

impl Ready {
    /// Makes what can be made; why something cannot is told when it is needed.
    pub(super) fn make(plans: Vec<MountPlan>) -> Self {
        let make = |plan: MountPlan| match &plan.kind {
            MountKind::FileSystem { name, source, options } => {
                let made = new_file_system(name, source, options).ok()?;
                Some((plan, made))
            }
            _ => None,
        };
        Self(plans.into_iter().filter_map(make).collect())
    }

    /// Of one plan only.
    pub(super) fn one(plan: &MountPlan, made: OwnedFd) -> Self {
        Self(vec![(plan.clone(), made)])
    }

    /// The one for devices.
    pub(super) fn dev(&self) -> Option<&OwnedFd> {
        self.0.iter().find_map(|(plan, made)| plan.is_fresh_dev().then_some(made))
    }

    /// Gives what was made for exactly this plan away.
    fn take(&mut self, plan: &MountPlan) -> Option<OwnedFd> {
        let index = self.0.iter().position(|(known, _)| known == plan)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// Mounts everything; `sources` belong to `plans` one by one.
pub(super) fn mount_all(
    root: &Root,
    plans: &[MountPlan],
    sources: Vec<Option<OwnedFd>>,
    (mut cgroups, mut ready): (Option<super::cgroups::View>, Ready),
) -> Chapter<Mounted> {
    let mut mounted = Mounted::default();
    for (plan, source) in plans.iter().zip(sources) {
        match (&plan.kind, source) {
            (MountKind::Bind { .. } | MountKind::OfContainer { .. }, Some(source)) => {
                bind(root, plan, &source)?
            }
            (MountKind::FileSystem { name, .. }, _) => {
                let mount = mount_new(root, plan, ready.take(plan))?;
                match (name.as_str(), plan.destination.as_str()) {
                    ("tmpfs", "/dev") => mounted.dev = Some(mount),
                    ("devpts", "/dev/pts") => mounted.devpts = Some(mount),
                    ("proc", "/proc") => mounted.proc = Some(mount),
                    _ => {}
                }
            }
            (MountKind::Overlay { .. }, made) => drop(mount_new(root, plan, made)?),
            (MountKind::Cgroup, _) => {
                let place = ordinary_directory(root, &plan.destination)?;
                if let Some(view) = cgroups.take() {
                    view.attach(&place, plan)?;
                }
            }
            (MountKind::Bind { .. } | MountKind::OfContainer { .. }, None) => {
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
    // Of `/proc` itself only another one may take the place.
    if destination != PROC || !is_proc(source.as_fd()).map_err(failed)? {
        refuse_proc(target.as_fd(), destination)?;
    }
    let is_same_kind = (file_type(target.as_fd()).map_err(failed)? == FileType::Directory) == is_directory;
    if !is_same_kind {
        return Err(SetupError::new(SetupStep::Mount, destination.clone(), Errno::NOTDIR));
    }
    attach_at(source.as_fd(), target.as_fd()).map_err(failed)
}

/// Where processes are shown.
const PROC: &str = "/proc";

fn is_proc(place: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(place)?.f_type == PROC_SUPER_MAGIC)
}

/// Nothing but the listed files may be put on `/proc`: what reads or writes there must meet the kernel.
fn refuse_proc(target: BorrowedFd<'_>, destination: &str) -> Chapter {
    if is_proc(target).map_err(at(SetupStep::Mount, destination))? && !PROC_COVERABLE.contains(&destination) {
        let subject = format!("{destination} (inside /proc)");
        return Err(SetupError::new(SetupStep::MountTarget, subject, Errno::PERM));
    }
    Ok(())
}

/// Mounts a file system of the container's own, or attaches the one that the monitor has `made`.
fn mount_new(root: &Root, plan: &MountPlan, made: Option<OwnedFd>) -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Mount, plan.destination.clone(), errno);
    let is_kernels =
        matches!(&plan.kind, MountKind::FileSystem { name, .. } if matches!(name.as_str(), "proc" | "sysfs"));
    let takes_mode = plan.lacks_mode() && root.open(&plan.destination, Links::Follow).is_ok();
    let target = if is_kernels {
        ordinary_directory(root, &plan.destination)?
    } else {
        let target = root.open_or_make(&plan.destination, Place::Directory, Links::Follow).map_err(failed)?;
        refuse_proc(target.as_fd(), &plan.destination)?;
        target
    };
    let mount = match (made, &plan.kind) {
        (Some(made), _) => Ok(made),
        (None, MountKind::FileSystem { name, source, options }) if takes_mode => {
            let status = rustix::fs::fstat(&target).map_err(failed)?;
            let mode = format!("mode={:o}", status.st_mode & 0o7777);
            new_file_system(name, source, &[options.as_slice(), &[mode]].concat())
        }
        (None, MountKind::FileSystem { name, source, options }) => new_file_system(name, source, options),
        (None, MountKind::Overlay { lowers }) => new_overlay(lowers),
        (None, MountKind::Bind { .. } | MountKind::Cgroup | MountKind::OfContainer { .. }) => {
            Err(Errno::INVAL)
        }
    };
    let mount = mount.map_err(failed)?;
    set_attributes(&mount, plan).map_err(failed)?;
    attach_at(mount.as_fd(), target.as_fd()).map_err(failed)?;
    match part_of(&mount, plan)? {
        None => Ok(mount),
        Some(part) => replace_by_part(&mount, &part, &target).map_err(failed),
    }
}

pub(super) fn new_overlay(lowers: &[PathBuf]) -> Result<OwnedFd, Errno> {
    let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
    let layers = OverlayLayers { lowers: &lowers, upper: None, work: None, volatile: false, read_only: true };
    overlay(&layers).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// A part can only be copied out of a mount that has a place, so the whole has had it for a moment.
fn replace_by_part(whole: &OwnedFd, part: &OwnedFd, target: &OwnedFd) -> Result<OwnedFd, Errno> {
    if file_type(part.as_fd())? != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    let copy = copy_tree(part.as_fd(), Reach::One)?;
    rustix::process::fchdir(whole)?;
    mica_sys::process::detach_current_directory()?;
    attach_at(copy.as_fd(), target.as_fd())?;
    Ok(copy)
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
pub(super) fn set_attributes(mount: &OwnedFd, plan: &MountPlan) -> Result<(), Errno> {
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
