//! Finding the directory of an entry, with the recent directories held open.
//!
//! Each component is opened relative to the one before and never through a symbolic link. A link
//! within the tree is resolved by the kernel with the tree as its root, and then walked again
//! without links, so that the name an entry ends up under is always its only one.

use super::name::join;
use crate::error::{Error, Result, path_of};
use crate::node;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How many directories are held open at most.
const MOST_OPEN: usize = 64;
/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// Bytes that the paths of directories without an entry may take together. One name may imply 2000
/// directories, which take a thousand times its own length.
const LONGEST_IMPLIED: usize = 64 << 20;

/// What to do about directories that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make them.
    Make,
    /// Report it.
    Report,
}

/// What special files and attributes mean in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// The upper half of an overlay: whiteouts hide what is below.
    Layer,
    /// A tree that is used as it is.
    Plain,
}

/// A position in a tree.
#[derive(Debug)]
pub(crate) struct Place {
    root: OwnedFd,
    flavor: Flavor,
    names: Vec<CString>,
    open: Vec<Option<OwnedFd>>,
    /// Directories that were made only because something is in them.
    pub(crate) implied: BTreeSet<Vec<u8>>,
    /// Bytes of all paths that were ever put into `implied`.
    implied_length: usize,
}

impl Place {
    /// Starts at `root`.
    pub(crate) const fn new(root: OwnedFd, flavor: Flavor) -> Self {
        Self {
            root,
            flavor,
            names: Vec::new(),
            open: Vec::new(),
            implied: BTreeSet::new(),
            implied_length: 0,
        }
    }

    /// The root.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory last entered.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.at(self.names.len()).unwrap_or_else(|| self.root.as_fd())
    }

    /// Path of the directory last entered: components without links.
    pub(crate) fn names(&self) -> &[CString] {
        &self.names
    }

    /// Path of `name` in the directory last entered.
    pub(crate) fn path_of(&self, name: &CString) -> Vec<u8> {
        let mut path = join(&self.names);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        path
    }

    /// Enters the directory at `path`; false if it does not exist and was not to be made.
    pub(crate) fn enter(&mut self, path: &[CString], missing: Missing) -> Result<bool> {
        let mut path = path.to_vec();
        for _ in 0..MOST_LINKS {
            match self.enter_directly(&path, missing)? {
                Entered::Yes => return Ok(true),
                Entered::Absent => return Ok(false),
                Entered::Link { depth } => {
                    let Some(mut real) = self.resolve(&path[..=depth])? else {
                        return if missing == Missing::Report {
                            Ok(false)
                        } else {
                            Err(not_directory(&path))
                        };
                    };
                    real.extend_from_slice(&path[depth + 1..]);
                    path = real;
                }
            }
        }
        Err(Error::io("resolve", &join(&path))(Errno::LOOP))
    }

    /// Forgets open directories at and below `name` in the current one, because it is replaced.
    pub(crate) fn forget(&mut self, path: &[u8]) {
        let depth = path.split(|&byte| byte == b'/').count();
        if self.names.len() >= depth && join(&self.names[..depth]) == path {
            self.leave_to(depth - 1);
        }
        self.implied.remove(path);
        let below = [path, b"/"].concat();
        let doomed: Vec<_> = self
            .implied
            .range(below.clone()..)
            .take_while(|entry| entry.starts_with(&below))
            .cloned()
            .collect();
        for path in doomed {
            self.implied.remove(&path);
        }
    }

    fn at(&self, depth: usize) -> Option<BorrowedFd<'_>> {
        match depth {
            0 => Some(self.root.as_fd()),
            _ => self.open.get(depth - 1)?.as_ref().map(AsFd::as_fd),
        }
    }

    fn leave_to(&mut self, depth: usize) {
        self.names.truncate(depth);
        self.open.truncate(depth);
    }

    fn enter_directly(&mut self, path: &[CString], missing: Missing) -> Result<Entered> {
        let common = self.names.iter().zip(path).take_while(|(a, b)| a == b).count();
        self.leave_to(common);
        let mut depth = (0..=common).rev().find(|depth| self.at(*depth).is_some()).unwrap_or(0);
        self.leave_to(depth);
        while depth < path.len() {
            let parent = self.at(depth).unwrap_or_else(|| self.root.as_fd());
            let error = |action, errno: Errno| Error::io(action, &join(&path[..=depth]))(errno);
            let directory = match node::open_directory(parent, &path[depth]) {
                Ok(directory) => directory,
                Err(Errno::NOENT) if missing == Missing::Report => return Ok(Entered::Absent),
                Err(Errno::NOENT) => {
                    self.make(path, depth)?;
                    continue;
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    match node::stat(parent, &path[depth]).map_err(|errno| error("examine", errno))? {
                        Some(stat) if node::file_type(&stat) == FileType::Symlink => {
                            return Ok(Entered::Link { depth });
                        }
                        Some(stat) if self.flavor == Flavor::Layer && node::is_whiteout(&stat) => {
                            if missing == Missing::Report {
                                return Ok(Entered::Absent);
                            }
                            self.make_over_whiteout(path, depth)?;
                            continue;
                        }
                        _ => return Err(not_directory(&path[..=depth])),
                    }
                }
                Err(other) => return Err(error("open", other)),
            };
            self.names.push(path[depth].clone());
            self.open.push(Some(directory));
            depth += 1;
            if let Some(far) = depth.checked_sub(MOST_OPEN + 1) {
                self.open[far] = None;
            }
        }
        Ok(Entered::Yes)
    }

    fn make(&mut self, path: &[CString], depth: usize) -> Result<()> {
        let parent = self.at(depth).unwrap_or_else(|| self.root.as_fd());
        match rustix::fs::mkdirat(parent, &path[depth], Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                // The process's umask may have taken bits away.
                node::change_mode(parent, &path[depth], 0o755)
                    .map_err(Error::io("change the mode of", &join(&path[..=depth])))?;
                if self.flavor == Flavor::Layer {
                    self.imply(join(&path[..=depth]))?;
                }
                Ok(())
            }
            Err(Errno::EXIST) => Ok(()),
            Err(other) => Err(Error::io("make directory", &join(&path[..=depth]))(other)),
        }
    }

    fn imply(&mut self, path: Vec<u8>) -> Result<()> {
        self.implied_length = self.implied_length.saturating_add(path.len());
        if self.implied_length > LONGEST_IMPLIED {
            let problem = "is one of too many directories that have no entry of their own";
            return Err(Error::Entry { path: path_of(&path), problem });
        }
        self.implied.insert(path);
        Ok(())
    }

    /// What is below was deleted by this layer, so the new directory begins empty.
    fn make_over_whiteout(&mut self, path: &[CString], depth: usize) -> Result<()> {
        let parent = self.at(depth).unwrap_or_else(|| self.root.as_fd());
        let shown = join(&path[..=depth]);
        rustix::fs::unlinkat(parent, &path[depth], AtFlags::empty()).map_err(Error::io("remove", &shown))?;
        self.make(path, depth)?;
        self.implied.remove(&shown);
        let parent = self.at(depth).unwrap_or_else(|| self.root.as_fd());
        node::set_xattr(parent, &path[depth], node::OPAQUE, b"y").map_err(Error::io("mark as opaque", &shown))
    }

    /// Where a path with links leads, in terms of the tree; `None` if nowhere.
    fn resolve(&self, path: &[CString]) -> Result<Option<Vec<CString>>> {
        let joined = join(path);
        let error = || Error::io::<Errno>("resolve", &joined);
        let directory = match rustix::fs::openat2(
            &self.root,
            &joined[..],
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(other) => return Err(error()(other)),
        };
        let real = real_path(directory.as_fd()).map_err(error())?;
        let root = real_path(self.root.as_fd()).map_err(error())?;
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        let inside = real.strip_prefix(root).ok_or_else(|| error()(Errno::XDEV))?;
        Ok(Some(
            inside
                .split(|&b| b == b'/')
                .filter(|p| !p.is_empty())
                .filter_map(|p| CString::new(p).ok())
                .collect(),
        ))
    }
}

enum Entered {
    Yes,
    Absent,
    Link { depth: usize },
}

/// What procfs calls an open directory.
pub(crate) fn real_path(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    Ok(rustix::fs::readlink(link, Vec::new())?.into_bytes())
}

fn not_directory(path: &[CString]) -> Error {
    Error::NotDirectory { path: path_of(&join(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_26_directories_without_an_entry_take_bounded_memory() {
        let directory = tempfile::tempdir().unwrap();
        let mut place = Place::new(crate::remove::open_root(directory.path()).unwrap(), Flavor::Layer);
        let path = vec![b'd'; 4000];
        for _ in 0..LONGEST_IMPLIED / path.len() {
            place.imply(path.clone()).unwrap();
        }
        assert!(matches!(place.imply(path), Err(Error::Entry { .. })));
    }
}
