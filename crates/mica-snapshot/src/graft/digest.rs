//! The digest of what would be copied: names, kinds, permissions, attributes and contents; times are
//! left out, so that a fresh checkout of the same files is the same.

use super::memory::HashMemory;
use super::threads::{Threads, WAITING};
use super::visit::{Visited, visit};
use super::{Filter, Source};
use crate::error::{Error, Result};
use crate::node;
use mica_model::Digest;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, sync_channel};

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
    std::thread::scope(|scope| {
        let mut digesting =
            Digesting { whole: Sha256::new(), waiting: VecDeque::new(), threads: Threads::new(scope) };
        visit(source, filter, &mut |visited| {
            if node::file_type(visited.stat) == FileType::Socket {
                return Ok(());
            }
            let recalled = match (&mut memory, node::file_type(visited.stat)) {
                (Some(memory), FileType::RegularFile) => memory.recall(visited.below, visited.stat),
                _ => None,
            };
            let answer = match recalled {
                Some(digest) => Answer::Recalled(digest),
                None => digesting.begin(visited)?,
            };
            digesting.waiting.push_back(Node { below: visited.below.to_vec(), stat: *visited.stat, answer });
            // What is at the front is mostly ready when so much waits behind it.
            while digesting.waiting.len() > WAITING * 2 {
                digesting.settle_first(keep_owners, memory.as_deref_mut())?;
            }
            Ok(())
        })?;
        while !digesting.waiting.is_empty() {
            digesting.settle_first(keep_owners, memory.as_deref_mut())?;
        }
        digesting.threads.finish();
        Ok(Digest::from_bytes(digesting.whole.finalize().into()))
    })
}

/// A digest on its way: nodes count in the order of the walk, whoever is ready first.
struct Digesting<'scope, 'env> {
    whole: Sha256,
    waiting: VecDeque<Node>,
    threads: Threads<'scope, 'env>,
}

/// A node that was visited.
struct Node {
    below: Vec<u8>,
    stat: Stat,
    answer: Answer,
}

/// The digest of a node's attributes and content.
enum Answer {
    /// It was known.
    Recalled(Digest),
    Known(Digest),
    /// It is being taken.
    Awaited(Receiver<rustix::io::Result<Digest>>),
}

impl Digesting<'_, '_> {
    /// Begins with attributes and content.
    fn begin(&mut self, visited: &Visited<'_>) -> Result<Answer> {
        let Visited { parent, name, stat, below } = visited;
        if node::file_type(stat) == FileType::RegularFile {
            let file = open(visited)?;
            let (answer, awaited) = sync_channel(1);
            self.threads.take(u64::try_from(stat.st_size).unwrap_or(0), move |buffer| {
                // Nobody waits any more where the walk has failed.
                let _ = answer.send(of_file(&file, buffer));
            })?;
            return Ok(Answer::Awaited(awaited));
        }
        let mut hash = of_attributes(&node::xattrs(*parent, name).map_err(Error::io("examine", below))?);
        match node::file_type(stat) {
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(*parent, *name, Vec::new()).map_err(Error::io("read", below))?;
                hash.update(target.as_bytes());
            }
            FileType::CharacterDevice | FileType::BlockDevice => hash.update(stat.st_rdev.to_le_bytes()),
            _ => {}
        }
        Ok(Answer::Known(Digest::from_bytes(hash.finalize().into())))
    }

    /// Takes in the node that was visited first.
    fn settle_first(&mut self, keep_owners: bool, memory: Option<&mut HashMemory>) -> Result<()> {
        let Some(Node { below, stat, answer }) = self.waiting.pop_front() else { return Ok(()) };
        let (digest, was_known) = match answer {
            Answer::Recalled(digest) => (digest, true),
            Answer::Known(digest) => (digest, false),
            // Only a panic of a thread leaves no answer; it is seen when the threads are joined.
            Answer::Awaited(awaited) => {
                let digest = awaited.recv().unwrap_or(Err(Errno::PIPE)).map_err(Error::io("read", &below))?;
                (digest, false)
            }
        };
        if node::file_type(&stat) == FileType::RegularFile
            && let Some(memory) = memory
        {
            memory.remember(&below, &stat, (&digest, was_known))?;
        }
        self.whole.update((below.len() as u64).to_le_bytes());
        self.whole.update(&below);
        self.whole.update(stat.st_mode.to_le_bytes());
        if keep_owners {
            self.whole.update(stat.st_uid.to_le_bytes());
            self.whole.update(stat.st_gid.to_le_bytes());
        }
        self.whole.update(digest.as_bytes());
        Ok(())
    }
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

/// Begins a digest with the attributes that may travel.
fn of_attributes(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Sha256 {
    let mut hash = Sha256::new();
    for (key, value) in xattrs.iter().filter(|(key, _)| node::is_portable_xattr(key)) {
        for part in [key, value] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.update([0xff]);
    hash
}

/// The digest of a file's attributes and of all that is in it.
fn of_file(file: &OwnedFd, buffer: &mut Vec<u8>) -> rustix::io::Result<Digest> {
    let mut hash = of_attributes(&node::xattrs_of(file.as_fd())?);
    buffer.resize(CHUNK, 0);
    loop {
        match rustix::io::read(file, &mut buffer[..]) {
            Ok(0) => return Ok(Digest::from_bytes(hash.finalize().into())),
            Ok(length) => hash.update(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
