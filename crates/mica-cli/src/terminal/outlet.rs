//! Where a container's output goes: written as fast as the reader takes it, without blocking the
//! loop when the reader is a pipe or a socket.

use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

/// One of the standard outputs. The descriptor's own flags are left alone, as other processes
/// share them.
#[derive(Debug)]
pub(super) struct Outlet<'a> {
    descriptor: BorrowedFd<'a>,
    pipe: bool,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(descriptor: BorrowedFd<'a>) -> Self {
        let kind = rustix::fs::fstat(descriptor).map(|status| FileType::from_raw_mode(status.st_mode));
        Self { descriptor, pipe: matches!(kind, Ok(FileType::Fifo | FileType::Socket)) }
    }

    pub(super) const fn descriptor(&self) -> BorrowedFd<'a> {
        self.descriptor
    }

    /// Writes some of `bytes` and says how many; zero means that the reader is busy.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = if self.pipe {
            let slice = [IoSlice::new(bytes)];
            // An offset of -1 stands for the current position: pwritev2(2).
            rustix::io::pwritev2(self.descriptor, &slice, u64::MAX, ReadWriteFlags::NOWAIT)
        } else {
            rustix::io::write(self.descriptor, bytes)
        };
        match result {
            Ok(count) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::SPIPE) if self.pipe => {
                self.pipe = false;
                Ok(0)
            }
            Err(error) => Err(error.into()),
        }
    }
}
