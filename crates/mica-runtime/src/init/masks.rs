//! Chapter five: paths that are hidden or may not be written.

use super::mounts::new_file_system;
use super::root::{Links, Root, attach_at, copy_tree, file_type};
use super::{Chapter, at};
use crate::ContainerPlan;
use crate::error::SetupStep;
use mica_sys::attribute::{self, Reach};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;

/// Applies both lists. What does not exist needs no hiding.
pub(super) fn apply(root: &Root, plan: &ContainerPlan, null: &OwnedFd) -> Chapter {
    for path in &plan.readonly_paths {
        protect(root, path).map_err(at(SetupStep::Mask, path))?;
    }
    let mut empty = None;
    for path in &plan.masked_paths {
        mask(root, path, null, &mut empty).map_err(at(SetupStep::Mask, path))?;
    }
    Ok(())
}

fn open(root: &Root, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match root.open(path, Links::Refuse) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn protect(root: &Root, path: &str) -> Result<(), Errno> {
    let Some(place) = open(root, path)? else { return Ok(()) };
    let copy = copy_tree(place.as_fd(), Reach::Below)?;
    attribute::set(copy.as_fd(), attribute::RDONLY, 0, Reach::Below)?;
    attach_at(copy.as_fd(), place.as_fd())
}

/// Directories are covered by an empty one (one file system for all), files by the null device.
fn mask(root: &Root, path: &str, null: &OwnedFd, empty: &mut Option<OwnedFd>) -> Result<(), Errno> {
    let Some(place) = open(root, path)? else { return Ok(()) };
    if file_type(place.as_fd())? != FileType::Directory {
        let copy = copy_tree(null.as_fd(), Reach::One)?;
        return attach_at(copy.as_fd(), place.as_fd());
    }
    if let Some(empty) = empty {
        let copy = copy_tree(empty.as_fd(), Reach::One)?;
        return attach_at(copy.as_fd(), place.as_fd());
    }
    let options = ["size=0".to_owned(), "mode=755".to_owned()];
    let fresh = new_file_system("tmpfs", "tmpfs", &options)?;
    let attributes = attribute::RDONLY | attribute::NOSUID | attribute::NODEV | attribute::NOEXEC;
    attribute::set(fresh.as_fd(), attributes, 0, Reach::One)?;
    attach_at(fresh.as_fd(), place.as_fd())?;
    *empty = Some(fresh);
    Ok(())
}
