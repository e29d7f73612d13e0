//! `--squash`: what a build has added becomes one layer on its base.

use super::Steps;
use super::places::{Place, read_only};
use super::worker::Builder;
use crate::error::Result;
use mica_build::image::{History, Image, Root};
use mica_build::worker::Worker;
use mica_model::Digest;
use mica_snapshot::graft;
use sha2::{Digest as _, Sha256};
use std::os::fd::AsFd;

impl Builder<'_> {
    /// The image as the request wants it.
    pub(super) fn maybe_squash(&self, image: Image, steps: &Steps<'_>) -> Result<Image> {
        match self.request.squash {
            true => steps.whole(steps.next(), "squashing layers", || self.squash(image)),
            false => Ok(image),
        }
    }

    /// The same image with one layer on those of its base. As docker has it, the history keeps its lines.
    fn squash(&self, image: Image) -> Result<Image> {
        let base = self.base_config(&image)?;
        let count = base.as_ref().map_or(0, |base| base.diff_ids().len());
        let (below, above) = image.root.layers.split_at(count.min(image.root.layers.len()));
        if above.is_empty() {
            return Ok(image);
        }
        let key = key(below, above);
        let change = match self.find(&key)? {
            Some(change) => change,
            None => {
                let change = self.merge_layers(below, above)?;
                self.keep(&key, &change, "squash")?;
                change
            }
        };
        let whole = self.configs(&image, base.as_ref())?.pop();
        let whole = whole.map(|config| config.id().to_string()).unwrap_or_default();
        let onto = image.base.map(|id| id.to_string()).unwrap_or_default();
        let layers = below.iter().copied().chain(change.layer).collect();
        let mut image = image;
        image.history.iter_mut().for_each(|step| step.empty_layer = true);
        image.history.push(History {
            created: Some(change.created),
            comment: Some(format!("merge {whole} to {onto}")),
            empty_layer: change.layer.is_none(),
            ..History::default()
        });
        image.root = Root { layers };
        Ok(image)
    }

    fn merge_layers(&self, below: &[Digest], above: &[Digest]) -> Result<mica_build::worker::Change> {
        let [below, above] = [below, above].map(|layers| self.directories(&Root { layers: layers.to_vec() }));
        let (below, above) = (below?, above?);
        let place = Place::new(self, &[&below[..], &above[..]].concat())?;
        let root = if below.is_empty() { None } else { Some(read_only(&below)?) };
        graft::merge(&above, root.as_ref().map(AsFd::as_fd), &place.disk.upper())?;
        drop(root);
        let layer = self.local.layers.ingest_upper_until(&place.disk.upper(), self.latest())?;
        self.register(layer)
    }
}

fn key(below: &[Digest], above: &[Digest]) -> Digest {
    let mut key = Sha256::new();
    key.update(b"squash");
    for layers in [below, above] {
        key.update((layers.len() as u64).to_le_bytes());
        layers.iter().for_each(|layer| key.update(layer.as_bytes()));
    }
    Digest::from_bytes(key.finalize().into())
}
