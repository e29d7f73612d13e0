//! Locks that belong to an open file and vanish with it (fcntl(2), "Open file description locks").

use crate::process::last_error;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{self, Errno};

fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: flock is plain integers, for which all-zero bytes are valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Locks the whole file for writing without waiting; `false` when another open file has it.
pub fn try_exclusive(file: BorrowedFd<'_>) -> io::Result<bool> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the lock lives until the call returns; the descriptor is borrowed for it.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result != -1 {
        return Ok(true);
    }
    match last_error() {
        Errno::AGAIN | Errno::ACCESS => Ok(false),
        error => Err(error),
    }
}

/// Whether another open file has locked this one. Takes no lock itself, so it disturbs nobody.
pub fn is_locked(file: BorrowedFd<'_>) -> io::Result<bool> {
    let mut lock = whole_file(libc::F_RDLCK);
    // SAFETY: the lock lives until the call returns and is written by the kernel only.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if result == -1 { Err(last_error()) } else { Ok(lock.l_type != libc::F_UNLCK as libc::c_short) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_lock_is_seen_by_others_and_ends_with_its_file() {
        let path = std::env::temp_dir().join(format!("mica-sys-lock-{}", std::process::id()));
        let owner = File::create(&path).unwrap();
        let other = File::create(&path).unwrap();
        assert!(!is_locked(other.as_fd()).unwrap());
        assert!(try_exclusive(owner.as_fd()).unwrap());
        assert!(is_locked(other.as_fd()).unwrap());
        assert!(!try_exclusive(other.as_fd()).unwrap());
        drop(owner);
        assert!(!is_locked(other.as_fd()).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
