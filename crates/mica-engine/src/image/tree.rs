//! `image tree`: images as stacks of layers, with who shares each of them.

use crate::Local;
use crate::container::record::Record;
use crate::error::{Error, Result};
use crate::image::inspect::{Step, steps};
use crate::image::list::Catalogue;
use crate::image::record::{ImageRecord, LayerRecord};
use mica_api::types::image::{ImageTree, TreeContainer, TreeLayer};
use mica_model::Digest;
use std::collections::{BTreeSet, HashMap};

impl Local {
    /// The stack of one image, or of all top-level ones.
    pub(crate) fn image_tree(&self, reference: Option<&str>) -> Result<Vec<ImageTree>> {
        let only = match reference {
            Some(reference) => Some(ImageRecord::find(&self.database(), reference)?.id),
            None => None,
        };
        let catalogue = Catalogue::read(self)?;
        let containers = self.observe_all()?;
        let shares = Shares::new(&catalogue, containers.iter().map(|(record, _)| record));
        let wanted = |image: &&ImageRecord| match only {
            Some(id) => image.id == id,
            None => catalogue.is_top_level(image),
        };
        let mut trees = Vec::new();
        for image in catalogue.images.iter().filter(wanted) {
            let layers = match self.tree_layers(image, &shares) {
                // Removed since it was listed.
                Err(Error::NoSuchImage { .. }) if reference.is_none() => continue,
                other => other?,
            };
            let id = image.id.to_string();
            let mut above = Vec::new();
            for (record, observed) in containers.iter().filter(|(record, _)| record.image_id == id) {
                above.push(self.tree_container(record, observed.status)?);
            }
            trees.push(ImageTree {
                names: catalogue.names_of(&image.id).iter().map(|name| name.reference.familiar()).collect(),
                size: image.size,
                unique_size: shares.unique_size(image),
                containers: above,
                layers,
                id,
            });
        }
        Ok(trees)
    }

    fn tree_container(&self, record: &Record, state: &str) -> Result<TreeContainer> {
        let upper = self.disk.container(&record.id).upper();
        Ok(TreeContainer {
            name: record.name.clone(),
            state: state.to_owned(),
            size: self.written_bytes(record)?,
            path: upper.to_string_lossy().into_owned(),
        })
    }

    fn tree_layers(&self, image: &ImageRecord, shares: &Shares<'_>) -> Result<Vec<TreeLayer>> {
        let config = self.image_config(image)?;
        let steps = steps(&config, image.layers.len());
        let made = |index: usize| {
            steps.iter().find(|step: &&Step| step.layer == Some(index)).map(|step| &step.history)
        };
        let rows = image.layers.iter().enumerate().map(|(index, layer)| TreeLayer {
            diff_id: layer.diff_id.to_string(),
            size: layer.size,
            entry_count: layer.entry_count,
            created_by: made(index).map(|step| step.created_by.clone()).unwrap_or_default(),
            created: made(index).map(|step| step.created.seconds()).unwrap_or_default(),
            path: self.layer_directory(layer).to_string_lossy().into_owned(),
            shared_images: shares.images_beside(&image.id, layer),
            shared_containers: shares.containers_on(layer),
        });
        Ok(rows.collect())
    }
}

/// Who has each layer.
struct Shares<'a> {
    catalogue: &'a Catalogue,
    images: HashMap<&'a Digest, BTreeSet<Digest>>,
    containers: HashMap<&'a Digest, BTreeSet<&'a str>>,
}

impl<'a> Shares<'a> {
    fn new(catalogue: &'a Catalogue, records: impl Iterator<Item = &'a Record>) -> Self {
        let mut images: HashMap<&Digest, BTreeSet<Digest>> = HashMap::new();
        for image in &catalogue.images {
            for layer in &image.layers {
                images.entry(&layer.diff_id).or_default().insert(image.id);
            }
        }
        let mut containers: HashMap<&Digest, BTreeSet<&str>> = HashMap::new();
        for record in records {
            let image = record.image_id.parse().ok().and_then(|id| catalogue.by_id(&id));
            for layer in image.iter().flat_map(|image| &image.layers) {
                containers.entry(&layer.diff_id).or_default().insert(&record.name);
            }
        }
        Self { catalogue, images, containers }
    }

    fn unique_size(&self, image: &ImageRecord) -> u64 {
        let alone =
            |layer: &&LayerRecord| self.images.get(&layer.diff_id).is_none_or(|users| users.len() <= 1);
        image.layers.iter().filter(alone).map(|layer| layer.size).sum()
    }

    fn images_beside(&self, own: &Digest, layer: &LayerRecord) -> Vec<String> {
        let users = self.images.get(&layer.diff_id).into_iter().flatten();
        users.filter(|id| *id != own).flat_map(|id| self.catalogue.display_names(id)).collect()
    }

    fn containers_on(&self, layer: &LayerRecord) -> Vec<String> {
        let users = self.containers.get(&layer.diff_id).into_iter().flatten();
        users.map(|&name| name.to_owned()).collect()
    }
}
