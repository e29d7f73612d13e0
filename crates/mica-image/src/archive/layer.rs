//! A layer in an archive.

use super::compression::WindowLimit;
use super::source::Section;
use crate::error::Result;
use crate::layer::{LayerReader, Promise};
use mica_model::Digest;
use std::io::Read;

/// A layer as an archive has it.
#[derive(Debug, Clone)]
pub struct ArchiveLayer {
    /// The digest of the uncompressed content, from the image's config. Whoever unpacks the layer
    /// has to compare: a [`LayerReader`] doesn't compute it.
    pub diff_id: Digest,
    /// The digest of the bytes in the archive, if it says one.
    pub digest: Option<Digest>,
    /// The media type; empty in a docker archive, which has none.
    pub media_type: String,
    /// The length in the archive, in bytes.
    pub size: u64,
    pub(super) section: Section,
}

impl ArchiveLayer {
    /// Starts reading; as many readers as wanted may read at once.
    pub fn reader(&self) -> Result<LayerReader<impl Read + use<>>> {
        let promise = self.digest.map(|digest| Promise { digest, size: self.size });
        LayerReader::new(self.section.clone(), promise, &self.diff_id, WindowLimit::Archive)
    }
}
