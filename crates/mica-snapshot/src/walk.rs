//! Visiting a tree in the order of the bytes of its names, however deep it is: neither the stack
//! nor the table of descriptors grows with the depth.

use crate::error::{Error, Result};
use crate::node;
use rustix::fs::Stat;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many directories of the current path are held open.
const MOST_OPEN: usize = 64;

struct Level {
    directory: Option<OwnedFd>,
    identity: (u64, u64),
    names: std::vec::IntoIter<CString>,
    path_length: usize,
}

/// A walk; see [`Walk::step`].
pub(crate) struct Walk {
    levels: Vec<Level>,
    path: Vec<u8>,
}

/// What a walk comes to.
#[derive(Debug)]
pub(crate) enum Visit {
    /// A node in [`Walk::directory`]; directories are entered only by [`Walk::descend`].
    Node {
        /// Its name in that directory.
        name: CString,
        /// Its status.
        stat: Stat,
    },
    /// All nodes of an entered directory were visited; [`Walk::directory`] is its parent again.
    Left {
        /// Its name there.
        name: CString,
    },
}

impl Walk {
    /// Starts in `root`, whose own node is not visited.
    pub(crate) fn new(root: BorrowedFd<'_>) -> Result<Self> {
        let directory = node::open_directory(root, c".").map_err(Error::io("open", b""))?;
        let mut walk = Self { levels: Vec::new(), path: Vec::new() };
        walk.push(directory, 0)?;
        Ok(walk)
    }

    /// The directory that the node last visited is in.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        // The deepest level always has its descriptor; an empty walk is over.
        match self.levels.last().and_then(|level| level.directory.as_ref()) {
            Some(directory) => directory.as_fd(),
            None => rustix::fs::CWD,
        }
    }

    /// Path of the node last visited, relative to the root of the walk.
    pub(crate) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The next node, or the directory just finished; `None` at the end. Nodes that vanish
    /// meanwhile are passed over.
    pub(crate) fn step(&mut self) -> Result<Option<Visit>> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            self.path.truncate(level.path_length);
            let Some(name) = level.names.next() else {
                return self.leave();
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            let stat = node::stat(self.directory(), &name).map_err(Error::io("examine", &self.path))?;
            if let Some(stat) = stat {
                return Ok(Some(Visit::Node { name, stat }));
            }
        }
    }

    /// Enters the directory just visited.
    pub(crate) fn descend(&mut self, name: &CStr) -> Result<()> {
        let directory =
            node::open_directory(self.directory(), name).map_err(Error::io("open", &self.path))?;
        let length = self.path.len();
        self.push(directory, length)
    }

    fn push(&mut self, directory: OwnedFd, path_length: usize) -> Result<()> {
        let error = || Error::io::<rustix::io::Errno>("read", &self.path);
        let stat = rustix::fs::fstat(&directory).map_err(error())?;
        let names = node::names(directory.as_fd()).map_err(error())?.into_iter();
        let identity = (stat.st_dev, stat.st_ino);
        self.levels.push(Level { directory: Some(directory), identity, names, path_length });
        if let Some(far) = self.levels.len().checked_sub(MOST_OPEN + 1)
            && far > 0
        {
            self.levels[far].directory = None;
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<Option<Visit>> {
        let Some(left) = self.levels.pop() else { return Ok(None) };
        let Some(parent) = self.levels.last_mut() else { return Ok(None) };
        if let (None, Some(child)) = (&parent.directory, &left.directory) {
            let error = || Error::io::<rustix::io::Errno>("return from", &self.path);
            let directory = rustix::fs::openat(
                child,
                "..",
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .map_err(error())?;
            let stat = rustix::fs::fstat(&directory).map_err(error())?;
            // Someone moved the directory while we were in it: its parent is no longer ours.
            if (stat.st_dev, stat.st_ino) != parent.identity {
                return Err(error()(rustix::io::Errno::STALE));
            }
            parent.directory = Some(directory);
        }
        let start = if parent.path_length == 0 { 0 } else { parent.path_length + 1 };
        let name = CString::new(&self.path[start..left.path_length]).unwrap_or_default();
        Ok(Some(Visit::Left { name }))
    }
}
