//! A mount namespace that a thread enters for a while.

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The calling thread in a mount namespace of its own.
#[derive(Debug)]
pub struct Seclusion {
    namespace: OwnedFd,
    directory: OwnedFd,
}

impl Seclusion {
    /// Enters one that begins as a copy of the present one, and of which nobody else hears.
    ///
    /// # Errors
    /// What unshare(2), setns(2) and mount(2) give.
    pub fn enter() -> io::Result<Self> {
        let open = |path: &str, flags| openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty());
        let namespace = open("/proc/thread-self/ns/mnt", OFlags::RDONLY)?;
        let directory = open(".", OFlags::PATH | OFlags::DIRECTORY)?;
        crate::process::unshare_mounts()?;
        let seclusion = Self { namespace, directory };
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(seclusion)
    }

    /// Goes back.
    ///
    /// # Errors
    /// What setns(2) and fchdir(2) give.
    pub fn leave(&self) -> io::Result<()> {
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        Ok(rustix::process::fchdir(&self.directory)?)
    }
}

impl Drop for Seclusion {
    /// On the ways of errors; after [`Self::leave`] it changes nothing.
    fn drop(&mut self) {
        let _ = self.leave();
    }
}
