//! Chapter four: device nodes and links in `/dev`.

use super::root::{Links, Place, Root};
use super::{Chapter, at};
use crate::error::{SetupError, SetupStep};
use crate::plan::DevicePlan;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, makedev, mkdirat, mknodat, openat,
    symlinkat,
};
use rustix::io::Errno;

/// The nodes that every container has (OCI runtime specification, "Default Devices").
const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Links that every container has ("Dev symbolic links").
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// The host's null device, proven to be one: it covers masked files.
pub(super) fn open_null() -> Chapter<OwnedFd> {
    let failed = at(SetupStep::Device, "/dev/null");
    let null =
        match openat(CWD, "/dev/null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Ok(null) => null,
            Err(errno) => return Err(failed(errno)),
        };
    match rustix::fs::fstat(&null) {
        Ok(status)
            if FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
                && status.st_rdev == makedev(1, 3) =>
        {
            Ok(null)
        }
        Ok(_) => Err(failed(Errno::NODEV)),
        Err(errno) => Err(failed(errno)),
    }
}

/// Makes what every container has in a fresh `/dev`, and the document's devices wherever they are to be.
pub(super) fn make(root: &Root, dev: Option<&OwnedFd>, devices: &[DevicePlan]) -> Chapter {
    let Some(dev) = dev else { return devices.iter().try_for_each(|device| add(root, device)) };
    let elsewhere = |device: &&DevicePlan| !device.path.starts_with("/dev/");
    fill(dev, devices)?;
    devices.iter().filter(elsewhere).try_for_each(|device| add(root, device))
}

/// Makes what every container has, and the document's devices of `/dev`, in a fresh file system for it.
pub(super) fn fill(dev: &OwnedFd, devices: &[DevicePlan]) -> Chapter {
    populate(dev)?;
    let inside = devices.iter().filter_map(|device| Some((device.path.strip_prefix("/dev/")?, device)));
    inside.into_iter().try_for_each(|(relative, device)| add_below(dev.as_fd(), relative, device))
}

fn populate(dev: &OwnedFd) -> Chapter {
    for (name, major, minor) in NODES {
        make_node(dev.as_fd(), name, &node("/dev/", name, major, minor))?;
    }
    for (name, target) in LINKS {
        ignore_existing(symlinkat(target, dev, name)).map_err(at(SetupStep::Device, name))?;
    }
    ignore_existing(symlinkat("pts/ptmx", dev, "ptmx")).map_err(at(SetupStep::Device, "ptmx"))
}

fn node(prefix: &str, name: &str, major: u32, minor: u32) -> DevicePlan {
    let path = format!("{prefix}{name}");
    DevicePlan { path, file_type: 0o020_000, major, minor, mode: 0o666, uid: 0, gid: 0 }
}

/// Makes a device where the directory is not ours: only what is missing.
fn add(root: &Root, device: &DevicePlan) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Device, device.path.clone(), errno);
    let (parent, name) = device.path.rsplit_once('/').ok_or_else(|| failed(Errno::INVAL))?;
    let parent = if parent.is_empty() { "/" } else { parent };
    let parent = root.open_or_make(parent, Place::Directory, Links::Refuse).map_err(failed)?;
    make_node(parent.as_fd(), name, device)
}

/// `relative` lies in our own fresh file system, where nothing but what we made can be met.
fn add_below(dev: BorrowedFd<'_>, relative: &str, device: &DevicePlan) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Device, device.path.clone(), errno);
    let Some((directory, rest)) = relative.split_once('/') else {
        return make_node(dev, relative, device);
    };
    if matches!(directory, "" | "." | "..") {
        return Err(failed(Errno::INVAL));
    }
    ignore_existing(mkdirat(dev, directory, Mode::from_raw_mode(0o755))).map_err(failed)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let below = openat(dev, directory, flags, Mode::empty()).map_err(failed)?;
    add_below(below.as_fd(), rest, device)
}

fn make_node(directory: BorrowedFd<'_>, name: &str, device: &DevicePlan) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Device, device.path.clone(), errno);
    let kind = FileType::from_raw_mode(device.file_type);
    let mode = Mode::from_raw_mode(device.mode);
    match mknodat(directory, name, kind, mode, makedev(device.major, device.minor)) {
        // What the image brought, or was made before, stays.
        Err(Errno::EXIST) => return Ok(()),
        other => other.map_err(failed)?,
    }
    chmodat(directory, name, mode, AtFlags::empty()).map_err(failed)?;
    if (device.uid, device.gid) == (0, 0) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
}

fn ignore_existing(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}
