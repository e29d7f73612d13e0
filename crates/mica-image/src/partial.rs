//! Blobs that have come only in part: what there is of them, and who is fetching the rest.
//!
//! The file of a blob is locked by whoever fetches it, so that of many processes only one does, and
//! the next goes on where a killed one stopped.

use crate::blob::BlobStore;
use crate::error::{Error, Result};
use mica_model::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long something half done is kept for whoever wants the rest.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// The right to fetch a blob, and what there is of it. Freed when it is dropped; the bytes stay.
#[derive(Debug)]
pub struct Claim {
    file: File,
    path: PathBuf,
}

impl BlobStore {
    /// Claims a blob, unless somebody else is fetching it.
    pub fn claim(&self, digest: &Digest) -> Result<Option<Claim>> {
        loop {
            let (file, path) = self.open_partial(digest)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_named(&file, &path) => return Ok(Some(Claim { file, path })),
                // Whoever had it is done and has taken it away.
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(Error::file("lock", path, errno)),
            }
        }
    }

    /// Waits until nobody is fetching a blob.
    pub fn wait_for(&self, digest: &Digest) -> Result<()> {
        let (file, path) = self.open_partial(digest)?;
        loop {
            match rustix::fs::flock(&file, FlockOperation::LockShared) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::file("lock", path, errno)),
            }
        }
    }

    fn open_partial(&self, digest: &Digest) -> Result<(File, PathBuf)> {
        let directory = self.partials();
        let path = directory.join(digest.hex());
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let open = || rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600));
        let file = match open() {
            Err(rustix::io::Errno::NOENT) => {
                fs::create_dir_all(&directory)
                    .map_err(|source| Error::file("create directory", &directory, source))?;
                open()
            }
            other => other,
        };
        let file = file.map_err(|errno| Error::file("open", &path, errno))?;
        Ok((File::from(file), path))
    }

    /// Removes what has not been gone on with for long, and what holds nothing.
    pub(crate) fn tidy_partials(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.partials()) else { return 0 };
        let now = SystemTime::now();
        let is_old = |metadata: &fs::Metadata| {
            let age = metadata.modified().ok().and_then(|modified| now.duration_since(modified).ok());
            metadata.len() == 0 || age.is_some_and(|age| age > KEPT)
        };
        let old = entries.flatten().filter(|entry| entry.metadata().is_ok_and(|metadata| is_old(&metadata)));
        old.filter(|entry| {
            let digest = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok());
            let claim = digest.and_then(|digest| self.claim(&digest).ok().flatten());
            claim.is_some_and(|claim| claim.discard().is_ok())
        })
        .count()
    }
}

/// Whether a file still has its name here; as a kept blob it may have another one.
fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(named)) = (rustix::fs::fstat(file), rustix::fs::lstat(path)) else { return false };
    (own.st_dev, own.st_ino) == (named.st_dev, named.st_ino)
}

impl Claim {
    /// How many bytes there are.
    pub fn size(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|source| Error::file("examine", &self.path, source))?;
        Ok(metadata.len())
    }

    /// Reads bytes that are there.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    /// Adds bytes.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Begins anew.
    pub fn clear(&self) -> Result<()> {
        self.file.set_len(0).map_err(|source| Error::file("cut short", &self.path, source))
    }

    /// Keeps the bytes, which were found to be those of `digest`, as a blob. They are not durable yet, and
    /// nothing may be added to them any more.
    pub fn keep(&self, store: &BlobStore, digest: &Digest) -> Result<()> {
        store.link(&self.path, digest)
    }

    /// Takes the bytes away, but not the claim: nobody waits for longer than it is held.
    pub fn discard(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove", &self.path, source))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::digest_of;

    #[test]
    fn one_fetches_and_the_next_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) =
            (BlobStore::open(directory.path()).unwrap(), BlobStore::open(directory.path()).unwrap());
        let digest = digest_of(b"whole");
        let claim = one.claim(&digest).unwrap().unwrap();
        claim.write_at(b"who", 0).unwrap();
        assert!(other.claim(&digest).unwrap().is_none());
        assert_eq!(other.tidy_partials(), 0);
        drop(claim);
        other.wait_for(&digest).unwrap();
        let claim = other.claim(&digest).unwrap().unwrap();
        let mut bytes = [0; 8];
        assert_eq!((claim.size().unwrap(), claim.read_at(&mut bytes, 1).unwrap()), (3, 2));
        claim.discard().unwrap();
        drop(claim);
        assert_eq!(one.claim(&digest).unwrap().unwrap().size().unwrap(), 0);
    }

    #[test]
    fn what_is_old_or_empty_goes() {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(directory.path()).unwrap();
        for (content, age) in [(&b""[..], 0), (b"new", 0), (b"old", 48)] {
            let claim = store.claim(&digest_of(content)).unwrap().unwrap();
            claim.write_at(content, 0).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age * 3600);
            claim.file.set_modified(time).unwrap();
        }
        assert_eq!(store.tidy_partials(), 2);
        assert_eq!(store.claim(&digest_of(b"new")).unwrap().unwrap().size().unwrap(), 3);
    }
}
