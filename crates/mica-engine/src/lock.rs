//! Advisory locks between mica processes: a file, `flock(2)`, freed by the kernel with its holder.

use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use mica_model::ContainerId;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Waits for the exclusive lock on `path`; dropping the file frees it.
pub(crate) fn exclusive(path: &Path) -> Result<File> {
    let file = open(path)?;
    loop {
        match flock(&file, FlockOperation::LockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("lock", path, errno.into())),
        }
    }
}

/// Waits for the lock of a container. One that was removed, before or while this waited, is not found.
pub(crate) fn container(disk: &ContainerDisk, id: &ContainerId) -> Result<File> {
    let path = disk.lock();
    let gone = || Error::NoSuchContainer { reference: id.to_string() };
    let lock = match exclusive(&path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Err(gone()),
        other => other?,
    };
    let held = lock.metadata().map_err(|source| Error::io("examine", &path, source))?;
    match fs::metadata(&path) {
        Ok(named) if named.ino() == held.ino() => Ok(lock),
        _ => Err(gone()),
    }
}

/// Waits for the lock on `path` that several may hold together; dropping the file frees it.
pub(crate) fn shared(path: &Path) -> Result<File> {
    let file = open(path)?;
    loop {
        match flock(&file, FlockOperation::LockShared) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("lock", path, errno.into())),
        }
    }
}

/// Takes the exclusive lock on `path` if nobody holds it.
pub(crate) fn try_exclusive(path: &Path) -> Result<Option<File>> {
    let file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(Error::io("lock", path, errno.into())),
    }
}

/// Whether somebody holds the lock on `path`, which is not made by the question.
pub(crate) fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
}

/// Waits for the lock on a directory that several may hold together; `None` if it is not there any more.
pub(crate) fn shared_directory(path: &Path) -> Result<Option<File>> {
    await_directory(path, FlockOperation::LockShared)
}

/// Waits for the exclusive lock on a directory; `None` if it is not there any more.
pub(crate) fn exclusive_directory(path: &Path) -> Result<Option<File>> {
    await_directory(path, FlockOperation::LockExclusive)
}

fn await_directory(path: &Path, operation: FlockOperation) -> Result<Option<File>> {
    let Some(directory) = open_directory(path)? else { return Ok(None) };
    loop {
        match flock(&directory, operation) {
            Ok(()) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("lock", path, errno.into())),
        }
    }
    let held = directory.metadata().map_err(|source| Error::io("examine", path, source))?;
    let is_there = fs::metadata(path).is_ok_and(|named| named.ino() == held.ino());
    Ok(Some(directory).filter(|_| is_there))
}

/// Takes the exclusive lock on a directory if nobody holds it and it is there.
pub(crate) fn try_exclusive_directory(path: &Path) -> Result<Option<File>> {
    let Some(directory) = open_directory(path)? else { return Ok(None) };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(directory)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(Error::io("lock", path, errno.into())),
    }
}

fn open_directory(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(directory) => Ok(Some(directory)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("open", path, source)),
    }
}

fn open(path: &Path) -> Result<File> {
    match OpenOptions::new().create(true).truncate(false).write(true).open(path) {
        // What only reads goes on where nothing can be written.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path),
        other => other,
    }
    .map_err(|source| Error::io("open", path, source))
}
