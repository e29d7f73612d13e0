//! Chapter one and a half, for containers in a user namespace of their own: what the monitor, which is the host's
//! root, makes for them and hands over.
//!
//! The container's root has no rights over the host: it could neither reach the layers and sources, nor show
//! their owners mapped, nor make device nodes, nor raise limits. So the child is born into all its namespaces and
//! waits; the monitor writes the maps, makes these mounts without a place, and sends their descriptors. On disk
//! everything keeps the ids that the container sees: idmapped mounts (Linux 5.19 below an overlay) translate.

use super::devices;
use super::mounts::{self, new_file_system, set_attributes};
use super::root::copy_tree;
use super::settings;
use super::{Chapter, at};
use crate::RootPlan;
use crate::error::{SetupError, SetupStep};
use crate::order::{Birth, receive_with, send_with};
use crate::plan::{IdMaps, MountKind, MountPlan, map_text};
use mica_sys::attribute::{self, Reach};
use mica_sys::identity::{as_file_owner, map_mount};
use mica_sys::overlay_mount::{OverlayLayers, overlay};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, openat};
use rustix::io::Errno;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// A message with one mount attached.
const MESSAGE_MOUNT: &[u8] = b"m";

/// The last message: go on.
const MESSAGE_GO: &[u8] = b"g";

/// What the monitor made, in the order in which it is used.
#[derive(Debug)]
pub(super) struct Provision {
    mounts: VecDeque<OwnedFd>,
}

impl Provision {
    /// Waits for the monitor; an end of file means that it gave up.
    pub(super) fn receive(channel: &OwnedFd) -> Chapter<Self> {
        let failed = |errno| SetupError::new(SetupStep::Mapping, "", errno);
        let mut mounts = VecDeque::new();
        let mut message = [0; 1];
        loop {
            let (length, descriptors) = receive_with(channel.as_fd(), &mut message).map_err(failed)?;
            match &message[..length] {
                MESSAGE_MOUNT => mounts.extend(descriptors),
                MESSAGE_GO => return Ok(Self { mounts }),
                _ => return Err(failed(Errno::PIPE)),
            }
        }
    }

    fn next(&mut self, subject: &str) -> Chapter<OwnedFd> {
        self.mounts.pop_front().ok_or_else(|| SetupError::new(SetupStep::Mapping, subject, Errno::BADMSG))
    }

    /// The root file system.
    pub(super) fn root(&mut self) -> Chapter<OwnedFd> {
        self.next("/")
    }

    /// `/dev`, filled, when the plan has one of its own.
    pub(super) fn dev(&mut self, plans: &[MountPlan]) -> Chapter<mounts::Ready> {
        let Some(plan) = dev_plan(plans) else { return Ok(mounts::Ready::default()) };
        Ok(mounts::Ready::one(plan, self.next(&plan.destination)?))
    }

    /// As [`mounts::open_sources`].
    pub(super) fn sources(mut self, plans: &[MountPlan]) -> Chapter<Vec<Option<OwnedFd>>> {
        let mut source = |plan: &MountPlan| match plan.kind {
            MountKind::Bind { .. } | MountKind::Overlay { .. } => self.next(&plan.destination).map(Some),
            MountKind::FileSystem { .. } | MountKind::Cgroup | MountKind::OfContainer { .. } => Ok(None),
        };
        plans.iter().map(&mut source).collect()
    }
}

/// Takes the container's root on: the ids that a process is born with are not mapped.
pub(super) fn become_root() -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Mapping, "root", errno);
    set_thread_groups(&[]).map_err(failed)?;
    set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(failed)?;
    set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(failed)
}

/// The monitor's side: maps the ids of the child `pid`, and makes and sends what it waits for.
pub(crate) fn provide(channel: &OwnedFd, pid: u32, birth: &Birth, maps: &IdMaps) -> Chapter {
    let namespace = map_ids(pid, maps)?;
    let plan = &birth.plan;
    let send = |mount: OwnedFd| {
        send_with(channel.as_fd(), MESSAGE_MOUNT, &[mount.as_fd()])
            .map(drop)
            .map_err(at(SetupStep::Mapping, ""))
    };
    send(map_root(&birth.root, &namespace, maps)?)?;
    if let Some(dev) = dev_plan(&plan.mounts) {
        send(make_dev(dev, birth, maps)?)?;
    }
    for plan in &plan.mounts {
        let failed = |errno| SetupError::new(SetupStep::Mapping, plan.destination.clone(), errno);
        match &plan.kind {
            MountKind::Bind { source, recursive } => {
                let reach = if *recursive { Reach::Below } else { Reach::One };
                let source = mounts::open_source(plan, source, reach)?;
                if !plan.hears_of_the_host() {
                    // Unlike the child, the monitor copies from the host's own, shared mounts.
                    attribute::set(source.as_fd(), 0, PRIVATE, Reach::Below).map_err(failed)?;
                }
                if plan.are_ids_mapped {
                    map_mount(source.as_fd(), namespace.as_fd()).map_err(failed)?;
                }
                send(source)?;
            }
            MountKind::Overlay { lowers } => {
                let mut held = Vec::new();
                let lowers: Result<Vec<PathBuf>, Errno> =
                    lowers.iter().map(|lower| mapped_name(lower, &namespace, &mut held)).collect();
                send(lowers.and_then(|lowers| mounts::new_overlay(&lowers)).map_err(failed)?)?;
            }
            MountKind::FileSystem { .. } | MountKind::Cgroup | MountKind::OfContainer { .. } => {}
        }
    }
    settings::limits(&plan.process, Some(pid))?;
    send_with(channel.as_fd(), MESSAGE_GO, &[]).map(drop).map_err(at(SetupStep::Mapping, ""))
}

/// `MS_PRIVATE` (mount(2)).
const PRIVATE: u64 = 1 << 18;

/// Writes the maps, which the kernel takes once, and opens the namespace.
fn map_ids(pid: u32, maps: &IdMaps) -> Chapter<OwnedFd> {
    let write = |file: &str, text: String| {
        let failed = |errno| SetupError::new(SetupStep::Mapping, text.trim_end().to_owned(), errno);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(CWD, format!("/proc/{pid}/{file}"), flags, Mode::empty()).map_err(failed)?;
        rustix::io::write(&file, text.as_bytes()).map(drop).map_err(failed)
    };
    write("uid_map", map_text(&maps.users))?;
    write("gid_map", map_text(&maps.groups))?;
    let path = format!("/proc/{pid}/ns/user");
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(at(SetupStep::Mapping, "namespace"))
}

/// Mounts the root over layers whose owners are shown mapped.
fn map_root(plan: &RootPlan, namespace: &OwnedFd, maps: &IdMaps) -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Mapping, super::root_subject(plan), errno);
    match plan {
        RootPlan::Directory { path } => mapped_tree(path, namespace).map_err(failed),
        RootPlan::Overlay { lowers, upper, work, volatile } => {
            let mut held = Vec::new();
            let mut map = |directory: &Path| mapped_name(directory, namespace, &mut held);
            let lowers: Vec<PathBuf> =
                lowers.iter().map(|lower| map(lower)).collect::<Result<_, _>>().map_err(failed)?;
            // The kernel wants both on one mount, so it is their directory that is mapped.
            let directory = upper.parent().filter(|parent| work.parent() == Some(*parent));
            let names = upper.file_name().zip(work.file_name());
            let ((upper, work), directory) = names.zip(directory).ok_or_else(|| failed(Errno::XDEV))?;
            let directory = map(directory).map_err(failed)?;
            let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
            let layers = OverlayLayers {
                lowers: &lowers,
                upper: Some(&directory.join(upper)),
                work: Some(&directory.join(work)),
                volatile: *volatile,
                read_only: false,
            };
            // What the overlay itself makes must have an owner that is mapped.
            let mounted = as_file_owner(maps.root(), || overlay(&layers));
            mounted.map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
        }
    }
}

/// The name of a mapped copy that lives as long as what `held` has.
fn mapped_name(path: &Path, namespace: &OwnedFd, held: &mut Vec<OwnedFd>) -> Result<PathBuf, Errno> {
    let tree = mapped_tree(path, namespace)?;
    let name = format!("/proc/self/fd/{}", tree.as_raw_fd());
    held.push(tree);
    Ok(name.into())
}

fn mapped_tree(path: &Path, namespace: &OwnedFd) -> Result<OwnedFd, Errno> {
    let place = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let tree = copy_tree(place.as_fd(), Reach::Below)?;
    attribute::set(tree.as_fd(), 0, PRIVATE, Reach::Below)?;
    map_mount(tree.as_fd(), namespace.as_fd())?;
    Ok(tree)
}

/// The fresh file system for devices, where the plan has one.
fn dev_plan(plans: &[MountPlan]) -> Option<&MountPlan> {
    plans.iter().find(|plan| plan.is_fresh_dev())
}

/// `/dev` with its nodes: only the host's root can make any.
fn make_dev(plan: &MountPlan, birth: &Birth, maps: &IdMaps) -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Device, plan.destination.clone(), errno);
    let MountKind::FileSystem { name, source, options } = &plan.kind else {
        return Err(failed(Errno::INVAL));
    };
    let devices = birth.plan.devices.iter().map(|device| device.mapped(maps));
    let devices: Vec<_> = devices.collect::<Option<_>>().ok_or_else(|| failed(Errno::OVERFLOW))?;
    let (uid, gid) = maps.root();
    let owner = [format!("uid={uid}"), format!("gid={gid}")];
    let options = [options.as_slice(), &owner].concat();
    let mount = new_file_system(name, source, &options).map_err(failed)?;
    let mask = rustix::process::umask(Mode::empty());
    let made = as_file_owner((uid, gid), || Ok::<_, Errno>(devices::fill(&mount, &devices)));
    rustix::process::umask(mask);
    made.map_err(failed)??;
    set_attributes(&mount, plan).map_err(failed)?;
    Ok(mount)
}
