//! `image prune`: deletes dangling images, or all that no container uses.

use crate::container::record::Record;
use crate::error::{Error, Result};
use crate::image::list::{Catalogue, label, until};
use crate::image::record::ImageRecord;
use crate::volume::mounted_images;
use crate::{Local, events};
use mica_api::types::image::{ImageDelete, ImageRemoveOptions};
use mica_model::{Filters, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};

const FILTERS: &[&str] = &["dangling", "label", "label!", "until"];

impl Local {
    /// Deletes what is unused; answers what went and how many bytes of layers with it.
    pub(crate) fn prune_images(&self, filters: &Filters) -> Result<(Vec<ImageDelete>, u64)> {
        filters.validate(FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let dangling =
            filters.boolean("dangling", Some(true)).map_err(|error| Error::invalid(error.to_string()))?;
        let until = until(filters)?;
        let catalogue = Catalogue::read(self)?;
        let mut used: HashSet<String> =
            Record::all(&self.database())?.into_iter().map(|record| record.image_id).collect();
        used.extend(mounted_images(&self.database())?);
        let mut removed = Vec::new();
        for image in &catalogue.images {
            let is_named = !catalogue.names_of(&image.id).is_empty();
            let wanted = catalogue.is_top_level(image)
                && !used.contains(&image.id.to_string())
                && (dangling == Some(false) || !is_named)
                && is_old_enough(image, until)
                && labels_match(filters, &image.labels);
            if wanted {
                self.prune_one(&catalogue, image, &mut removed)?;
            }
        }
        self.tidy_images();
        let reclaimed = reclaimed(&catalogue, &removed);
        self.events.append(&events::pruned("image", reclaimed));
        Ok((removed, reclaimed))
    }

    fn prune_one(
        &self,
        catalogue: &Catalogue,
        image: &ImageRecord,
        removed: &mut Vec<ImageDelete>,
    ) -> Result<()> {
        let names = catalogue.names_of(&image.id);
        let references: Vec<String> = if names.is_empty() {
            vec![image.id.to_string()]
        } else {
            names.iter().map(|name| name.canonical.clone()).collect()
        };
        for reference in &references {
            match self.remove_unswept(reference, ImageRemoveOptions::default()) {
                Ok(more) => removed.extend(more),
                // Used or removed by somebody else meanwhile: not ours to delete.
                Err(Error::State { .. } | Error::NoSuchImage { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_old_enough(image: &ImageRecord, until: Option<Timestamp>) -> bool {
    until.is_none_or(|until| image.created < until)
}

fn labels_match(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    filters.match_kv_list("label", |key| label(labels, key))
        && (!filters.contains("label!") || !filters.match_kv_list("label!", |key| label(labels, key)))
}

/// Bytes of the layers among what was deleted.
fn reclaimed(catalogue: &Catalogue, removed: &[ImageDelete]) -> u64 {
    let layers = catalogue.images.iter().flat_map(|image| &image.layers);
    let sizes: HashMap<String, u64> = layers.map(|layer| (layer.diff_id.to_string(), layer.size)).collect();
    removed
        .iter()
        .filter_map(|entry| match entry {
            ImageDelete::Deleted(id) => sizes.get(id),
            ImageDelete::Untagged(_) => None,
        })
        .sum()
}
