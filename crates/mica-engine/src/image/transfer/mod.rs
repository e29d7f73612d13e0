//! Images on their way from one place to another, byte for byte and without a copy here: indexes, manifests and
//! blobs go as they are, so that they keep their digests.
//!
//! What lies below a manifest goes before it, since a registry takes none whose blobs it does not have.

pub(crate) mod files;
pub(crate) mod registry;
pub(crate) mod store;

use crate::error::{Error, Result};
use crate::image::send::{AT_ONCE, send_all};
use mica_image::{
    Descriptor, Document, Manifest, ManifestDocument, Promise, PromisedReader, media_type_of, parse_parcel,
};
use mica_model::Digest;
use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How deep indexes may be nested.
const DEPTH_MAX: usize = 4;
/// How many manifests one index may lead to.
const MANIFESTS_MAX: usize = 1000;

/// A manifest or index as it lies somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) document: Document,
    pub(crate) media_type: String,
}

impl Parcel {
    /// A document of which somebody said that it is of a type.
    pub(crate) fn new(document: Document, declared: &str) -> Result<Self> {
        let media_type = media_type_of(&document, declared)?;
        Ok(Self { document, media_type })
    }
}

/// A blob that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// A layer, and not a config, of which nobody is told.
    pub(crate) is_layer: bool,
}

/// For what a manifest is put in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The name of the place stands for it.
    Named,
    /// An index leads to it.
    Listed,
}

/// A place that has images.
pub(crate) trait Giver: Sync {
    /// As people write it.
    fn place(&self) -> String;
    /// Something that an index lists, compared with what the index says.
    fn manifest(&self, listed: &Descriptor) -> Result<Parcel>;
    /// A blob; whoever reads it compares it.
    fn blob(&self, part: &Part) -> Result<Box<dyn Read + Send + '_>>;
    /// A repository of a registry from which that registry itself may take a blob over.
    fn repository(&self) -> Option<String> {
        None
    }
}

/// A place that takes images.
pub(crate) trait Taker: Sync {
    /// Sees to it that a blob is there; the giver is asked only if it is not.
    fn take_blob(&self, part: &Part, giver: &dyn Giver) -> Result<()>;
    /// Puts a manifest in place, below which everything is there.
    fn take_manifest(&self, parcel: &Parcel, role: Role) -> Result<()>;
}

/// The way from a giver to a taker.
pub(crate) struct Carriage<'a> {
    giver: &'a dyn Giver,
    taker: &'a dyn Taker,
    manifest_count: AtomicUsize,
}

impl<'a> Carriage<'a> {
    pub(crate) fn new(giver: &'a dyn Giver, taker: &'a dyn Taker) -> Self {
        Self { giver, taker, manifest_count: AtomicUsize::new(0) }
    }

    /// Carries a manifest, or an index with all that it leads to.
    pub(crate) fn carry(&self, parcel: &Parcel, role: Role) -> Result<()> {
        self.carry_below(parcel, role, DEPTH_MAX)
    }

    fn carry_below(&self, parcel: &Parcel, role: Role, depth: usize) -> Result<()> {
        let digest = parcel.document.digest();
        if depth == 0 || self.manifest_count.fetch_add(1, Ordering::Relaxed) >= MANIFESTS_MAX {
            return Err(Error::invalid(format!("manifest {digest}: indexes lead too deep or to too much")));
        }
        match parse_parcel(&parcel.document, &parcel.media_type)? {
            ManifestDocument::Index(index) => {
                let mut seen = HashSet::new();
                for listed in index.descriptors() {
                    if seen.insert(listed.digest()?) {
                        self.carry_below(&self.manifest(listed)?, Role::Listed, depth - 1)?;
                    }
                }
            }
            ManifestDocument::Manifest(manifest) => self.carry_blobs(&manifest)?,
        }
        self.taker.take_manifest(parcel, role)
    }

    fn carry_blobs(&self, manifest: &Manifest) -> Result<()> {
        let parts = parts(manifest)?;
        let send = |number: usize| self.taker.take_blob(&parts[number], self.giver).map(|()| true);
        send_all(parts.len(), AT_ONCE, &send).map(drop)
    }

    fn manifest(&self, listed: &Descriptor) -> Result<Parcel> {
        self.giver.manifest(listed).map_err(|error| not_given(self.giver, error))
    }
}

/// All blobs of a manifest that a registry itself has, each once.
pub(crate) fn parts(manifest: &Manifest) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    let config = std::iter::once((&manifest.config, false));
    let layers = manifest.layers().iter().map(|layer| (layer, true));
    for (descriptor, is_layer) in config.chain(layers) {
        let digest = descriptor.digest()?;
        let is_known = parts.iter().any(|part| part.digest == digest);
        if !is_known && !mica_image::media_type::is_foreign(&descriptor.media_type) {
            parts.push(Part { digest, size: descriptor.size, is_layer });
        }
    }
    Ok(parts)
}

/// A blob of a giver that is found to be what was promised, or ends in an error.
pub(crate) fn promised<'g>(giver: &'g dyn Giver, part: &Part) -> Result<impl Read + Send + use<'g>> {
    let promise = Promise { digest: part.digest, size: part.size };
    let reader = giver.blob(part).map_err(|error| not_given(giver, error))?;
    Ok(PromisedReader::new(reader, promise))
}

/// An error of the giver, told apart from those of the taker.
pub(crate) fn not_given(giver: &dyn Giver, error: Error) -> Error {
    Error::NotGiven { place: giver.place(), source: Box::new(error) }
}
