//! What a container changed, as `docker diff` tells it.
//!
//! The rules are those of docker's comparison of two trees: a directory is changed if its owner or
//! mode is, or if anything in it is; a file also if its size, time or capabilities are. A file that
//! was only opened for writing is not changed.

use crate::error::{Error, Result};
use crate::lower::{Found, Lowers};
use crate::node;
use crate::remove::open_root;
use crate::unpack::name;
use crate::walk::{Visit, Walk};
use rustix::fs::{FileType, Stat};
use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// `C`: it is another than below, or something in it is.
    Modified,
    /// `A`: nothing below has it.
    Added,
    /// `D`: it is gone.
    Deleted,
}

/// A path that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute path in the container.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// All changes that the upper directory makes to the layers `lowers` (topmost first), by path.
///
/// # Errors
/// What reading the trees gives.
pub fn changes(upper: &Path, lowers: &[PathBuf]) -> Result<Vec<Change>> {
    let root = open_root(upper)?;
    let lowers = Lowers::open(lowers)?;
    let mut walk = Walk::new(root.as_fd())?;
    let mut found = Ledger { changes: BTreeMap::new() };
    while let Some(visit) = walk.step()? {
        let Visit::Node { name, stat } = visit else { continue };
        let path = walk.path().to_vec();
        let components = name::components(&path)?;
        let below = lowers.find(&components)?;
        if node::is_whiteout(&stat) {
            if below.is_some() {
                found.add(&path, ChangeKind::Deleted);
            }
            continue;
        }
        match &below {
            None => found.add(&path, ChangeKind::Added),
            Some(below) => {
                if differs(walk.directory(), below, &name, &stat)? {
                    found.add(&path, ChangeKind::Modified);
                }
            }
        }
        if node::file_type(&stat) == FileType::Directory {
            walk.descend(&name)?;
            let is_opaque = node::is_opaque(walk.directory()).map_err(Error::io("examine", &path))?;
            let was_directory = below.is_some_and(|b| node::file_type(&b.stat) == FileType::Directory);
            if is_opaque && was_directory {
                add_hidden(&mut found, &lowers, &components, walk.directory())?;
            }
        }
    }
    Ok(found
        .changes
        .into_iter()
        .map(|(path, kind)| Change { path: OsString::from_vec([b"/", &path[..]].concat()).into(), kind })
        .collect())
}

/// An opaque directory says nothing about what it hides; each of that is a deletion.
fn add_hidden(
    found: &mut Ledger,
    lowers: &Lowers,
    path: &[std::ffi::CString],
    directory: BorrowedFd<'_>,
) -> Result<()> {
    for name in lowers.names(path)? {
        let still_there = node::stat(directory, &name).map_err(Error::io("examine", name.to_bytes()))?;
        if still_there.is_none_or(|stat| node::is_whiteout(&stat)) {
            found.add(&[&name::join(path)[..], b"/", name.to_bytes()].concat(), ChangeKind::Deleted);
        }
    }
    Ok(())
}

struct Ledger {
    changes: BTreeMap<Vec<u8>, ChangeKind>,
}

impl Ledger {
    fn add(&mut self, path: &[u8], kind: ChangeKind) {
        self.changes.insert(path.to_vec(), kind);
        let mut rest = path;
        while let Some(slash) = rest.iter().rposition(|&byte| byte == b'/') {
            rest = &rest[..slash];
            if self.changes.contains_key(rest) {
                break;
            }
            self.changes.insert(rest.to_vec(), ChangeKind::Modified);
        }
    }
}

fn differs(directory: BorrowedFd<'_>, below: &Found, name: &CStr, new: &Stat) -> Result<bool> {
    let old = &below.stat;
    if (old.st_mode, old.st_uid, old.st_gid, old.st_rdev)
        != (new.st_mode, new.st_uid, new.st_gid, new.st_rdev)
    {
        return Ok(true);
    }
    if node::file_type(new) == FileType::Directory {
        return Ok(false);
    }
    if old.st_size != new.st_size || !same_time(old, new) {
        return Ok(true);
    }
    let capability = |directory| -> Result<_> {
        let xattrs = node::xattrs(directory, name).map_err(Error::io("examine", name.to_bytes()))?;
        Ok(xattrs.into_iter().find(|(key, _)| key == b"security.capability"))
    };
    Ok(capability(directory)? != capability(below.directory.as_fd())?)
}

/// Layers that came from archives have whole seconds only, so those are equal to any fraction.
fn same_time(old: &Stat, new: &Stat) -> bool {
    old.st_mtime == new.st_mtime
        && (old.st_mtime_nsec == new.st_mtime_nsec || old.st_mtime_nsec == 0 || new.st_mtime_nsec == 0)
}
