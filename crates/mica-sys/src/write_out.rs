//! Having a file written to the disk without waiting for it.

use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Begins to write what is not on the disk yet of a file, and does not wait: `sync_file_range(2)` with
/// `SYNC_FILE_RANGE_WRITE`. It tells nobody of errors of the disk, so that who waits later still sees them.
///
/// # Errors
/// What the kernel says, such as that this is no regular file.
pub fn begin_writing(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    // SAFETY: The descriptor is open for as long as it is borrowed; the call takes no pointers.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn files_can_be_written_out_and_pipes_cannot() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(begin_writing(file.as_fd()), Ok(()));
        let (pipe, _) = std::io::pipe().unwrap();
        assert_eq!(begin_writing(pipe.as_fd()), Err(Errno::SPIPE));
    }
}
