//! The file of memory that the processes of a store share (`mica.db-shm`): its blocks are made sure
//! before SQLite touches them.
//!
//! Whoever opens a database that nobody else has open begins that file anew. SQLite cuts it short
//! and then writes one byte for every 4 KiB of it; on a file system of smaller blocks the rest is
//! holes, and touching a hole of mapped memory on a full disk ends the process with SIGBUS. So we
//! begin it anew ourselves, by writing zeros over blocks that it keeps. The rule by which one tells
//! that nobody else has it open is SQLite's own: a lock on one byte, exclusive while the file is begun and
//! shared by all who use it (`os_unix.c`, "DMS"). Ours is of an open file description, which SQLite
//! takes for another process's, so it never cuts the file.

use crate::error::{Error, Result};
use mica_sys::lock::{ByteLock, byte_lock_of_others, try_lock_byte};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The byte that is locked by all who have the database open.
const SWITCH_OFFSET: i64 = 128;

/// What SQLite maps as long as the write-ahead log has fewer than 4000 pages.
const SIZE_BYTES: usize = 32 << 10;

/// Makes the memory of the database at `path` sure. Where the file cannot even be opened, SQLite
/// tells why, or does without.
pub(super) fn secure(path: &Path) -> Result<()> {
    let mut name = OsString::from(path);
    name.push("-shm");
    let path = PathBuf::from(name);
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(source) if source.kind() == ErrorKind::StorageFull => {
            return Err(Error::io("make room in", &path, source));
        }
        Err(_) => return Ok(()),
    };
    let joined = join(&mut file).map_err(|source| Error::io("make room in", &path, source));
    // Closing any descriptor of the file would drop the locks that SQLite has on it in this process,
    // so this one stays open until the process ends.
    let _ = file.into_raw_fd();
    joined
}

/// Takes the lock of those who use the file, having begun it anew if there is nobody else.
fn join(file: &mut File) -> std::io::Result<()> {
    loop {
        match byte_lock_of_others(file.as_fd(), SWITCH_OFFSET)? {
            ByteLock::Free => {
                if try_lock_byte(file.as_fd(), SWITCH_OFFSET, ByteLock::Exclusive)? {
                    let begun = begin(file);
                    try_lock_byte(file.as_fd(), SWITCH_OFFSET, after(&begun))?;
                    return begun;
                }
            }
            ByteLock::Shared => {
                if try_lock_byte(file.as_fd(), SWITCH_OFFSET, ByteLock::Shared)? {
                    return Ok(());
                }
            }
            // Somebody begins it, which takes a moment.
            ByteLock::Exclusive => std::thread::yield_now(),
        }
    }
}

/// A file that could not be begun must not be taken for one that is in use.
fn after(begun: &std::io::Result<()>) -> ByteLock {
    if begun.is_ok() { ByteLock::Shared } else { ByteLock::Free }
}

/// Zeros are what SQLite takes for a file that nothing is known of yet. Blocks that are there are kept.
fn begin(file: &mut File) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[0; SIZE_BYTES])?;
    file.set_len(SIZE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_first_begins_it_and_others_join() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mica.db");
        let memory = directory.path().join("mica.db-shm");
        std::fs::write(&memory, vec![7; SIZE_BYTES * 2]).unwrap();
        secure(&path).unwrap();
        assert_eq!(std::fs::read(&memory).unwrap(), vec![0; SIZE_BYTES]);
        assert!(memory.metadata().unwrap().blocks() * 512 >= SIZE_BYTES as u64);
        std::fs::write(&memory, vec![9; SIZE_BYTES]).unwrap();
        secure(&path).unwrap();
        assert_eq!(std::fs::read(&memory).unwrap(), vec![9; SIZE_BYTES], "what is in use was begun anew");
    }

    #[test]
    fn sqlite_does_not_cut_what_is_joined() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mica.db");
        let memory = directory.path().join("mica.db-shm");
        for _ in 0..2 {
            secure(&path).unwrap();
            let inode = memory.metadata().unwrap().ino();
            let connection = rusqlite::Connection::open(&path).unwrap();
            connection
                .execute_batch(
                    "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t (a); INSERT INTO t VALUES (1)",
                )
                .unwrap();
            let status = memory.metadata().unwrap();
            assert_eq!((status.ino(), status.len()), (inode, SIZE_BYTES as u64));
            assert!(status.blocks() * 512 >= SIZE_BYTES as u64);
            // Left as a killed process leaves it.
            std::mem::forget(connection);
        }
    }
}
