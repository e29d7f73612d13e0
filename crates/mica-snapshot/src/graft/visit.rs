//! Visiting what a source has, through a filter, in the order of the bytes of its names.

use super::{Filter, Source, SourcePath, Verdict};
use crate::error::{Error, Result};
use crate::node;
use crate::walk::{self, Walk};
use rustix::fs::{FileType, Stat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

/// A node of a source.
pub(super) struct Visited<'a> {
    /// The directory it is in.
    pub(super) parent: BorrowedFd<'a>,
    /// Its name there.
    pub(super) name: &'a CStr,
    /// Its status.
    pub(super) stat: &'a Stat,
    /// Its path below the source; empty for the source itself.
    pub(super) below: &'a [u8],
}

impl Visited<'_> {
    pub(super) fn is_directory(&self) -> bool {
        node::file_type(self.stat) == FileType::Directory
    }
}

/// Calls `each` with every node that the filter takes, directories before what is in them. A
/// directory that is not taken is visited all the same once something below it is.
pub(super) fn visit(
    source: &Source,
    filter: Filter<'_>,
    each: &mut dyn FnMut(&Visited<'_>) -> Result<()>,
) -> Result<()> {
    let (parent, name) = (source.parent.as_fd(), source.name.as_c_str());
    each(&Visited { parent, name, stat: &source.stat, below: b"" })?;
    if !source.is_directory() {
        return Ok(());
    }
    let directory = node::open_directory(parent, name).map_err(Error::io("open", &source.path))?;
    let mut walk = Walk::new(directory.as_fd())?;
    // Directories on the way that nothing was taken of yet, by the length of their path.
    let mut pending: Vec<usize> = Vec::new();
    while let Some(step) = walk.step()? {
        let walk::Visit::Node { name, stat } = step else {
            pending.pop_if(|length| *length == walk.path().len());
            continue;
        };
        let is_directory = node::file_type(&stat) == FileType::Directory;
        let in_tree = if source.path.is_empty() {
            walk.path().to_vec()
        } else {
            [&source.path, &b"/"[..], walk.path()].concat()
        };
        let asked = SourcePath { in_tree: &in_tree, below_source: walk.path(), is_directory };
        match filter(&asked) {
            Verdict::SkipAll => continue,
            Verdict::Skip if !is_directory => continue,
            Verdict::Skip => pending.push(walk.path().len()),
            Verdict::Take if node::is_whiteout(&stat) => continue,
            Verdict::Take => {
                for length in pending.drain(..) {
                    parents_of(directory.as_fd(), &walk.path()[..length], each)?;
                }
                let node = Visited { parent: walk.directory(), name: &name, stat: &stat, below: walk.path() };
                each(&node)?;
            }
        }
        if is_directory {
            walk.descend(&name)?;
        }
    }
    Ok(())
}

/// Visits a directory that was passed over.
fn parents_of(
    root: BorrowedFd<'_>,
    below: &[u8],
    each: &mut dyn FnMut(&Visited<'_>) -> Result<()>,
) -> Result<()> {
    let start = below.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    let parent = super::resolve(root, &below[..start], rustix::fs::OFlags::DIRECTORY)
        .map_err(Error::io("open", below))?;
    let name = std::ffi::CString::new(&below[start..]).unwrap_or_default();
    let Some(stat) = node::stat(parent.as_fd(), &name).map_err(Error::io("examine", below))? else {
        return Ok(());
    };
    each(&Visited { parent: parent.as_fd(), name: &name, stat: &stat, below })
}
