//! OCI image layouts: `index.json` leads through indexes and manifests to blobs by digest.

use super::files::{Files, blob_name, check_size};
use super::{ArchiveImage, ArchiveLayer, IMAGE_COUNT_MAX};
use crate::config::ImageConfig;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, Manifest};
use crate::media_type::{ManifestKind, check_config, check_layer, manifest_kind};
use crate::platform::Platform;
use mica_model::{Digest, Reference};

/// The list of images.
pub(super) const INDEX: &str = "index.json";
/// How deep indexes may be nested.
const DEPTH_MAX: usize = 4;
/// Names a descriptor gives, best first: containerd's is a full name, OCI's may be a mere tag.
pub(super) const NAME_ANNOTATIONS: [&str; 2] =
    ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

fn name(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations.as_ref()?;
    NAME_ANNOTATIONS.iter().find_map(|key| {
        // A word alone may be a tag as well as a name; an image without a name is the
        // lesser surprise.
        let text = annotations.get(*key).filter(|text| text.contains(['/', ':']))?;
        let reference = Reference::parse_normalized(text).ok()?;
        reference.digest().is_none().then(|| reference.with_default_tag())
    })
}

/// All images of an OCI layout that suit `platform`.
pub(super) fn images(files: &mut Files, platform: &Platform) -> Result<Vec<ArchiveImage>> {
    let index: Index = files.document(INDEX)?.parse(INDEX)?;
    let descriptors = index.into_descriptors();
    if descriptors.len() > IMAGE_COUNT_MAX {
        return Err(Error::TooLarge { what: "the list of images".to_owned(), limit: IMAGE_COUNT_MAX as u64 });
    }
    let mut images: Vec<ArchiveImage> = Vec::new();
    for descriptor in suitable(descriptors, platform)? {
        let name = name(&descriptor);
        let reference =
            descriptor.annotations.as_ref().and_then(|notes| notes.get(NAME_ANNOTATIONS[1])).cloned();
        let manifest = manifest(files, descriptor, platform)?;
        let known = images
            .iter_mut()
            .find(|image| image.manifest.as_ref().is_some_and(|known| known.digest() == manifest.digest()));
        match known {
            Some(known) => {
                known.names.extend(name);
                known.references.extend(reference);
            }
            None => {
                let mut image = image(files, manifest)?;
                image.names.extend(name);
                image.references.extend(reference);
                images.push(image);
            }
        }
    }
    Ok(images)
}

/// Those that suit; a single one always does, as there is no choice.
fn suitable(descriptors: Vec<Descriptor>, platform: &Platform) -> Result<Vec<Descriptor>> {
    let images: Vec<Descriptor> = descriptors.into_iter().filter(Descriptor::is_image).collect();
    let (mut chosen, rest): (Vec<_>, Vec<_>) =
        images.into_iter().partition(|descriptor| platform.suits(&descriptor.platform()));
    match (chosen.is_empty(), <[Descriptor; 1]>::try_from(rest)) {
        (true, Ok([only])) => chosen.push(only),
        (true, Err(rest)) if !rest.is_empty() => {
            return Err(Error::NoPlatform { platform: platform.to_string() });
        }
        _ => {}
    }
    Ok(chosen)
}

/// Follows indexes down to the manifest of one image.
fn manifest(files: &mut Files, descriptor: Descriptor, platform: &Platform) -> Result<Document> {
    let mut descriptor = descriptor;
    for _ in 0..DEPTH_MAX {
        let kind = manifest_kind(&descriptor.media_type)?;
        let digest = descriptor.digest()?;
        let document = files.blob(&digest, Some(descriptor.size))?;
        if kind == ManifestKind::Manifest {
            return Ok(document);
        }
        let index: Index = document.parse(&format!("index {digest}"))?;
        let first = suitable(index.into_descriptors(), platform)?.into_iter().next();
        descriptor = first.ok_or_else(|| Error::NoPlatform { platform: platform.to_string() })?;
    }
    Err(Error::invalid(INDEX, "its indexes are nested too deeply"))
}

fn image(files: &mut Files, document: Document) -> Result<ArchiveImage> {
    let manifest: Manifest = document.parse(&format!("manifest {}", document.digest()))?;
    check_config(&manifest.config.media_type)?;
    let config = files.blob(&manifest.config.digest()?, Some(manifest.config.size))?;
    let config = ImageConfig::parse(config)?;
    let descriptors = manifest.layers().to_vec();
    config.check_layer_count(descriptors.len())?;
    let layers = descriptors.into_iter().zip(config.diff_ids());
    let layers =
        layers.map(|(descriptor, diff_id)| layer(files, descriptor, diff_id)).collect::<Result<_>>()?;
    Ok(ArchiveImage { names: Vec::new(), references: Vec::new(), config, manifest: Some(document), layers })
}

fn layer(files: &Files, descriptor: Descriptor, diff_id: &Digest) -> Result<ArchiveLayer> {
    check_layer(&descriptor.media_type)?;
    let digest = descriptor.digest()?;
    let name = blob_name(&digest);
    let section = files.section(&name)?;
    check_size(&name, &section, Some(descriptor.size))?;
    Ok(ArchiveLayer {
        diff_id: *diff_id,
        digest: Some(digest),
        media_type: descriptor.media_type,
        size: descriptor.size,
        section,
    })
}
