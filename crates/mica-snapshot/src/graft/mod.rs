//! Taking parts of one tree into another, as `COPY` and `ADD` of a build do.
//!
//! [`find`] resolves what an instruction names within a tree, [`digest`] tells whether it is the same
//! as before, [`graft`] copies it. Nothing is read of the source but through descriptors that the
//! kernel resolved with the tree as its root, so that no link in it leads elsewhere.

mod copy;
mod digest;
mod fill;
mod memory;
mod merge;
mod mode;
mod threads;
mod visit;
mod wildcard;

pub use copy::{Destination, GraftOptions, graft, make_directory, remove_empty};
pub use digest::digest;
pub use memory::HashMemory;
pub use merge::merge;
pub use mode::ModeChange;
pub use wildcard::has_wildcard;

use crate::archive::resolve;
use crate::error::{Error, Result};
use crate::node;
use crate::unpack::place::real_path;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a filter says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the selection.
    Take,
    /// It does not, but something below it may.
    Skip,
    /// Neither it nor anything below it does.
    SkipAll,
}

/// A path that a filter is asked about.
#[derive(Debug, Clone, Copy)]
pub struct SourcePath<'a> {
    /// Relative to the tree.
    pub in_tree: &'a [u8],
    /// Relative to what was named; empty for that itself.
    pub below_source: &'a [u8],
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// Decides what of a tree may be seen.
pub type Filter<'a> = &'a (dyn Fn(&SourcePath<'_>) -> Verdict + Sync);

/// Something in a tree that an instruction named.
pub struct Source {
    parent: OwnedFd,
    name: CString,
    stat: Stat,
    /// Where it really is, relative to the tree.
    path: Vec<u8>,
    /// The last component of the name it was asked for by.
    asked: Vec<u8>,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Source")
            .field("path", &String::from_utf8_lossy(&self.path))
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Where it really is, relative to the tree; empty for the tree itself.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The last component of the name it was asked for by.
    pub fn asked(&self) -> &[u8] {
        &self.asked
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        node::file_type(&self.stat) == FileType::Directory
    }

    /// A descriptor of the node itself, which can be mounted and not read.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn node(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())
            .map_err(Error::io("open", &self.path))
    }

    /// Opens it for reading, if it is a regular file.
    ///
    /// # Errors
    /// When it is none any more, or cannot be opened.
    pub fn open(&self) -> Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())
            .map_err(Error::io("open", &self.path))?;
        let stat = rustix::fs::fstat(&file).map_err(Error::io("examine", &self.path))?;
        if node::file_type(&stat) != FileType::RegularFile {
            return Err(Error::io("open", &self.path)(Errno::INVAL));
        }
        Ok(file.into())
    }
}

/// What `pattern` names in the tree at `root`, in the order of the names. A pattern with wildcards
/// may name nothing; links are followed, within the tree.
///
/// # Errors
/// When a name without wildcards is not there or filtered away, and what reading the tree gives.
pub fn find(root: BorrowedFd<'_>, pattern: &[u8], filter: Filter<'_>) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    let parts = cleaned(pattern);
    let shown: Vec<u8> = parts.join(&b'/');
    let is_wild = parts.iter().any(|part| has_wildcard(part));
    expand(root, &mut Vec::new(), &parts, &mut |path| {
        match locate(root, path, filter) {
            Ok(source) => found.push(source),
            // A link that a wildcard met and that leads nowhere is not meant.
            Err(Error::Io { source, .. }) if is_wild && source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    })?;
    if found.is_empty() && !is_wild {
        return Err(Error::io("find", &shown)(Errno::NOENT));
    }
    Ok(found)
}

/// The components of a path as an instruction has it: `..` never leads out.
fn cleaned(pattern: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for part in pattern.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part.to_vec()),
        }
    }
    parts
}

type Each<'a> = &'a mut dyn FnMut(&[Vec<u8>]) -> Result<()>;

/// Calls `each` with every path that the components match.
fn expand(root: BorrowedFd<'_>, so_far: &mut Vec<Vec<u8>>, rest: &[Vec<u8>], each: Each<'_>) -> Result<()> {
    let Some((part, rest)) = rest.split_first() else { return each(so_far) };
    if !has_wildcard(part) {
        so_far.push(part.clone());
        expand(root, so_far, rest, each)?;
        so_far.pop();
        return Ok(());
    }
    let directory = match resolve(root, &so_far.join(&b'/'), OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other.map_err(Error::io("open", &so_far.join(&b'/')))?,
    };
    for name in node::names(directory.as_fd()).map_err(Error::io("read", &so_far.join(&b'/')))? {
        if wildcard::matches(part, name.to_bytes()) {
            so_far.push(name.into_bytes());
            expand(root, so_far, rest, each)?;
            so_far.pop();
        }
    }
    Ok(())
}

/// The node that a path leads to, by the directory it is really in.
fn locate(root: BorrowedFd<'_>, path: &[Vec<u8>], filter: Filter<'_>) -> Result<Source> {
    let shown = path.join(&b'/');
    let error = |errno: Errno| Error::io("find", &shown)(errno);
    let asked = path.last().cloned().unwrap_or_default();
    let target = resolve(root, &shown, OFlags::empty()).map_err(error)?;
    let real = inside(root, target.as_fd()).map_err(error)?;
    let Some(start) = real.iter().rposition(|&byte| byte == b'/').map(|slash| slash + 1).or(Some(0)) else {
        return Err(error(Errno::NOENT));
    };
    if real.is_empty() {
        let stat = rustix::fs::fstat(&target).map_err(error)?;
        let parent = node::open_directory(root, c".").map_err(error)?;
        return Ok(Source { parent, name: c".".to_owned(), stat, path: real, asked });
    }
    let parent = resolve(root, &real[..start.saturating_sub(1)], OFlags::DIRECTORY).map_err(error)?;
    let name = CString::new(&real[start..]).map_err(|_| error(Errno::INVAL))?;
    let stat = node::stat(parent.as_fd(), &name).map_err(error)?.ok_or(Errno::NOENT).map_err(error)?;
    let source = Source { parent, name, stat, path: real, asked };
    if is_hidden(&source, filter) {
        return Err(error(Errno::NOENT));
    }
    Ok(source)
}

/// Whether a filter takes away what was named: then it is as if it were not there. A directory of
/// which something may be left is there.
fn is_hidden(source: &Source, filter: Filter<'_>) -> bool {
    let mut end = 0;
    while let Some(length) = source.path[end..].iter().position(|&byte| byte == b'/') {
        let above =
            SourcePath { in_tree: &source.path[..end + length], below_source: b"", is_directory: true };
        if filter(&above) == Verdict::SkipAll {
            return true;
        }
        end += length + 1;
    }
    let asked = SourcePath { in_tree: &source.path, below_source: b"", is_directory: source.is_directory() };
    match filter(&asked) {
        Verdict::Take => false,
        Verdict::Skip => !source.is_directory(),
        Verdict::SkipAll => true,
    }
}

/// Path of a node within the tree, relative to it.
fn inside(root: BorrowedFd<'_>, node: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let (root, node) = (real_path(root)?, real_path(node)?);
    let rest = node.strip_prefix(root.strip_suffix(b"/").unwrap_or(&root)).ok_or(Errno::XDEV)?;
    Ok(rest.strip_prefix(b"/").unwrap_or(rest).to_vec())
}

#[cfg(test)]
mod tests;
