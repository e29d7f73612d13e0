//! Chapter two: the root file system, how places inside it are found, and the move into it.

use super::{Chapter, at, root_subject};
use crate::RootPlan;
use crate::error::{SetupError, SetupStep};
use mica_sys::attribute::{self, Reach};
use mica_sys::overlay_mount::{OverlayLayers, overlay};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};
use std::path::{Path, PathBuf};

/// The container's root, mounted and not yet moved into.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) descriptor: OwnedFd,
}

/// What a place is to be when it must be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Directory,
    File,
}

/// How symbolic links on the way to a place are treated; all stay inside the root in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    /// For places that the container must not choose, as where `proc` appears.
    Refuse,
}

/// From here on no mount made here shows outside, nor the other way round.
pub(super) fn keep_mounts_private() -> Chapter {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(at(SetupStep::Root, "/"))
}

/// Mounts the root, in no mount namespace yet.
pub(super) fn mount(plan: &RootPlan) -> Chapter<OwnedFd> {
    let failed = |errno| SetupError::new(SetupStep::Root, root_subject(plan), errno);
    match plan {
        RootPlan::Overlay { lowers, upper, work, volatile } => {
            let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
            let layers = OverlayLayers {
                lowers: &lowers,
                upper: Some(upper),
                work: Some(work),
                volatile: *volatile,
                read_only: false,
            };
            overlay(&layers).map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
        }
        RootPlan::Directory { path } => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            open_tree(CWD, path, flags).map_err(failed)
        }
    }
}

/// Attaches the root, in this mount namespace only.
pub(super) fn attach(descriptor: OwnedFd, place: &Path) -> Chapter<Root> {
    move_mount(&descriptor, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(at(SetupStep::Root, place.display().to_string()))?;
    Ok(Root { descriptor })
}

/// Makes the root the only file system in view.
pub(super) fn pivot(root: &Root) -> Chapter {
    let failed = |errno| SetupError::new(SetupStep::Pivot, "", errno);
    rustix::process::fchdir(&root.descriptor).map_err(failed)?;
    // The old root comes to lie on the new one and is taken off it again.
    rustix::process::pivot_root(".", ".").map_err(failed)?;
    mica_sys::process::detach_current_directory().map_err(failed)?;
    rustix::process::chdir("/").map_err(failed)
}

/// Remounts the root read-only; mounts on it keep what they are.
pub(super) fn make_read_only(root: &Root) -> Chapter {
    attribute::set(root.descriptor.as_fd(), attribute::RDONLY, 0, Reach::One)
        .map_err(at(SetupStep::Root, "/"))
}

impl Root {
    /// The root that this process has moved into.
    pub(super) fn current() -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, "/", flags, Mode::empty()).map(|descriptor| Self { descriptor })
    }

    /// Opens `path` as the container would, with `O_PATH`.
    pub(super) fn open(&self, path: &str, links: Links) -> Result<OwnedFd, Errno> {
        open_inside(self.descriptor.as_fd(), path, OFlags::PATH, links)
    }

    /// Opens `path`, making what is missing of it.
    pub(super) fn open_or_make(&self, path: &str, place: Place, links: Links) -> Result<OwnedFd, Errno> {
        match self.open(path, links) {
            Err(Errno::NOENT) => self.make(path, place, links),
            other => other,
        }
    }

    /// Walks from the root, so that each part is made relative to a directory that was resolved
    /// inside the root and cannot be exchanged for another any more.
    fn make(&self, path: &str, place: Place, links: Links) -> Result<OwnedFd, Errno> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let mut parent = open_inside(self.descriptor.as_fd(), "/", OFlags::PATH | OFlags::DIRECTORY, links)?;
        let mut so_far = String::new();
        for (index, part) in parts.iter().enumerate() {
            let is_last = index + 1 == parts.len();
            so_far.push('/');
            so_far.push_str(part);
            let found = match self.open(&so_far, links) {
                Err(Errno::NOENT) => {
                    let kind = if is_last { place } else { Place::Directory };
                    make_one(parent.as_fd(), part, kind)?;
                    self.open(&so_far, links)?
                }
                other => other?,
            };
            parent = found;
        }
        Ok(parent)
    }
}

fn make_one(parent: BorrowedFd<'_>, name: &str, place: Place) -> Result<(), Errno> {
    if name == ".." {
        return Err(Errno::INVAL);
    }
    let made = match place {
        Place::Directory => mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Place::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        // A dangling symbolic link is there and leads nowhere: making its target is not for us.
        Err(Errno::EXIST) => Err(Errno::NOENT),
        other => other,
    }
}

/// openat2(2) that cannot leave `root`.
pub(super) fn open_inside(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_SYMLINKS, links == Links::Refuse);
    retry_while_renamed(|| openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve))
}

/// openat2(2) gives up when anything is renamed meanwhile, and asks to try again.
pub(super) fn retry_while_renamed(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    for _ in 0..64 {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// What kind of file a descriptor refers to.
pub(super) fn file_type(descriptor: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode))
}

/// Attaches a detached mount on an open place.
pub(super) fn attach_at(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags)
}

/// A detached copy of what is at an open place, with the mounts below it if `recursive`.
pub(super) fn copy_tree(place: BorrowedFd<'_>, reach: Reach) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, reach == Reach::Below);
    open_tree(place, "", flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let descriptor =
            openat(CWD, directory.path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        (directory, Root { descriptor })
    }

    #[test]
    fn places_are_made_inside_the_root_even_through_hostile_links() {
        let (directory, root) = root();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("out")).unwrap();
        std::os::unix::fs::symlink("../../../../inside", directory.path().join("in")).unwrap();
        std::fs::create_dir(directory.path().join("inside")).unwrap();
        assert!(root.open_or_make("/out/x", Place::Directory, Links::Follow).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        root.open_or_make("/in/a/b", Place::File, Links::Follow).unwrap();
        assert!(directory.path().join("inside/a/b").is_file());
        assert_eq!(root.open_or_make("/in/c", Place::File, Links::Refuse).unwrap_err(), Errno::LOOP);
    }

    #[test]
    fn what_exists_is_left_alone() {
        let (directory, root) = root();
        std::fs::write(directory.path().join("file"), "text").unwrap();
        root.open_or_make("/file", Place::File, Links::Follow).unwrap();
        assert_eq!(std::fs::read(directory.path().join("file")).unwrap(), b"text");
    }
}
