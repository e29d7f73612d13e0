//! Deleting trees, and counting what they take up.

use crate::error::{Error, Result};
use crate::node;
use crate::walk::{Visit, Walk};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many files somebody deletes before the rest is left to others: a person waits for the first
/// ones only.
#[derive(Debug)]
pub struct Effort {
    left: AtomicUsize,
}

impl Effort {
    /// Enough for this many files and directories.
    pub const fn of(files: usize) -> Self {
        Self { left: AtomicUsize::new(files) }
    }

    /// Enough for everything.
    pub const fn unlimited() -> Self {
        Self::of(usize::MAX)
    }

    /// Whether nothing is left of it.
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// Takes one file's worth; `false` when there is none.
    fn take(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

/// What a tree takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all regular files and symbolic links by their length, each counted once.
    pub bytes: u64,
    /// Inodes, the root's included.
    pub inodes: u64,
}

/// Counts the tree at `directory`; a file of several names counts once.
///
/// # Errors
/// What reading the directories gives; files that vanish meanwhile are not counted.
pub fn disk_usage(directory: &Path) -> Result<Usage> {
    let root = open_root(directory)?;
    let mut walk = Walk::new(root.as_fd())?;
    let mut usage = Usage { bytes: 0, inodes: 1 };
    let mut seen = HashSet::new();
    while let Some(visit) = walk.step()? {
        let Visit::Node { name, stat } = visit else { continue };
        if node::file_type(&stat) == FileType::Directory {
            walk.descend(&name)?;
        } else if stat.st_nlink > 1 && !seen.insert((stat.st_dev, stat.st_ino)) {
            continue;
        } else {
            usage.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        usage.inodes += 1;
    }
    Ok(usage)
}

/// Deletes the tree at `path`, of any depth. It is no error if it does not exist.
///
/// # Errors
/// What the kernel says, for example about a mount point within the tree.
pub fn remove_tree(path: &Path) -> Result<()> {
    remove_tree_within(path, &Effort::unlimited())
}

/// [`remove_tree`] for as long as the effort lasts; what it does not suffice for stays.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_tree_within(path: &Path, effort: &Effort) -> Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let name = CString::new(bytes).map_err(|_| Error::io("remove", bytes)(Errno::INVAL))?;
    remove_at_within(CWD, &name, effort)
}

/// Deletes whatever `name` is in `parent`. A directory may grow while it is emptied, for example
/// by another process that deletes or fills it; then this starts again, a few times.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    remove_at_within(parent, name, &Effort::unlimited())
}

fn remove_at_within(parent: BorrowedFd<'_>, name: &CStr, effort: &Effort) -> Result<()> {
    let error = |action| Error::io::<Errno>(action, name.to_bytes());
    for _ in 0..8 {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(other) => return Err(error("remove")(other)),
        }
        match node::open_directory(parent, name) {
            Ok(directory) => empty(directory.as_fd(), effort)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(other) => return Err(error("open")(other)),
        }
        if !effort.take() {
            return Ok(());
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(other) => return Err(error("remove")(other)),
        }
    }
    Err(error("remove")(Errno::NOTEMPTY))
}

fn empty(directory: BorrowedFd<'_>, effort: &Effort) -> Result<()> {
    let mut walk = Walk::new(directory)?;
    while let Some(visit) = walk.step()? {
        let (name, flags) = match visit {
            Visit::Node { name, stat } if node::file_type(&stat) == FileType::Directory => {
                walk.descend(&name)?;
                continue;
            }
            Visit::Node { name, .. } => (name, AtFlags::empty()),
            Visit::Left { name } => (name, AtFlags::REMOVEDIR),
        };
        if !effort.take() {
            return Ok(());
        }
        match rustix::fs::unlinkat(walk.directory(), &name, flags) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(other) => return Err(Error::io("remove", walk.path())(other)),
        }
    }
    Ok(())
}

/// Opens a directory that the caller names.
pub(crate) fn open_root(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(Error::io("open", path.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_26_a_tree_of_2000_directories_goes_without_recursion() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("deep");
        std::fs::create_dir(&root).unwrap();
        let mut current = open_root(&root).unwrap();
        for _ in 0..2000 {
            rustix::fs::mkdirat(&current, "d", Mode::RWXU).unwrap();
            current = node::open_directory(current.as_fd(), c"d").unwrap();
        }
        drop(current);
        assert_eq!(disk_usage(&root).unwrap().inodes, 2001);
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        remove_tree(&root).unwrap();
    }

    #[test]
    fn what_an_effort_does_not_suffice_for_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("tree");
        for name in ["a", "b", "c"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
            std::fs::write(root.join(name).join("file"), "").unwrap();
        }
        let effort = Effort::of(3);
        remove_tree_within(&root, &effort).unwrap();
        assert!(effort.is_spent());
        assert_eq!(disk_usage(&root).unwrap().inodes, 7 - 3);
        let effort = Effort::of(5);
        remove_tree_within(&root, &effort).unwrap();
        assert!(!root.exists() && !effort.is_spent());
    }

    #[test]
    fn links_are_removed_and_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let (kept, gone) = (scratch.path().join("kept"), scratch.path().join("gone"));
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "x").unwrap();
        std::fs::create_dir(&gone).unwrap();
        std::os::unix::fs::symlink(&kept, gone.join("link")).unwrap();
        std::fs::hard_link(kept.join("file"), gone.join("one")).unwrap();
        std::fs::hard_link(kept.join("file"), gone.join("two")).unwrap();
        let link_length = kept.as_os_str().len() as u64;
        assert_eq!(disk_usage(&gone).unwrap(), Usage { bytes: 1 + link_length, inodes: 3 });
        remove_tree(&gone).unwrap();
        assert_eq!(std::fs::read(kept.join("file")).unwrap(), b"x");
    }
}
