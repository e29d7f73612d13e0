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

fn one_byte(kind: libc::c_int, offset: i64) -> libc::flock {
    libc::flock { l_start: offset, l_len: 1, ..whole_file(kind) }
}

/// What is done to one byte of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteLock {
    /// Nobody has locked it, or is to have it locked.
    Free,
    /// For reading, by one or more.
    Shared,
    /// For writing, by one.
    Exclusive,
}

/// How other open files, and processes, have locked one byte of a file.
pub fn byte_lock_of_others(file: BorrowedFd<'_>, offset: i64) -> io::Result<ByteLock> {
    let mut lock = one_byte(libc::F_WRLCK, offset);
    // SAFETY: the lock lives until the call returns and is written by the kernel only.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    match libc::c_int::from(lock.l_type) {
        _ if result == -1 => Err(last_error()),
        libc::F_UNLCK => Ok(ByteLock::Free),
        libc::F_RDLCK => Ok(ByteLock::Shared),
        _ => Ok(ByteLock::Exclusive),
    }
}

/// Locks or frees one byte of a file without waiting; `false` when another's lock is in the way.
pub fn try_lock_byte(file: BorrowedFd<'_>, offset: i64, wanted: ByteLock) -> io::Result<bool> {
    let kind = match wanted {
        ByteLock::Free => libc::F_UNLCK,
        ByteLock::Shared => libc::F_RDLCK,
        ByteLock::Exclusive => libc::F_WRLCK,
    };
    set(file, &one_byte(kind, offset))
}

fn set(file: BorrowedFd<'_>, lock: &libc::flock) -> io::Result<bool> {
    // SAFETY: the lock lives until the call returns; the descriptor is borrowed for it.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const *lock) };
    if result != -1 {
        return Ok(true);
    }
    match last_error() {
        Errno::AGAIN | Errno::ACCESS => Ok(false),
        error => Err(error),
    }
}

/// Locks the whole file for writing without waiting; `false` when another open file has it.
pub fn try_exclusive(file: BorrowedFd<'_>) -> io::Result<bool> {
    set(file, &whole_file(libc::F_WRLCK))
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
    fn a_byte_is_shared_by_readers_and_nobody_elses_for_a_writer() {
        let path = std::env::temp_dir().join(format!("mica-sys-byte-{}", std::process::id()));
        let one = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        let other = File::options().read(true).write(true).open(&path).unwrap();
        let seen = || byte_lock_of_others(other.as_fd(), 7).unwrap();
        let lock = |file: &File, wanted| try_lock_byte(file.as_fd(), 7, wanted).unwrap();
        assert_eq!(seen(), ByteLock::Free);
        assert!(lock(&one, ByteLock::Exclusive));
        assert_eq!(seen(), ByteLock::Exclusive);
        assert!(!lock(&other, ByteLock::Shared));
        assert!(lock(&one, ByteLock::Shared) && lock(&other, ByteLock::Shared));
        assert_eq!(seen(), ByteLock::Shared);
        assert!(!lock(&one, ByteLock::Exclusive));
        assert!(lock(&one, ByteLock::Free) && lock(&other, ByteLock::Exclusive));
        std::fs::remove_file(path).unwrap();
    }

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
