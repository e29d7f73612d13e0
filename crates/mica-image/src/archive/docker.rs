//! Docker's archives: `manifest.json` lists configs, names and layers by path.

use super::files::{Files, blob_name};
use super::{ArchiveImage, ArchiveLayer, IMAGE_COUNT_MAX};
use crate::config::ImageConfig;
use crate::error::{Error, Result};
use mica_model::{Digest, Reference};
use serde::Deserialize;

/// The list of images.
pub(super) const MANIFEST: &str = "manifest.json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// All images of a docker archive.
pub(super) fn images(files: &mut Files) -> Result<Vec<ArchiveImage>> {
    let items: Vec<Item> = files.document(MANIFEST)?.parse(MANIFEST)?;
    if items.len() > IMAGE_COUNT_MAX {
        return Err(Error::TooLarge { what: "the list of images".to_owned(), limit: IMAGE_COUNT_MAX as u64 });
    }
    items.into_iter().map(|item| image(files, item)).collect()
}

fn image(files: &mut Files, item: Item) -> Result<ArchiveImage> {
    let document = match blob_digest(&item.config) {
        Some(digest) => files.blob(&digest, None)?,
        None => files.document(&item.config)?,
    };
    let config = ImageConfig::parse(document)?;
    let paths = item.layers.unwrap_or_default();
    config.check_layer_count(paths.len())?;
    let layers = paths.iter().zip(config.diff_ids()).map(|(path, diff_id)| layer(files, path, diff_id));
    let layers = layers.collect::<Result<_>>()?;
    let names = item.repo_tags.unwrap_or_default().iter().map(|text| name(text)).collect::<Result<_>>()?;
    Ok(ArchiveImage { names, references: Vec::new(), config, manifest: None, layers })
}

fn layer(files: &Files, path: &str, diff_id: &Digest) -> Result<ArchiveLayer> {
    let section = files.section(path)?;
    Ok(ArchiveLayer {
        diff_id: *diff_id,
        digest: blob_digest(path),
        media_type: String::new(),
        size: section.len(),
        section,
    })
}

/// The digest that a path of the newer form promises.
fn blob_digest(path: &str) -> Option<Digest> {
    let digest = Digest::from_hex(path.rsplit('/').next()?).ok()?;
    (path == blob_name(&digest)).then_some(digest)
}

fn name(text: &str) -> Result<Reference> {
    let reference = Reference::parse_normalized(text)
        .map_err(|source| Error::Name { text: text.chars().take(300).collect(), source })?;
    if reference.digest().is_some() {
        return Err(Error::invalid(MANIFEST, "a name in RepoTags has a digest instead of a tag"));
    }
    Ok(reference.with_default_tag())
}
