//! How new images come into the store: layers unpacked in parallel, all checked, then recorded at
//! once. Load, import, commit and the embedded image all come this way.
//!
//! Order: unpack into places that nobody sees; settle what depends on layers below; one
//! `syncfs(2)`; register the layers; store the configs; one transaction; make it durable. Killed
//! anywhere before the transaction, nothing is listed and the next command tidies up.

use crate::error::{Error, Result};
use crate::image::origin::Origin;
use crate::image::record::{ImageRecord, LayerRecord};
use crate::{Local, lock};
use mica_image::{ImageConfig, chain_ids};
use mica_model::{Digest, Reference, Timestamp};
use mica_snapshot::IngestedLayer;
use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most layers that an image may have: docker's limit.
const LAYERS_MAX: usize = 127;

/// An image to be recorded.
#[derive(Debug)]
pub(crate) struct NewRecord {
    pub(crate) config: ImageConfig,
    pub(crate) names: Vec<Reference>,
    pub(crate) parent: Option<Digest>,
    /// Where it was pulled from.
    pub(crate) origin: Option<Origin>,
}

/// Unpacked layers that are not registered yet, by the chain id that each will complete.
pub(crate) type Fresh = HashMap<Digest, IngestedLayer>;

/// A layer to be unpacked: which image wants it, and which of its layers it is, from the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) image: usize,
    pub(crate) layer: usize,
    pub(crate) diff_id: Digest,
    chain_id: Digest,
}

/// Unpacks the layer of a job; called from several threads.
pub(crate) type Unpack<'a> = &'a (dyn Fn(Job) -> Result<IngestedLayer> + Sync);

impl Local {
    /// Unpacks what is missing with `unpack` and records `images`.
    pub(crate) fn add_images(
        &self,
        images: &[NewRecord],
        mut fresh: Fresh,
        unpack: Unpack<'_>,
    ) -> Result<()> {
        for image in images {
            check_depth(image.config.diff_ids().len())?;
        }
        loop {
            let jobs = self.missing(images, &fresh)?;
            fresh.extend(unpack_all(&jobs, processors(), unpack)?);
            if self.record(images, &mut fresh)? {
                return Ok(());
            }
            // A layer that was there has been deleted meanwhile: it is unpacked like the others.
        }
    }

    /// Unpacks one layer from its uncompressed tar stream.
    pub(crate) fn unpack(&self, reader: impl Read) -> Result<IngestedLayer> {
        Ok(self.layers.ingest(reader)?)
    }

    /// The layers that are neither in the store nor in `fresh`.
    pub(crate) fn missing(&self, images: &[NewRecord], fresh: &Fresh) -> Result<Vec<Job>> {
        let mut jobs: Vec<Job> = Vec::new();
        for (number, image) in images.iter().enumerate() {
            let diff_ids = image.config.diff_ids();
            for (layer, (&diff_id, chain_id)) in diff_ids.iter().zip(chain_ids(diff_ids)).enumerate() {
                let known = fresh.contains_key(&chain_id)
                    || jobs.iter().any(|job| job.chain_id == chain_id)
                    || self.layers.find(&diff_id, &diff_ids[..layer])?.is_some();
                if !known {
                    jobs.push(Job { image: number, layer, diff_id, chain_id });
                }
            }
        }
        Ok(jobs)
    }

    /// Records the images; `false` if a layer that was not unpacked is not in the store either.
    pub(crate) fn record(&self, images: &[NewRecord], fresh: &mut Fresh) -> Result<bool> {
        let _lock = lock::shared(&self.disk.image_lock())?;
        if !self.missing(images, fresh)?.is_empty() {
            return Ok(false);
        }
        if !fresh.is_empty() {
            for image in images {
                self.settle(image.config.diff_ids(), fresh)?;
            }
            self.layers.sync()?;
        }
        let mut records = Vec::new();
        for image in images {
            let layers = self.register_layers(image.config.diff_ids(), fresh)?;
            // A build may have left some that are not durable yet.
            self.layers.make_durable(&layers.iter().map(LayerRecord::key).collect::<Vec<_>>())?;
            self.blobs.store(image.config.document())?;
            if let Some(origin) = &image.origin {
                self.blobs.store(&origin.manifest)?;
                origin.index.as_ref().map_or(Ok(()), |index| self.blobs.store(&index.document))?;
            }
            records.push(image_record(image, layers));
        }
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database().write(|transaction| {
            for (image, record) in images.iter().zip(&records) {
                record.insert(transaction)?;
                if let Some(origin) = &image.origin {
                    origin.insert(transaction, &record.id)?;
                }
                for name in &image.names {
                    ImageRecord::give_name(transaction, &name.to_string(), &record.id, now)?;
                    if let Some(index) = image.origin.as_ref().and_then(|origin| origin.index.as_ref()) {
                        ImageRecord::give_index(transaction, &name.to_string(), index.document.digest())?;
                    }
                }
            }
            Ok(())
        })?;
        self.database().make_durable()?;
        Ok(true)
    }

    /// Pays what fresh layers owe to those below them.
    fn settle(&self, diff_ids: &[Digest], fresh: &mut Fresh) -> Result<()> {
        // The topmost first.
        let mut lowers: Vec<PathBuf> = Vec::new();
        for (index, chain_id) in chain_ids(diff_ids).into_iter().enumerate() {
            let tree = match fresh.get_mut(&chain_id) {
                Some(layer) => {
                    layer.settle(&diff_ids[..index], &lowers)?;
                    layer.tree()
                }
                None => match self.layers.find(&diff_ids[index], &diff_ids[..index])? {
                    Some(key) => self.layers.tree(&key),
                    None => continue,
                },
            };
            lowers.insert(0, tree);
        }
        Ok(())
    }

    /// Registers the fresh ones among the layers of an image; answers all of them, base first.
    fn register_layers(&self, diff_ids: &[Digest], fresh: &mut Fresh) -> Result<Vec<LayerRecord>> {
        let mut layers = Vec::new();
        for (index, chain_id) in chain_ids(diff_ids).into_iter().enumerate() {
            let diff_id = &diff_ids[index];
            let key = match fresh.remove(&chain_id) {
                Some(layer) => layer.register(Some(diff_id))?,
                None => self
                    .layers
                    .find(diff_id, &diff_ids[..index])?
                    .ok_or_else(|| mica_snapshot::Error::UnknownLayer { name: diff_id.to_string() })?,
            };
            let record = self.layers.record(&key)?;
            layers.push(LayerRecord {
                diff_id: key.diff_id,
                chain: key.chain,
                size: record.size,
                entry_count: record.entries,
            });
        }
        Ok(layers)
    }
}

/// Refuses more layers than one mount may have.
pub(crate) fn check_depth(count: usize) -> Result<()> {
    if count <= LAYERS_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "max depth exceeded: the image would have {count} layers, {LAYERS_MAX} are possible"
    )))
}

fn image_record(image: &NewRecord, layers: Vec<LayerRecord>) -> ImageRecord {
    ImageRecord {
        id: *image.config.id(),
        parent: image.parent,
        created: image.config.created(),
        size: layers.iter().map(|layer| layer.size).sum(),
        last_tagged: Timestamp::NEVER,
        labels: image.config.config().labels.clone(),
        layers,
    }
}

/// As many threads as there are processors, two at least: one may wait for the disk.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().max(2))
}

/// Unpacks so many layers at once; answers the first error.
pub(crate) fn unpack_all(jobs: &[Job], at_once: usize, unpack: Unpack<'_>) -> Result<Fresh> {
    let threads = at_once.min(jobs.len());
    let next = AtomicUsize::new(0);
    let is_failed = AtomicBool::new(false);
    let done: Mutex<Result<Fresh>> = Mutex::new(Ok(Fresh::new()));
    let work = || {
        while !is_failed.load(Ordering::Relaxed) {
            let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let layer = unpack(*job);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            match (layer, done.as_mut()) {
                (Ok(layer), Ok(fresh)) => {
                    fresh.insert(job.chain_id, layer);
                }
                (Err(error), Ok(_)) => {
                    is_failed.store(true, Ordering::Relaxed);
                    *done = Err(error);
                }
                // The first error is the one to tell.
                (_, Err(_)) => {}
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}
