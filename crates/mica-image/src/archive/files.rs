//! The files of an archive by name, whether it is a tar archive or a directory.

use super::source::{self, Section};
use super::tar_index::TarIndex;
use crate::document::{DOCUMENT_SIZE_MAX, Document};
use crate::error::{Error, Result};
use mica_model::Digest;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// All small documents of one archive together may not be larger, in bytes; it bounds the memory
/// that a list of many images can take (row TAR-32).
const DOCUMENTS_SIZE_MAX: u64 = 64 << 20;

/// Where the files of an archive are.
#[derive(Debug)]
enum Place {
    Tar { archive: Section, index: TarIndex },
    Directory(OwnedFd),
}

/// The files of an archive, with a budget for those read into memory.
#[derive(Debug)]
pub(super) struct Files {
    place: Place,
    budget: u64,
}

impl Files {
    /// Takes an open file, pipe or directory.
    pub(super) fn open(input: File, spool_directory: &Path) -> Result<Self> {
        let status = rustix::fs::fstat(&input).map_err(|error| Error::Read { source: error.into() })?;
        let place = if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            Place::Directory(input.into())
        } else {
            let archive = source::plain(input, spool_directory)?;
            let index = TarIndex::read(&archive)?;
            Place::Tar { archive, index }
        };
        Ok(Self { place, budget: DOCUMENTS_SIZE_MAX })
    }

    /// The file of a name, if there is one.
    pub(super) fn find(&self, name: &str) -> Result<Option<Section>> {
        match &self.place {
            Place::Tar { archive, index } => {
                Ok(index.find(name)?.and_then(|(offset, size)| archive.part(offset, size)))
            }
            Place::Directory(directory) => in_directory(directory, name),
        }
    }

    /// The file of a name, which has to exist.
    pub(super) fn section(&self, name: &str) -> Result<Section> {
        let missing = || Error::EntryMissing { name: name.chars().take(300).collect() };
        self.find(name)?.ok_or_else(missing)
    }

    /// A small file, whole.
    pub(super) fn document(&mut self, name: &str) -> Result<Document> {
        let mut section = self.section(name)?;
        let limit = DOCUMENT_SIZE_MAX.min(self.budget);
        if section.len() > limit {
            return Err(Error::TooLarge { what: format!("{name} in the archive"), limit });
        }
        self.budget -= section.len();
        let mut bytes = Vec::with_capacity(usize::try_from(section.len()).unwrap_or_default());
        section.read_to_end(&mut bytes).map_err(|source| Error::Read { source })?;
        Ok(Document::from_bytes(bytes))
    }

    /// A small blob of an OCI layout, compared with what was promised.
    pub(super) fn blob(&mut self, digest: &Digest, size: Option<u64>) -> Result<Document> {
        let name = blob_name(digest);
        check_size(&name, &self.section(&name)?, size)?;
        let document = self.document(&name)?;
        if document.digest() != digest {
            return Err(Error::DigestMismatch { what: name, expected: *digest, actual: *document.digest() });
        }
        Ok(document)
    }
}

/// Refuses a file of another size than its descriptor says.
pub(super) fn check_size(name: &str, section: &Section, size: Option<u64>) -> Result<()> {
    match size {
        Some(expected) if expected != section.len() => {
            Err(Error::SizeMismatch { what: name.to_owned(), expected, actual: section.len() })
        }
        _ => Ok(()),
    }
}

/// Where an OCI layout has a blob.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn in_directory(directory: &OwnedFd, name: &str) -> Result<Option<Section>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    let file = match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(rustix::io::Errno::XDEV | rustix::io::Errno::LOOP) => {
            return Err(Error::EntryOutside { name: name.chars().take(300).collect() });
        }
        Err(source) => return Err(Error::file("open", name, source)),
    };
    let metadata = file.metadata().map_err(|source| Error::file("look at", name, source))?;
    if metadata.is_file() { Section::from_file(file, 0).map(Some) } else { Ok(None) }
}
