//! The blobs on disk, by digest; configs and manifests, all small.
//!
//! ```text
//! ROOT/image/                   the directory that is told to [`BlobStore::open`]
//! ├── blobs/sha256/<64 hex>     complete, durable, never changed
//! ├── ingest/<32 hex>           being written, locked by its writer
//! └── partial/<64 hex>          come in part, locked by who fetches it (partial.rs)
//! ```
//!
//! Many processes may use a store at once: a blob appears by a rename of a complete file, so that
//! whoever is second replaces it with the same bytes.

use crate::document::{DOCUMENT_SIZE_MAX, Document};
use crate::error::{Error, Result};
use crate::layer::DigestReader;
use mica_model::Digest;
use rustix::fs::{FlockOperation, Mode, OFlags};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A value that was compared with its digest; only [`BlobWriter::finish`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> std::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What is known of a stored blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// The digest of its content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The blobs under one root.
#[derive(Debug, Clone)]
pub struct BlobStore {
    blobs: PathBuf,
    ingest: PathBuf,
    partial: PathBuf,
}

impl BlobStore {
    /// Opens the store in a directory of its own, making what is missing.
    pub fn open(directory: &Path) -> Result<Self> {
        let store = Self {
            blobs: directory.join("blobs/sha256"),
            ingest: directory.join("ingest"),
            partial: directory.join("partial"),
        };
        if !store.blobs.exists() || !store.ingest.exists() {
            for directory in [&store.blobs, &store.ingest] {
                fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)
                    .map_err(|source| Error::file("create directory", directory, source))?;
            }
        }
        Ok(store)
    }

    /// Starts a blob; nothing is seen of it until it is finished.
    pub fn writer(&self) -> Result<BlobWriter<'_>> {
        loop {
            let writer = self.new_writer()?;
            // Held until the file is closed, so that tidying tells a dead writer from a living
            // one. A tidier may have been quicker and have taken the file away; then try another.
            if rustix::fs::flock(&writer.file, FlockOperation::NonBlockingLockExclusive).is_ok()
                && rustix::fs::fstat(&writer.file).is_ok_and(|status| status.st_nlink == 1)
            {
                return Ok(writer);
            }
        }
    }

    fn new_writer(&self) -> Result<BlobWriter<'_>> {
        let mut random = [0u8; 16];
        rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|source| Error::file("draw a name in", &self.ingest, source))?;
        let path = self.ingest.join(mica_model::digest::hex(&random));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
            .map_err(|source| Error::file("create", &path, source))?;
        Ok(BlobWriter { store: self, file: File::from(file), path, hasher: Sha256::new(), size: 0 })
    }

    /// Stores a document; if it is there already and sound, nothing is written.
    pub fn store(&self, document: &Document) -> Result<()> {
        if self.read(document.digest()).is_ok() {
            return Ok(());
        }
        let mut writer = self.writer()?;
        let path = writer.path.clone();
        writer.write_all(document.bytes()).map_err(|source| Error::file("write", path, source))?;
        writer.finish(Some((*document.digest(), document.bytes().len() as u64)))?;
        Ok(())
    }

    /// Reads a small blob whole and compares it with its digest.
    pub fn read(&self, digest: &Digest) -> Result<Document> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::BlobMissing { digest: *digest });
            }
            Err(source) => return Err(Error::file("open", path, source)),
        };
        let what = format!("blob {digest}");
        let mut bytes = Vec::new();
        file.take(DOCUMENT_SIZE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| Error::file("read", path, source))?;
        if bytes.len() as u64 > DOCUMENT_SIZE_MAX {
            return Err(Error::TooLarge { what, limit: DOCUMENT_SIZE_MAX });
        }
        Document::verified(bytes, digest, &what)
    }

    /// Opens a blob that may be too large to be read at once; `None` if it is not here. Its content is
    /// not compared with its digest.
    pub fn open_file(&self, digest: &Digest) -> Result<Option<File>> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("open", path, source)),
        }
    }

    /// Opens a blob that may be large, if it is here and is what its name says, and takes one away that is not: what
    /// is kept for convenience alone is to be had elsewhere. Reading begins at its start.
    pub fn open_sound(&self, digest: &Digest, size: u64) -> Result<Option<File>> {
        let Some(mut file) = self.open_file(digest)? else { return Ok(None) };
        let path = self.path(digest);
        let mut reader = DigestReader::new(&mut file);
        let length = io::copy(&mut reader, &mut io::sink());
        if length.is_ok_and(|length| length == size) && reader.digest() == *digest {
            file.rewind().map_err(|source| Error::file("read", path, source))?;
            return Ok(Some(file));
        }
        self.remove(digest)?;
        Ok(None)
    }

    /// Gives a file the name of a blob, besides its own.
    pub(crate) fn link(&self, file: &Path, digest: &Digest) -> Result<()> {
        let path = self.path(digest);
        match fs::hard_link(file, &path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(Error::file("link", path, source))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a blob of this digest; its content is not looked at.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Removes a blob and tells whether there was one.
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::file("remove", path, source)),
        }
    }

    /// All blobs, in order of their digests.
    pub fn list(&self) -> Result<Vec<Blob>> {
        let failed = |source| Error::file("list", &self.blobs, source);
        let mut blobs = Vec::new();
        for entry in fs::read_dir(&self.blobs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Some(digest) = entry.file_name().to_str().and_then(|name| Digest::from_hex(name).ok()) else {
                continue;
            };
            // Another process may remove it between the listing and the look at it.
            if let Ok(metadata) = entry.metadata() {
                blobs.push(Blob { digest, size: metadata.len() });
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    /// Removes what killed writers left and tells how many files that were.
    pub fn tidy(&self) -> Result<usize> {
        let failed = |source| Error::file("list", &self.ingest, source);
        let mut removed = self.tidy_partials();
        for entry in fs::read_dir(&self.ingest).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let Ok(file) = rustix::fs::open(&path, flags, Mode::empty()) else { continue };
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
                && fs::remove_file(&path).is_ok()
            {
                removed += 1;
            }
        }
        Ok(removed)
    }

    pub(crate) fn partials(&self) -> PathBuf {
        self.partial.clone()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }
}

/// A blob being written and hashed. Dropped without [`BlobWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter<'store> {
    store: &'store BlobStore,
    file: File,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
}

impl BlobWriter<'_> {
    /// Compares with what was promised, if anything was, and makes the blob durable and visible.
    pub fn finish(self, expected: Option<(Digest, u64)>) -> Result<Verified<Blob>> {
        let digest = Digest::from_bytes(self.hasher.clone().finalize().into());
        if let Some((promised, size)) = expected {
            let what = format!("blob {promised}");
            if size != self.size {
                return Err(Error::SizeMismatch { what, expected: size, actual: self.size });
            }
            if promised != digest {
                return Err(Error::DigestMismatch { what, expected: promised, actual: digest });
            }
        }
        self.file.sync_data().map_err(|source| Error::file("sync", &self.path, source))?;
        let path = self.store.path(&digest);
        fs::rename(&self.path, &path).map_err(|source| Error::file("rename to", &path, source))?;
        File::open(&self.store.blobs)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| Error::file("sync", &self.store.blobs, source))?;
        Ok(Verified(Blob { digest, size: self.size }))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        // Names in ingest/ are never reused, so after a finish there is nothing of this name.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = BlobStore::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn stores_once_and_reads_back() {
        let (_directory, store) = store();
        let document = Document::from_bytes(b"{}".to_vec());
        store.store(&document).unwrap();
        store.store(&document).unwrap();
        assert_eq!(store.read(document.digest()).unwrap(), document);
        assert_eq!(store.list().unwrap(), [Blob { digest: *document.digest(), size: 2 }]);
        assert!(store.remove(document.digest()).unwrap());
        assert!(!store.remove(document.digest()).unwrap());
        assert!(matches!(store.read(document.digest()), Err(Error::BlobMissing { .. })));
    }

    #[test]
    fn refuses_what_was_not_promised_and_leaves_nothing() {
        let (_directory, store) = store();
        let right = crate::document::digest_of(b"right");
        let mut writer = store.writer().unwrap();
        writer.write_all(b"wrong").unwrap();
        assert!(matches!(writer.finish(Some((right, 5))), Err(Error::DigestMismatch { .. })));
        let mut writer = store.writer().unwrap();
        writer.write_all(b"right").unwrap();
        assert!(matches!(writer.finish(Some((right, 6))), Err(Error::SizeMismatch { .. })));
        assert!(store.list().unwrap().is_empty());
        assert_eq!(fs::read_dir(&store.ingest).unwrap().count(), 0);
    }

    #[test]
    fn repairs_a_damaged_blob() {
        let (_directory, store) = store();
        let document = Document::from_bytes(b"content".to_vec());
        store.store(&document).unwrap();
        fs::write(store.path(document.digest()), b"damaged").unwrap();
        assert!(matches!(store.read(document.digest()), Err(Error::DigestMismatch { .. })));
        store.store(&document).unwrap();
        assert_eq!(store.read(document.digest()).unwrap(), document);
    }

    #[test]
    fn tidies_after_the_dead_but_not_the_living() {
        let (_directory, store) = store();
        let _living = store.writer().unwrap();
        fs::write(store.ingest.join("dead"), b"x").unwrap();
        assert_eq!(store.tidy().unwrap(), 1);
        assert_eq!(fs::read_dir(&store.ingest).unwrap().count(), 1);
    }
}
