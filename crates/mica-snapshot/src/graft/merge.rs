//! Several layers become one that does the same to what lies below them.

use super::copy::make;
use crate::archive::resolve;
use crate::error::{Error, Result};
use crate::node;
use crate::remove::{open_root, remove_at};
use crate::tar::Metadata;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Writes into the empty directory `target` what the directories of layers do together, the lowest first. `below` is
/// what they lie on, if they lie on anything.
///
/// # Errors
/// What reading and writing gives.
pub fn merge(layers: &[PathBuf], below: Option<BorrowedFd<'_>>, target: &Path) -> Result<()> {
    let out = open_root(target)?;
    for layer in layers {
        let layer = open_root(layer)?;
        let mut merge = Merge { links: HashMap::new(), out: out.as_fd() };
        let below = below.map(|below| node::open_directory(below, c".")).transpose();
        merge.directory(&layer, &out, below.map_err(Error::io("open", b"/"))?, &[])?;
    }
    Ok(())
}

/// One layer that comes on top of those before it.
struct Merge<'a> {
    /// First names of files that have several, each with its directory.
    links: HashMap<(u64, u64), Vec<CString>>,
    out: BorrowedFd<'a>,
}

impl Merge<'_> {
    fn directory(
        &mut self,
        layer: &OwnedFd,
        out: &OwnedFd,
        below: Option<OwnedFd>,
        path: &[CString],
    ) -> Result<()> {
        let shown = shown_path(path);
        let fail = |action| Error::io::<Errno>(action, &shown);
        let mut below = below;
        if node::is_opaque(layer.as_fd()).map_err(fail("examine"))? {
            for name in node::names(out.as_fd()).map_err(fail("read"))? {
                remove_at(out.as_fd(), &name)?;
            }
            node::set_xattr(out.as_fd(), c".", node::OPAQUE, b"y").map_err(fail("mark as opaque"))?;
        }
        if node::is_opaque(out.as_fd()).map_err(fail("examine"))? {
            below = None;
        }
        for name in node::names(layer.as_fd()).map_err(fail("read"))? {
            let Some(stat) = node::stat(layer.as_fd(), &name).map_err(fail("examine"))? else { continue };
            self.entry((layer, out, below.as_ref()), (&name, &stat), path)?;
        }
        // What was done within has changed the time.
        let stat = rustix::fs::fstat(layer).map_err(fail("examine"))?;
        let times = node::timestamps(node::mtime(&stat));
        rustix::fs::utimensat(out, ".", &times, AtFlags::empty()).map_err(fail("set the time of"))
    }

    fn entry(
        &mut self,
        (layer, out, below): (&OwnedFd, &OwnedFd, Option<&OwnedFd>),
        (name, stat): (&CStr, &Stat),
        above: &[CString],
    ) -> Result<()> {
        let path = [above, &[name.to_owned()]].concat();
        let shown = shown_path(&path);
        let fail = |action| Error::io::<Errno>(action, &shown);
        let is_below = match below {
            Some(below) => node::stat(below.as_fd(), name).map_err(fail("examine"))?,
            None => None,
        };
        let was = node::stat(out.as_fd(), name).map_err(fail("examine"))?;
        let was_directory = was.as_ref().is_some_and(|was| node::file_type(was) == FileType::Directory);
        if node::is_whiteout(stat) {
            if was.is_some() {
                remove_at(out.as_fd(), name)?;
            }
            return match is_below {
                Some(_) => rustix::fs::mknodat(out, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(fail("hide")),
                None => Ok(()),
            };
        }
        let Some((kind, metadata)) = node::describe(layer.as_fd(), name, stat).map_err(fail("examine"))?
        else {
            return Ok(());
        };
        if node::file_type(stat) != FileType::Directory {
            if was.is_some() {
                remove_at(out.as_fd(), name)?;
            }
            return self.node((layer, out), (name, stat), (&kind, &metadata), &path);
        }
        if was.is_some() && !was_directory {
            remove_at(out.as_fd(), name)?;
        }
        if !was_directory {
            rustix::fs::mkdirat(out, name, Mode::RWXU).map_err(fail("make directory"))?;
        }
        node::apply_metadata(out.as_fd(), name, &metadata, false)?;
        let [from, to] = [layer, out].map(|parent| node::open_directory(parent.as_fd(), name));
        let (from, to) = (from.map_err(fail("open"))?, to.map_err(fail("open"))?);
        // What a layer has taken away in between is not to come back.
        let is_new = was.is_some() && !was_directory;
        if is_new && is_below.is_some() {
            node::set_xattr(to.as_fd(), c".", node::OPAQUE, b"y").map_err(fail("mark as opaque"))?;
        }
        let below = match below
            .filter(|_| is_below.is_some_and(|stat| node::file_type(&stat) == FileType::Directory))
        {
            Some(below) => Some(node::open_directory(below.as_fd(), name).map_err(fail("open"))?),
            None => None,
        };
        self.directory(&from, &to, below, &path)
    }

    /// Anything but a directory, where nothing is in the way any more.
    fn node(
        &mut self,
        (layer, out): (&OwnedFd, &OwnedFd),
        (name, stat): (&CStr, &Stat),
        (kind, metadata): (&crate::tar::EntryKind, &Metadata),
        path: &[CString],
    ) -> Result<()> {
        let shown = shown_path(path);
        let fail = |action| Error::io::<Errno>(action, &shown);
        if stat.st_nlink > 1 && node::file_type(stat) != FileType::Directory {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some((first, parents)) = self.links.get(&identity).and_then(|first| first.split_last()) {
                let from = resolve(self.out, &shown_path(parents), OFlags::DIRECTORY);
                return rustix::fs::linkat(from.map_err(fail("open"))?, first, out, name, AtFlags::empty())
                    .map_err(fail("link"));
            }
            self.links.insert(identity, path.to_vec());
        }
        let is_symlink = node::file_type(stat) == FileType::Symlink;
        let name = name.to_owned();
        if let Some(file) = make(out.as_fd(), &name, kind).map_err(fail("make"))? {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let from = rustix::fs::openat(layer, &name, flags, Mode::empty()).map_err(fail("open"))?;
            copy_content(&from, &file).map_err(Error::io("copy", &shown))?;
        }
        node::apply_metadata(out.as_fd(), &name, metadata, is_symlink)
    }
}

fn shown_path(path: &[CString]) -> Vec<u8> {
    path.iter().map(|part| part.as_bytes()).collect::<Vec<_>>().join(&b'/')
}

/// Copies within the kernel, sharing blocks where the file system can.
fn copy_content(from: &OwnedFd, to: &OwnedFd) -> std::io::Result<()> {
    let (mut from, mut to) = (std::fs::File::from(from.try_clone()?), std::fs::File::from(to.try_clone()?));
    std::io::copy(&mut from, &mut to).map(drop)
}
