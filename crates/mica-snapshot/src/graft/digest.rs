//! The digest of what would be copied: names, kinds, permissions, attributes and contents; times are
//! left out, so that a fresh checkout of the same files is the same.

use super::memory::HashMemory;
use super::visit::{Visited, visit};
use super::{Filter, Source};
use crate::error::{Error, Result};
use crate::node;
use mica_model::Digest;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::os::fd::OwnedFd;

/// Bytes of a file read at once.
const CHUNK: usize = 128 << 10;

/// Digests everything that `filter` leaves of `source`. Without `keep_owners` they do not count.
///
/// # Errors
/// What reading the tree gives.
pub fn digest(
    source: &Source,
    filter: Filter<'_>,
    keep_owners: bool,
    mut memory: Option<&mut HashMemory>,
) -> Result<Digest> {
    let mut whole = Sha256::new();
    let mut buffer = Vec::new();
    visit(source, filter, &mut |visited| {
        let stat = visited.stat;
        if node::file_type(stat) == FileType::Socket {
            return Ok(());
        }
        whole.update((visited.below.len() as u64).to_le_bytes());
        whole.update(visited.below);
        whole.update(stat.st_mode.to_le_bytes());
        if keep_owners {
            whole.update(stat.st_uid.to_le_bytes());
            whole.update(stat.st_gid.to_le_bytes());
        }
        whole.update(of_node(visited, memory.as_deref_mut(), &mut buffer)?.as_bytes());
        Ok(())
    })?;
    Ok(Digest::from_bytes(whole.finalize().into()))
}

/// The digest of attributes and content.
fn of_node(visited: &Visited<'_>, memory: Option<&mut HashMemory>, buffer: &mut Vec<u8>) -> Result<Digest> {
    if node::file_type(visited.stat) != FileType::RegularFile {
        return of_content(visited, buffer);
    }
    let Some(memory) = memory else { return of_content(visited, buffer) };
    let recalled = memory.recall(visited.below, visited.stat);
    let digest = match recalled {
        Some(digest) => digest,
        None => of_content(visited, buffer)?,
    };
    memory.remember(visited.below, visited.stat, (&digest, recalled.is_some()))?;
    Ok(digest)
}

fn of_content(visited: &Visited<'_>, buffer: &mut Vec<u8>) -> Result<Digest> {
    let Visited { parent, name, stat, below } = visited;
    let mut hash = Sha256::new();
    let xattrs = node::xattrs(*parent, name).map_err(Error::io("examine", below))?;
    for (key, value) in xattrs.iter().filter(|(key, _)| node::is_portable_xattr(key)) {
        for part in [key, value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.update([0xff]);
    match node::file_type(stat) {
        FileType::RegularFile => {
            let file = open(visited)?;
            hash_file(&mut hash, &file, buffer).map_err(Error::io("read", below))?;
        }
        FileType::Symlink => {
            let target =
                rustix::fs::readlinkat(*parent, *name, Vec::new()).map_err(Error::io("read", below))?;
            hash.update(target.as_bytes());
        }
        FileType::CharacterDevice | FileType::BlockDevice => hash.update(stat.st_rdev.to_le_bytes()),
        _ => {}
    }
    Ok(Digest::from_bytes(hash.finalize().into()))
}

/// Opens a regular file; what took its place meanwhile is refused.
pub(super) fn open(visited: &Visited<'_>) -> Result<OwnedFd> {
    // A FIFO swapped in must not block us, a link must not lead us elsewhere.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(visited.parent, visited.name, flags, Mode::empty())
        .map_err(Error::io("open", visited.below))?;
    let stat: Stat = rustix::fs::fstat(&file).map_err(Error::io("examine", visited.below))?;
    if node::file_type(&stat) != FileType::RegularFile {
        return Err(Error::io("open", visited.below)(Errno::STALE));
    }
    Ok(file)
}

fn hash_file(hash: &mut Sha256, file: &OwnedFd, buffer: &mut Vec<u8>) -> rustix::io::Result<()> {
    buffer.resize(CHUNK, 0);
    loop {
        match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(length) => hash.update(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
