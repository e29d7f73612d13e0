//! An empty volume gets what the image has at its place, with owners and modes, before it is used first.

use super::VolumeSource;
use crate::Local;
use crate::container::changes::top_first;
use crate::container::record::Definition;
use crate::disk::VolumeDisk;
use crate::error::{Error, Result};
use crate::lock;
use crate::mount::VolumeMount;
use mica_snapshot::{OverlayMount, archive};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

impl Local {
    /// Fills the empty volumes of a new container.
    pub(crate) fn fill_volumes(&self, definition: &Definition) -> Result<()> {
        let mut root = None;
        for mount in &definition.mounts {
            let Some(volume) = mount.volume().filter(|volume| volume.is_filled) else { continue };
            // What each container mounts for itself is not there to be filled.
            let VolumeSource::Directory { path, is_read_only: false } = self.volume_source(&volume.name)?
            else {
                continue;
            };
            let root: &OwnedFd = match &root {
                Some(root) => root,
                None => root.insert(image_root(definition)?),
            };
            fill(root, &mount.destination, volume, (&path, &self.disk.volume(&volume.name)))?;
        }
        Ok(())
    }
}

/// The image's files, seen by nobody else.
fn image_root(definition: &Definition) -> Result<OwnedFd> {
    let stack = OverlayMount { lowers: top_first(definition), ..OverlayMount::default() };
    Ok(stack.mount_detached(true)?)
}

/// Copies under the volume's lock. A mark tells of a copy that was killed: the volume is no longer
/// empty then, and still not whole.
fn fill(root: &OwnedFd, place: &str, volume: &VolumeMount, (data, disk): (&Path, &VolumeDisk)) -> Result<()> {
    let Some(target) = open_part(data, &volume.subpath)? else { return Ok(()) };
    let mark = disk.filling();
    if !mark.exists() && !is_empty(data)? {
        return Ok(());
    }
    let fail = |source| Error::io("fill the volume", data, source);
    // One that is removed meanwhile is missed by the mount.
    let _lock = lock::exclusive_directory(disk.directory())?;
    if !mark.exists() && !is_empty(data)? {
        return Ok(());
    }
    crate::disk::write_file(&mark, b"")?;
    archive::copy_directory(root.as_fd(), place.as_bytes(), target.as_fd())?;
    std::fs::remove_file(&mark).map_err(fail)
}

fn is_empty(directory: &Path) -> Result<bool> {
    let mut entries = std::fs::read_dir(directory).map_err(|source| Error::io("read", directory, source))?;
    Ok(entries.next().is_none())
}

/// The part of a volume that is mounted; `None` if there is no such directory, which the start tells.
fn open_part(data: &Path, subpath: &str) -> Result<Option<OwnedFd>> {
    let fail = |errno: rustix::io::Errno| Error::io("open", data, errno.into());
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let whole = rustix::fs::open(data, flags, Mode::empty()).map_err(fail)?;
    if subpath.is_empty() {
        return Ok(Some(whole));
    }
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(&whole, subpath, flags, Mode::empty(), within).ok())
}
