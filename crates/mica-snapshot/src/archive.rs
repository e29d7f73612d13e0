//! Reading and writing parts of a container's tree, as `docker cp` does.
//!
//! All paths are resolved by the kernel with the container's root as `/` and without the magic
//! links of procfs, then used through the descriptor that came out: whatever the container swaps
//! meanwhile, nothing outside of its root can be meant.

use crate::error::{Error, Result, path_of};
use crate::node;
use crate::pack::{Marks, Packer, Plain, pack_node};
use crate::tar::reader::{NoTap, Reader};
use crate::unpack::name::components;
use crate::unpack::place::{Flavor, real_path};
use crate::unpack::{UnpackOptions, Unpacker};
use mica_model::Timestamp;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use std::ffi::CString;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Last component of the path that was asked for.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Go's `os.FileMode`: permissions in the low nine bits, kinds and set-id bits above.
    pub mode: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// For a symbolic link: the absolute path in the container that it leads to.
    pub link_target: Option<PathBuf>,
}

/// Whether a symbolic link at the end of a path is meant itself or what it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// The link.
    Keep,
    /// Its target.
    Follow,
}

/// How an archive is written into a tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// Refuse to replace a directory by something else and the other way round.
    pub keep_kinds: bool,
    /// Give all files to this user and group instead of those in the archive.
    pub owner: Option<(u32, u32)>,
}

/// Where a path leads: a name in a directory.
struct Located {
    parent: OwnedFd,
    name: CString,
    stat: Stat,
    /// The name it was asked for by.
    asked: Vec<u8>,
}

/// What is at `path` of the tree at `root`; a link at its end is described itself.
///
/// # Errors
/// When there is nothing.
pub fn stat_path(root: BorrowedFd<'_>, path: &[u8]) -> Result<PathStat> {
    let located = locate(root, path, LastLink::Keep)?;
    path_stat(root, path, &located)
}

/// Writes what is at `path` to `out` as an archive whose first entry is its last component (or `.`
/// if the path ends in one). Devices and pipes become entries, they are never read.
///
/// # Errors
/// When there is nothing, and what reading or writing gives.
pub fn read_path(root: BorrowedFd<'_>, path: &[u8], link: LastLink, out: impl Write) -> Result<PathStat> {
    let located = locate(root, path, link)?;
    let stat = path_stat(root, path, &located)?;
    let mut packer = Packer::new(Plain(out), Marks::Ordinary);
    pack_node(&mut packer, located.parent.as_fd(), &located.name, &located.asked)?;
    packer.finish()?.0.flush().map_err(Error::io("write", b"the archive"))?;
    Ok(stat)
}

/// Unpacks an uncompressed archive into the directory `path` of the tree at `root`.
///
/// # Errors
/// [`Error::NotDirectory`], [`Error::Overwrite`], a malformed archive, names that lead outside,
/// and what making files gives. Entries before the failure stay.
pub fn write_archive(
    root: BorrowedFd<'_>,
    path: &[u8],
    archive: impl Read,
    options: WriteOptions,
) -> Result<()> {
    let directory = match resolve(root, path, OFlags::DIRECTORY) {
        Err(Errno::NOTDIR) => return Err(Error::NotDirectory { path: path_of(path) }),
        other => other.map_err(Error::io("open", path))?,
    };
    if node::shows_the_kernel(directory.as_fd()) {
        return Err(Error::io("open", path)(Errno::NOENT));
    }
    let base = components(&inside(root, directory.as_fd()).map_err(Error::io("resolve", path))?)?;
    let root = node::open_directory(root, c".").map_err(Error::io("open", b"/"))?;
    let WriteOptions { keep_kinds, owner } = options;
    let mut unpacker =
        Unpacker::new(root, base, None, UnpackOptions { flavor: Flavor::Plain, keep_kinds, owner });
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, archive), NoTap);
    unpacker.unpack(&mut reader)
}

/// Copies what is in the directory `path` of the tree at `root` into the directory `target`, with
/// owners, modes and times, its own too. Nothing happens where there is no such directory.
///
/// # Errors
/// What reading and making files gives; what was copied before stays.
pub fn copy_directory(root: BorrowedFd<'_>, path: &[u8], target: BorrowedFd<'_>) -> Result<()> {
    let directory = match resolve(root, path, OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => other.map_err(Error::io("open", path))?,
    };
    let stat = rustix::fs::fstat(&directory).map_err(Error::io("examine", path))?;
    let described = node::describe(directory.as_fd(), c".", &stat).map_err(Error::io("examine", path))?;
    let (reader, writer) = std::io::pipe().map_err(Error::io("copy", path))?;
    let copied = std::thread::scope(|scope| {
        let packing = scope.spawn(|| {
            let out = BufWriter::with_capacity(256 << 10, writer);
            let mut packer = Packer::new(Plain(out), Marks::Ordinary);
            packer.tree(directory.as_fd(), b"")?;
            packer.finish()?.0.flush().map_err(Error::io("read", path))
        });
        let unpacked = unpack_into(target, reader);
        // An archive that ends too early says less than what ended it.
        match packing.join() {
            Ok(Err(error)) if !error.is_closed_pipe() => Err(error),
            _ => unpacked,
        }
    });
    copied?;
    match described {
        Some((_, metadata)) => node::apply_metadata(target, c".", &metadata, false),
        None => Ok(()),
    }
}

fn unpack_into(target: BorrowedFd<'_>, archive: impl Read) -> Result<()> {
    let target = node::open_directory(target, c".").map_err(Error::io("open", b"."))?;
    let options = UnpackOptions { flavor: Flavor::Plain, keep_kinds: false, owner: None };
    let mut unpacker = Unpacker::new(target, Vec::new(), None, options);
    unpacker.unpack(&mut Reader::new(BufReader::with_capacity(256 << 10, archive), NoTap))
}

/// Opens a path with `root` as `/`, following links within it.
pub(crate) fn resolve(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"/" } else { path };
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN: something was renamed meanwhile and the kernel could not prove that we stay inside.
    for _ in 0..100 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), within) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Path of a node within the tree, beginning with a slash.
fn inside(root: BorrowedFd<'_>, node: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let (root, node) = (real_path(root)?, real_path(node)?);
    let rest = node.strip_prefix(root.strip_suffix(b"/").unwrap_or(&root)).ok_or(Errno::XDEV)?;
    Ok(if rest.is_empty() { b"/".to_vec() } else { rest.to_vec() })
}

fn locate(root: BorrowedFd<'_>, path: &[u8], link: LastLink) -> Result<Located> {
    let error = |errno| Error::io::<Errno>("find", path)(errno);
    let (parents, last) = split(path);
    let asked = if last.is_empty() { split(parents).1 } else { last };
    let asked = if asked.is_empty() { b"." } else { asked }.to_vec();
    if matches!(last, b"" | b"." | b"..") {
        let parent = resolve(root, path, OFlags::DIRECTORY).map_err(error)?;
        let stat = rustix::fs::fstat(&parent).map_err(error)?;
        return Ok(Located { parent, name: c".".to_owned(), stat, asked });
    }
    let parent = resolve(root, parents, OFlags::DIRECTORY).map_err(error)?;
    if node::shows_the_kernel(parent.as_fd()) {
        return Err(error(Errno::NOENT));
    }
    let name = CString::new(last).map_err(|_| error(Errno::INVAL))?;
    let stat = node::stat(parent.as_fd(), &name).map_err(error)?.ok_or(Errno::NOENT).map_err(error)?;
    if link == LastLink::Keep || node::file_type(&stat) != FileType::Symlink {
        return Ok(Located { parent, name, stat, asked });
    }
    let target = resolve(root, path, OFlags::empty()).map_err(error)?;
    let real = inside(root, target.as_fd()).map_err(error)?;
    Ok(Located { asked, ..locate(root, &real, LastLink::Keep)? })
}

/// The part up to the last slash, without slashes at its end, and the part after.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let start = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let (mut parents, last) = path.split_at(start);
    while let Some(shorter) = parents.strip_suffix(b"/") {
        parents = shorter;
    }
    (parents, last)
}

fn path_stat(root: BorrowedFd<'_>, path: &[u8], located: &Located) -> Result<PathStat> {
    let Located { parent, name, stat, asked } = located;
    let link_target = if node::file_type(stat) == FileType::Symlink {
        Some(link_target(root, path, (parent, name)).map_err(Error::io("resolve", path))?)
    } else {
        None
    };
    let mtime = node::mtime(stat);
    Ok(PathStat {
        name: String::from_utf8_lossy(asked).into_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: go_mode(stat),
        mtime: Timestamp::from_nanoseconds(
            mtime.seconds.saturating_mul(1_000_000_000).saturating_add(mtime.nanoseconds.into()),
        ),
        link_target,
    })
}

/// Where a link leads in the container; for one that leads nowhere, where it would.
fn link_target(root: BorrowedFd<'_>, path: &[u8], link: (&OwnedFd, &CString)) -> rustix::io::Result<PathBuf> {
    if let Ok(target) = resolve(root, path, OFlags::empty()) {
        return Ok(path_of(&inside(root, target.as_fd())?));
    }
    let text = rustix::fs::readlinkat(link.0, link.1, Vec::new())?.into_bytes();
    let base = inside(root, link.0.as_fd())?;
    let joined = if text.starts_with(b"/") { text } else { [&base[..], b"/", &text].concat() };
    let mut clean = PathBuf::from("/");
    for part in path_of(&joined).components() {
        match part {
            std::path::Component::ParentDir => drop(clean.pop()),
            std::path::Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    Ok(clean)
}

/// The bits of Go's `os.FileMode` (package io/fs, constants `Mode*`).
fn go_mode(stat: &Stat) -> u32 {
    let kind = match node::file_type(stat) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 23), (0o2000, 22), (0o1000, 20)];
    let special = special.iter().filter(|(bit, _)| stat.st_mode & bit != 0).map(|(_, go)| 1u32 << go);
    special.fold(kind | (stat.st_mode & 0o777), |mode, bit| mode | bit)
}

/// Opens the directory that is to be the root of the functions above.
///
/// # Errors
/// When it is no directory.
pub fn open_tree_root(root: &Path) -> Result<OwnedFd> {
    crate::remove::open_root(root)
}

#[cfg(test)]
mod tests;
