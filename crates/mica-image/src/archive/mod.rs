//! Reads archives of images: docker's (old and new) and OCI layouts, as tar archives or
//! directories, plain or compressed.
//!
//! Everything is read with `pread` from where it lies, so that many layers can be read at once and
//! memory stays bounded whatever the archive claims. Paths and links of an archive are looked up
//! in its own table only, never in the file system.

pub(crate) mod compression;
mod docker;
mod files;
mod layer;
mod layout;
mod oci;
mod pax;
mod source;
mod tar_index;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use layer::ArchiveLayer;
pub use layout::Layout;

use crate::config::ImageConfig;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::platform::Platform;
use compression::{Decoder, WindowLimit};
use files::Files;
use mica_model::Reference;
use source::BUFFER_SIZE;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most images that one archive may list.
const IMAGE_COUNT_MAX: usize = 4096;

/// How to read an archive.
#[derive(Debug, Clone)]
pub struct ArchiveOptions<'a> {
    /// Where a temporary copy goes of what came through a pipe or was compressed. The copy never
    /// has a name, so that nothing is left of it whatever happens. The file system needs O_TMPFILE.
    pub spool_directory: &'a Path,
    /// Which image to take where there is one per platform.
    pub platform: &'a Platform,
}

/// An image as an archive has it.
#[derive(Debug)]
pub struct ArchiveImage {
    /// Its names, all with tags; may be none.
    pub names: Vec<Reference>,
    /// What an OCI layout calls it, which may be a tag alone.
    pub references: Vec<String>,
    /// Its config; the digest was checked where one was promised.
    pub config: ImageConfig,
    /// Its manifest, if the archive is an OCI layout.
    pub manifest: Option<Document>,
    /// Its layers, base first; as many as the config has diffIDs.
    pub layers: Vec<ArchiveLayer>,
}

/// The uncompressed bytes of one flat archive, plain or compressed, as `import` takes it.
pub fn decompress(input: File) -> Result<impl Read + Send> {
    Decoder::new(compression::with_magic(input, BUFFER_SIZE)?, WindowLimit::Archive)
}

/// Reads all that is small of the archive in `input`: a file, a pipe, or the directory of an OCI
/// layout. Layers are read later, through [`ArchiveLayer::reader`].
pub fn read_archive(input: File, options: &ArchiveOptions<'_>) -> Result<Vec<ArchiveImage>> {
    let mut files = Files::open(input, options.spool_directory)?;
    if files.find(docker::MANIFEST)?.is_some() {
        docker::images(&mut files)
    } else if files.find(oci::INDEX)?.is_some() {
        oci::images(&mut files, options.platform)
    } else {
        Err(Error::NotAnArchive)
    }
}
