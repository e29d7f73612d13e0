//! `inspect` and `history` of an image.

use crate::Local;
use crate::error::Result;
use crate::image::config::container_config;
use crate::image::list::{Catalogue, signed};
use crate::image::record::ImageRecord;
use mica_api::types::container::GraphDriver;
use mica_api::types::image::{HistoryEntry, ImageInspect, ImageMetadata, RootFs};
use mica_image::{History, ImageConfig};
use std::collections::BTreeMap;

impl Local {
    /// Everything about one image.
    pub(crate) fn inspect_image(&self, reference: &str, platform: &str) -> Result<ImageInspect> {
        let image = self.image_for(reference, platform)?;
        let config = self.image_config(&image)?;
        let names = Catalogue::read(self)?;
        let familiar = |digested: bool| {
            let names = names.names_of(&image.id).iter().map(|name| &name.reference);
            names.filter(|name| name.digest().is_some() == digested).map(|name| name.familiar()).collect()
        };
        let layer_paths: Vec<String> =
            self.layer_directories(&image)?.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        Ok(ImageInspect {
            id: image.id.to_string(),
            repo_tags: familiar(false),
            repo_digests: familiar(true),
            parent: image.parent.map(|parent| parent.to_string()).unwrap_or_default(),
            comment: config.comment().to_owned(),
            created: Some(config.created())
                .filter(|created| !created.is_never())
                .map(|created| created.to_string()),
            author: config.author().to_owned(),
            config: Some(container_config(&config).into()),
            architecture: config.architecture().to_owned(),
            variant: config.variant().to_owned(),
            os: config.os().to_owned(),
            size: signed(image.size),
            graph_driver: graph_driver(&layer_paths),
            root_fs: RootFs {
                kind: "layers".to_owned(),
                layers: config.diff_ids().iter().map(ToString::to_string).collect(),
            },
            metadata: ImageMetadata { last_tag_time: image.last_tagged },
            layer_paths,
        })
    }

    /// How an image was made, newest step first; the steps of ancestors that are here carry their
    /// ids and names.
    pub(crate) fn image_history(&self, reference: &str, platform: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.image_for(reference, platform)?;
        let config = self.image_config(&image)?;
        let catalogue = Catalogue::read(self)?;
        let mut rows: Vec<HistoryEntry> =
            steps(&config, image.layers.len()).iter().map(|step| self.row(&image, step)).collect();
        rows.reverse();
        let mut ancestor = Some(&image);
        for row in &mut rows {
            let Some(owner) = ancestor else { break };
            row.id = owner.id.to_string();
            let names = catalogue.names_of(&owner.id).iter().map(|name| name.reference.familiar());
            row.tags = Some(names.collect::<Vec<String>>()).filter(|tags| !tags.is_empty());
            ancestor = owner.parent.and_then(|parent| catalogue.by_id(&parent));
        }
        Ok(rows)
    }

    fn row(&self, image: &ImageRecord, step: &Step) -> HistoryEntry {
        let layer = step.layer.and_then(|index| image.layers.get(index));
        HistoryEntry {
            id: "<missing>".to_owned(),
            created: step.history.created.seconds(),
            created_by: step.history.created_by.clone(),
            tags: None,
            size: layer.map_or(0, |layer| signed(layer.size)),
            comment: step.history.comment.clone(),
            layer_path: layer
                .map(|layer| self.layer_directory(layer).to_string_lossy().into_owned())
                .unwrap_or_default(),
        }
    }
}

/// A step of an image's making, with the layer that it made, counted from the base.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) history: History,
    pub(crate) layer: Option<usize>,
}

/// The steps of an image, oldest first. A history may say less than there are layers (some tools
/// write none at all): the layers that it doesn't speak of follow as steps without words.
pub(crate) fn steps(config: &ImageConfig, layer_count: usize) -> Vec<Step> {
    let mut next = 0;
    let mut steps: Vec<Step> = config
        .history()
        .iter()
        .map(|history| {
            let layer = (!history.empty_layer && next < layer_count).then_some(next);
            next += usize::from(layer.is_some());
            Step { history: history.clone(), layer }
        })
        .collect();
    let wordless = |index| Step {
        history: History { created: config.created(), ..History::default() },
        layer: Some(index),
    };
    steps.extend((next..layer_count).map(wordless));
    steps
}

fn graph_driver(layer_paths: &[String]) -> GraphDriver {
    let mut data = BTreeMap::new();
    if let Some((top, below)) = layer_paths.split_last() {
        data.insert("UpperDir".to_owned(), top.clone());
        if !below.is_empty() {
            let top_first: Vec<&str> = below.iter().rev().map(String::as_str).collect();
            data.insert("LowerDir".to_owned(), top_first.join(":"));
        }
    }
    GraphDriver { data, name: "overlay2".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_image::NewImage;

    fn layers_of(history: &[bool], layer_count: usize) -> Vec<Option<usize>> {
        let history =
            history.iter().map(|&empty_layer| History { empty_layer, ..History::default() }).collect();
        let config = NewImage { history, ..NewImage::default() }.into_config().unwrap();
        steps(&config, layer_count).iter().map(|step| step.layer).collect()
    }

    #[test]
    fn steps_find_their_layers_whatever_the_history_says() {
        assert_eq!(layers_of(&[false, true, false], 2), [Some(0), None, Some(1)]);
        assert_eq!(layers_of(&[], 2), [Some(0), Some(1)]);
        assert_eq!(layers_of(&[false, false], 1), [Some(0), None]);
        assert_eq!(layers_of(&[true], 1), [None, Some(0)]);
    }

    #[test]
    fn the_topmost_layer_is_the_upper_directory() {
        let driver = graph_driver(&["/a".to_owned(), "/b".to_owned(), "/c".to_owned()]);
        assert_eq!((driver.data["UpperDir"].as_str(), driver.data["LowerDir"].as_str()), ("/c", "/b:/a"));
        assert!(graph_driver(&[]).data.is_empty());
    }
}
