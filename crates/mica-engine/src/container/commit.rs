//! `commit`: a container's writable layer becomes the top layer of a new image.

use crate::container::record::{Definition, Record};
use crate::error::{Error, Result};
use crate::image::config::image_defaults;
use crate::image::import::missing;
use crate::image::record::ImageRecord;
use crate::image::register::{Fresh, NewRecord, check_depth};
use crate::image::tag::parse_target;
use crate::{Local, events, lock, system};
use mica_api::types::container::CommitRequest;
use mica_image::{History, NewImage, apply_changes, chain_ids, digest_of};
use mica_model::{Digest, Timestamp};
use mica_snapshot::{IngestedLayer, UpperSource};
use std::path::Path;

impl Local {
    /// Makes an image of a container; answers its id.
    pub(crate) fn commit(&self, request: &CommitRequest) -> Result<String> {
        let name = match request.reference.as_str() {
            "" => None,
            reference => Some(parse_target(reference)?),
        };
        let record = Record::find(&self.database(), &request.container)?;
        let definition = record.definition(&self.database())?;
        let mut defaults = image_defaults(definition.config.clone());
        apply_changes(&mut defaults, &request.changes)?;
        let (parent, mut image) = self.parent_of(&record)?;
        image.config = defaults;
        let layer = self.layer_of(&record, request.pause)?;
        let diff_id = *layer.diff_id();
        describe(&mut image, request, &definition, diff_id)?;
        let config = image.into_config()?;
        let id = config.id().to_string();
        let chain_id = chain_ids(config.diff_ids()).last().copied().unwrap_or(diff_id);
        // An empty layer completes no chain; it is dropped here and leaves nothing.
        let fresh = if is_empty(diff_id) { Fresh::new() } else { Fresh::from([(chain_id, layer)]) };
        let new = NewRecord { config, names: name.iter().cloned().collect(), parent, origin: None };
        self.add_images(&[new], fresh, &|job| Err(missing(&job.diff_id)))?;
        let familiar = name.map(|name| name.familiar()).unwrap_or_default();
        let more =
            [("comment", request.comment.clone()), ("imageID", id.clone()), ("imageRef", familiar.clone())];
        self.events.append(&events::container(&record, "commit", &more));
        if !familiar.is_empty() {
            self.events.append(&events::image("tag", &id, &familiar));
        }
        Ok(id)
    }

    /// The image below a container as the beginning of the new one. Where it was removed by force,
    /// the container's own layers are all that is left, and they alone do not make an image.
    fn parent_of(&self, record: &Record) -> Result<(Option<Digest>, NewImage)> {
        let parent = ImageRecord::find(&self.database(), &record.image_id)?;
        let mut image = NewImage::from_parent(&self.image_config(&parent)?);
        if image.architecture.is_empty() {
            image.architecture = system::architecture().to_owned();
        }
        Ok((Some(parent.id), image))
    }

    /// Copies the writable layer, frozen meanwhile if that was asked for.
    fn layer_of(&self, record: &Record, is_paused: bool) -> Result<IngestedLayer> {
        let disk = self.disk.container(&record.id);
        let _lock = lock::container(&disk, &record.id)?;
        let _frozen = match record.observe(&disk).status {
            "running" if is_paused => match Frozen::new(self, record, disk.run()) {
                // It has just ended by itself.
                Err(Error::Runtime(mica_runtime::RuntimeError::NotRunning { .. })) => None,
                frozen => Some(frozen?),
            },
            _ => None,
        };
        Ok(self.layers.ingest_upper(&disk.upper(), UpperSource::Copy)?)
    }
}

/// Author, message, time, and the step that made the new layer.
fn describe(
    image: &mut NewImage,
    request: &CommitRequest,
    definition: &Definition,
    diff_id: Digest,
) -> Result<()> {
    let now = Timestamp::from(std::time::SystemTime::now());
    image.created = now;
    image.author.clone_from(&request.author);
    image.comment.clone_from(&request.comment);
    let step = History {
        created: now,
        created_by: definition.command.join(" "),
        author: request.author.clone(),
        comment: request.comment.clone(),
        empty_layer: true,
    };
    if is_empty(diff_id) {
        image.history.push(step);
        return Ok(());
    }
    image.push_layer(diff_id, step);
    check_depth(image.diff_ids.len())
}

/// Whether it is the digest of an archive of nothing but its end: two blocks of zeros.
pub(crate) fn is_empty(diff_id: Digest) -> bool {
    diff_id == digest_of(&[0; 1024])
}

/// A container whose processes stand still until this is dropped.
struct Frozen<'a> {
    engine: &'a Local,
    record: &'a Record,
    run_directory: &'a Path,
}

impl<'a> Frozen<'a> {
    fn new(engine: &'a Local, record: &'a Record, run_directory: &'a Path) -> Result<Self> {
        if let Err(error) = mica_runtime::pause(run_directory) {
            // Some of its processes may stand still already.
            let _ = mica_runtime::resume(run_directory);
            return Err(error.into());
        }
        engine.events.append(&events::container(record, "pause", &[]));
        Ok(Self { engine, record, run_directory })
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // It fails for a container that was killed meanwhile, which is no longer frozen either.
        if mica_runtime::resume(self.run_directory).is_ok() {
            self.engine.events.append(&events::container(self.record, "unpause", &[]));
        }
    }
}
