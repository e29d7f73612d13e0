//! The blobs of an OCI layout, in a directory or an archive, as they are: for those who hand images on.

use super::files::{Files, blob_name, check_size};
use super::oci::{self, NAME_ANNOTATIONS};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index};
use mica_model::{Digest, Reference};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// An OCI layout that is read.
#[derive(Debug)]
pub struct Layout {
    files: Mutex<Files>,
    index: Index,
}

impl Layout {
    /// Opens a directory or an archive; what came through a pipe or is compressed is copied to a file without a
    /// name in `spool_directory`. `None` if it is no OCI layout.
    pub fn open(input: File, spool_directory: &Path) -> Result<Option<Self>> {
        let mut files = Files::open(input, spool_directory)?;
        if files.find(oci::INDEX)?.is_none() {
            return Ok(None);
        }
        let index = files.document(oci::INDEX)?.parse(oci::INDEX)?;
        Ok(Some(Self { files: Mutex::new(files), index }))
    }

    /// What leads to the image of a name, or to the only one if no name is given.
    pub fn named(&self, name: &str) -> Result<Descriptor> {
        let full = Reference::parse_normalized(name).map(|name| name.with_default_tag().to_string()).ok();
        let suits = |descriptor: &&Descriptor| {
            let notes = descriptor.annotations.as_ref();
            let names = notes.map(|notes| NAME_ANNOTATIONS.iter().filter_map(|key| notes.get(*key)));
            name.is_empty()
                || names.is_some_and(|mut names| names.any(|own| own == name || Some(own) == full.as_ref()))
        };
        let mut found: Vec<&Descriptor> = self.index.descriptors().iter().filter(suits).collect();
        found.dedup_by_key(|descriptor| descriptor.digest().ok());
        match found.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(Error::invalid(oci::INDEX, "it has no image of this name")),
            _ => Err(Error::invalid(oci::INDEX, "it has several images: say which")),
        }
    }

    /// A manifest or index, compared with what leads to it.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.blob(&descriptor.digest()?, Some(descriptor.size))
    }

    /// A blob of a size, from its start. It is not compared with its digest.
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<impl Read + Send + use<>> {
        let name = blob_name(digest);
        let section = self.files.lock().unwrap_or_else(PoisonError::into_inner).section(&name)?;
        check_size(&name, &section, Some(size))?;
        Ok(section)
    }
}
