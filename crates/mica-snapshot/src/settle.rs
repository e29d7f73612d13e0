//! Paying the debts of a layer that was unpacked without those below it.
//!
//! Two things in an archive mean something only together with lower layers: a directory that it
//! does not mention although it has files in it, which keeps the owner and mode it has below; and a
//! hard link to a file of a lower layer, which must be copied up to be linked.

use crate::error::{Error, Result, path_of};
use crate::lower::{Found, Lowers};
use crate::node;
use crate::tar::{Metadata, Time};
use crate::unpack::LinkDebt;
use crate::unpack::name::{components, join};
use crate::unpack::place::{Flavor, Missing, Place};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

/// What a layer owes to those below it.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    /// Directories that only exist because something is in them.
    pub(crate) implied: BTreeSet<Vec<u8>>,
    /// Links and their targets.
    pub(crate) links: Vec<LinkDebt>,
}

impl Debts {
    /// Whether the layer's files are the same on any other layers.
    pub(crate) fn is_empty(&self) -> bool {
        self.implied.is_empty() && self.links.is_empty()
    }

    /// Pays all of them in the tree at `root`.
    pub(crate) fn pay(&mut self, root: OwnedFd, lowers: &Lowers) -> Result<()> {
        let mut place = Place::new(root, Flavor::Layer);
        for (link, target) in &self.links {
            pay_link(&mut place, lowers, link, target)?;
        }
        self.implied.append(&mut place.implied);
        // Deepest first: making a directory's time right comes after all that is in it.
        for path in self.implied.iter().rev() {
            pay_directory(&mut place, lowers, path)?;
        }
        // Only now, so that a failure above leaves a layer that cannot be registered.
        *self = Self::default();
        Ok(())
    }
}

fn pay_directory(place: &mut Place, lowers: &Lowers, path: &[u8]) -> Result<()> {
    let components = components(path)?;
    if !place.enter(&components, Missing::Report)? {
        return Ok(());
    }
    let below = lowers.find(&components)?.filter(|found| node::file_type(&found.stat) == FileType::Directory);
    let default = Metadata { mode: 0o755, mtime: Time::default(), ..Metadata::default() };
    let metadata = match (below, components.last()) {
        (Some(found), Some(name)) => metadata_of(&found, name)?,
        _ => default,
    };
    node::apply_metadata(place.directory(), c".", &metadata, false)
}

fn metadata_of(found: &Found, name: &CString) -> Result<Metadata> {
    let described = node::describe(found.directory.as_fd(), name, &found.stat);
    Ok(described
        .map_err(Error::io("examine", name.to_bytes()))?
        .map(|(_, metadata)| metadata)
        .unwrap_or_default())
}

fn pay_link(place: &mut Place, lowers: &Lowers, link: &[CString], target: &[CString]) -> Result<()> {
    let (Some((name, parents)), Some((target_name, target_parents))) =
        (link.split_last(), target.split_last())
    else {
        return Ok(());
    };
    let shown = join(link);
    let missing = || Error::LinkTarget { path: path_of(&shown), target: path_of(&join(target)) };
    place.enter(parents, Missing::Make)?;
    if node::stat(place.directory(), name).map_err(Error::io("examine", &shown))?.is_some() {
        // A later entry of the archive took the name.
        return Ok(());
    }
    place.enter(target_parents, Missing::Make)?;
    let error = |action| Error::io::<Errno>(action, &shown);
    let here = node::stat(place.directory(), target_name).map_err(error("examine"))?;
    if here.is_none() {
        let below = lowers.find(target)?.ok_or_else(missing)?;
        copy_up(place, &below, target_name)?;
    } else if here
        .is_some_and(|stat| node::is_whiteout(&stat) || node::file_type(&stat) == FileType::Directory)
    {
        return Err(missing());
    }
    let from = place.directory().try_clone_to_owned().map_err(Error::io("open", &shown))?;
    place.enter(parents, Missing::Make)?;
    let before = rustix::fs::fstat(place.directory()).map_err(error("examine"))?;
    rustix::fs::linkat(&from, target_name, place.directory(), name, AtFlags::empty())
        .map_err(error("link"))?;
    let time = node::timestamps(node::mtime(&before));
    rustix::fs::utimensat(place.directory(), ".", &time, AtFlags::empty()).map_err(error("set the time of"))
}

fn copy_up(place: &Place, below: &Found, name: &CString) -> Result<()> {
    let error = |action| Error::io::<Errno>(action, name.to_bytes());
    let directory = place.directory();
    let before = rustix::fs::fstat(directory).map_err(error("examine"))?;
    let metadata = metadata_of(below, name)?;
    match node::file_type(&below.stat) {
        FileType::Directory => return Err(error("link")(Errno::ISDIR)),
        FileType::RegularFile => copy_content(place, below, name)?,
        FileType::Symlink => {
            let text = rustix::fs::readlinkat(&below.directory, name, Vec::new()).map_err(error("read"))?;
            rustix::fs::symlinkat(&text, directory, name).map_err(error("make link"))?;
        }
        other => rustix::fs::mknodat(directory, name, other, Mode::RUSR, below.stat.st_rdev)
            .map_err(error("make node"))?,
    }
    node::apply_metadata(directory, name, &metadata, node::file_type(&below.stat) == FileType::Symlink)?;
    let time = node::timestamps(node::mtime(&before));
    rustix::fs::utimensat(directory, ".", &time, AtFlags::empty()).map_err(error("set the time of"))
}

fn copy_content(place: &Place, below: &Found, name: &CString) -> Result<()> {
    let error = |action| Error::io::<Errno>(action, name.to_bytes());
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(&below.directory, name, read, Mode::empty()).map_err(error("open"))?;
    let to =
        rustix::fs::openat(place.directory(), name, write, Mode::RUSR | Mode::WUSR).map_err(error("make"))?;
    std::io::copy(&mut std::fs::File::from(from), &mut std::fs::File::from(to))
        .map_err(Error::io("copy", name.to_bytes()))?;
    Ok(())
}
