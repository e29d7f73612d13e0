//! Contents and attributes of copied files: of a few where they are made, of many in threads beside the walk.

use super::threads::Threads;
use crate::error::{Error, Result};
use crate::node;
use crate::tar::Metadata;
use rustix::fs::{Gid, Mode, SeekFrom, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

/// Files up to this size are read and written in pieces; larger ones are left to the kernel.
const SMALL: u64 = 4 << 20;
const PIECE: usize = 256 << 10;

/// A new file that is still empty.
pub(super) struct Fill {
    pub(super) from: File,
    pub(super) to: File,
    /// The status of the source.
    pub(super) stat: Stat,
    pub(super) metadata: Metadata,
    /// Its path, for errors.
    pub(super) shown: Vec<u8>,
}

impl Fill {
    /// Fills it and gives it what it shall have, in the order in which nothing undoes another.
    fn fill(self, buffer: &mut Vec<u8>) -> Result<()> {
        let error = |action| Error::io::<Errno>(action, &self.shown);
        copy_content(&self.from, &self.to, &self.stat, buffer).map_err(Error::io("copy", &self.shown))?;
        let Metadata { mode, uid, gid, mtime, ref xattrs } = self.metadata;
        if (uid, gid) != (0, 0) {
            rustix::fs::fchown(&self.to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(error("change the owner of"))?;
        }
        for (key, value) in xattrs {
            match rustix::fs::fsetxattr(&self.to, &key[..], value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(other) => return Err(error("set an attribute of")(other)),
            }
        }
        rustix::fs::fchmod(&self.to, Mode::from_raw_mode(mode)).map_err(error("change the mode of"))?;
        rustix::fs::futimens(&self.to, &node::timestamps(mtime)).map_err(error("set the time of"))
    }
}

/// How it went by now.
#[derive(Default)]
struct Outcome {
    has_failed: AtomicBool,
    failure: Mutex<Option<Error>>,
}

impl Outcome {
    fn failed(&self, error: Error) {
        self.has_failed.store(true, Ordering::Relaxed);
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn check(&self) -> Result<()> {
        if !self.has_failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Fills files. Nothing may rely on them before [`Filler::finish`].
pub(super) struct Filler<'scope, 'env> {
    threads: Threads<'scope, 'env>,
    outcome: Arc<Outcome>,
}

impl<'scope, 'env> Filler<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>) -> Self {
        Self { threads: Threads::new(scope), outcome: Arc::default() }
    }

    /// Takes a file; answers a failure of an earlier one.
    pub(super) fn take(&mut self, fill: Fill) -> Result<()> {
        self.outcome.check()?;
        let outcome = Arc::clone(&self.outcome);
        self.threads.take(u64::try_from(fill.stat.st_size).unwrap_or(0), move |buffer| {
            // After a failure what waits is only taken away.
            if !outcome.has_failed.load(Ordering::Relaxed)
                && let Err(error) = fill.fill(buffer)
            {
                outcome.failed(error);
            }
        })
    }

    /// Waits until all are filled.
    pub(super) fn finish(self) -> Result<()> {
        self.threads.finish();
        self.outcome.check()
    }
}

/// Copies all of a file. Where nothing was ever written there is nothing in the copy either.
fn copy_content(from: &File, to: &File, stat: &Stat, buffer: &mut Vec<u8>) -> io::Result<()> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    // stat(2) counts blocks of 512 bytes whatever the file system's own are.
    let allocated = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512);
    if allocated < size && copy_pieces(from, to, size)? {
        return Ok(());
    }
    if size > SMALL {
        let (mut from, mut to) = (from, to);
        return io::copy(&mut from, &mut to).map(drop);
    }
    buffer.resize(PIECE, 0);
    loop {
        match (&mut &*from).read(buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => (&mut &*to).write_all(&buffer[..length])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Copies a file with holes; false, with nothing done, where the file system does not tell where they are.
fn copy_pieces(from: &File, to: &File, size: u64) -> io::Result<bool> {
    let mut position = 0;
    while position < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(position)) {
            Ok(start) => start,
            // The rest is a hole.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::NOTSUP) if position == 0 => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start))?;
        rustix::fs::seek(from, SeekFrom::Start(start))?;
        rustix::fs::seek(to, SeekFrom::Start(start))?;
        io::copy(&mut from.take(end - start), &mut &*to)?;
        position = end.max(start + 1);
    }
    to.set_len(size)?;
    Ok(true)
}
