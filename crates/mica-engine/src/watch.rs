//! Noticing that something in a directory has changed (inotify(7)).

use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Sees files of one directory being written, made, renamed and deleted from when it was made.
#[derive(Debug)]
pub(crate) struct Watch {
    descriptor: OwnedFd,
    directory: PathBuf,
}

impl Watch {
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let fail = |errno: rustix::io::Errno| Error::io("watch", directory, errno.into());
        let descriptor =
            inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(fail)?;
        let flags = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&descriptor, directory, flags).map_err(fail)?;
        Ok(Self { descriptor, directory: directory.to_owned() })
    }

    /// Waits for a change, at most `limit`.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Result<()> {
        let timeout = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut descriptors = [PollFd::new(&self.descriptor, PollFlags::IN)];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("watch", &self.directory, errno.into())),
        }
        let mut buffer = [0; 4096];
        // What was reported does not matter, only that the descriptor is quiet again.
        while rustix::io::read(&self.descriptor, &mut buffer).is_ok_and(|length| length > 0) {}
        Ok(())
    }
}
