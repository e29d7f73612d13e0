//! An image of the store as a place that gives it: its layers as the tar archives that they were, or compressed as they
//! came if their compressed bytes were kept.

use super::{Giver, Parcel, Part};
use crate::Local;
use crate::error::{Error, Result};
use crate::image::origin::{self, LayerBlob};
use crate::image::record::ImageRecord;
use mica_image::media_type::OCI_LAYER;
use mica_image::{Descriptor, Document, ManifestDocument, parse_manifest, write_manifest};
use mica_model::Digest;
use mica_snapshot::LayerKey;
use std::collections::HashMap;
use std::io::{self, Cursor, Read};

/// An image that is here.
pub(crate) struct StoreGiver<'a> {
    local: &'a Local,
    config: Document,
    layers: HashMap<Digest, LayerKey>,
    parcel: Parcel,
}

impl<'a> StoreGiver<'a> {
    pub(crate) fn new(local: &'a Local, image: &ImageRecord) -> Result<Self> {
        let config = local.image_config(image)?;
        let parcel = match kept(local, image, config.diff_ids())? {
            Some(parcel) => parcel,
            None => {
                let mut described = Vec::new();
                for layer in &image.layers {
                    described.push((
                        OCI_LAYER,
                        layer.diff_id,
                        local.layers.record(&layer.key())?.archive_size,
                    ));
                }
                let (document, media_type) = write_manifest(&config, &described)?;
                Parcel { document, media_type: media_type.to_owned() }
            }
        };
        let layers = image.layers.iter().map(|layer| (layer.diff_id, layer.key())).collect();
        Ok(Self { local, config: config.document().clone(), layers, parcel })
    }

    /// What leads to the image.
    pub(crate) fn parcel(&self) -> Parcel {
        self.parcel.clone()
    }
}

/// A manifest of an image all of whose blobs are kept here.
fn kept(local: &Local, image: &ImageRecord, diff_ids: &[Digest]) -> Result<Option<Parcel>> {
    // Taken first: the loop needs the database too.
    let known = origin::manifests_of(&local.database(), &image.id)?;
    for known in known {
        let Ok(document) = local.blobs.read(&known.digest) else { continue };
        let Ok(ManifestDocument::Manifest(manifest)) = parse_manifest(&document, &known.media_type) else {
            continue;
        };
        let layers = LayerBlob::all(manifest.layers(), diff_ids)?;
        let is_here = |layer: &LayerBlob| {
            local.blobs.open_sound(&layer.digest, layer.size).is_ok_and(|file| file.is_some())
        };
        if layers.iter().all(is_here) {
            return Parcel::new(document, &known.media_type).map(Some);
        }
    }
    Ok(None)
}

impl Giver for StoreGiver<'_> {
    fn place(&self) -> String {
        "the store".to_owned()
    }

    fn manifest(&self, _listed: &Descriptor) -> Result<Parcel> {
        Err(Error::invalid("the store gives images one by one"))
    }

    fn blob(&self, part: &Part) -> Result<Box<dyn Read + Send + '_>> {
        if part.digest == *self.config.digest() {
            return Ok(Box::new(Cursor::new(self.config.bytes())));
        }
        if let Some(file) = self.local.blobs.open_file(&part.digest)? {
            return Ok(Box::new(file));
        }
        let missing = || mica_image::Error::BlobMissing { digest: part.digest };
        let key = *self.layers.get(&part.digest).ok_or_else(missing)?;
        let failed = |source| Error::Download { what: format!("layer {}", part.digest), source };
        let (reader, writer) = io::pipe().map_err(failed)?;
        let layers = self.local.layers.clone();
        // Whoever reads compares: an archive that breaks off has not its promised size.
        let write = move || drop(layers.write_tar(&key, writer));
        std::thread::Builder::new().name("tar".to_owned()).spawn(write).map_err(failed)?;
        Ok(Box::new(reader))
    }
}
