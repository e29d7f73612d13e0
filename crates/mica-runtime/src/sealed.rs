//! Our own binary as something that a container cannot overwrite.
//!
//! Until it executes its program, a container's process runs our code, and a program that is a
//! script for `/proc/self/exe` would even start our binary as the container's: both give it a way
//! to the file on the host (CVE-2019-5736). So monitors are executed through a private, read-only
//! clone of the mount that the binary is on: `/proc/self/exe` then leads there, where every write
//! fails with `EROFS`. The clone is in no mount namespace, hence nobody can remount it.
//!
//! Whoever closes the last descriptor of a clone waits for a grace period of RCU, half a millisecond
//! or more. So the monitor is given one, which it keeps for as long as it lives.

use mica_sys::attribute::{self, Reach};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::path::{Path, PathBuf};

/// A binary to execute.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    clone: Option<OwnedFd>,
}

impl Program {
    /// Clones the mount of `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        match open_tree(CWD, path, flags) {
            Ok(clone) => {
                attribute::set(clone.as_fd(), attribute::RDONLY, 0, Reach::One)?;
                let path = PathBuf::from(format!("/proc/self/fd/{}", clone.as_raw_fd()));
                Ok(Self { path, clone: Some(clone) })
            }
            // A process that runs from such a clone cannot clone it again, and needs not.
            Err(Errno::INVAL) if is_read_only(path) => Ok(Self { path: path.to_owned(), clone: None }),
            Err(errno) => Err(errno),
        }
    }

    /// What to execute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the executed process is to keep open.
    pub(crate) fn into_keepsake(self) -> Option<OwnedFd> {
        self.clone
    }
}

fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY))
}
