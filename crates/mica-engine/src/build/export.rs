//! From the end of a build to an image of the store.

use super::crew::held;
use super::outputs::write_outputs;
use super::worker::Builder;
use super::{EXPORT_STEP, Steps};
use crate::error::{Error, Result};
use crate::events;
use crate::image::import::missing;
use crate::image::load::wanted_platform;
use crate::image::record::ImageRecord;
use crate::image::register::{Fresh, NewRecord, check_depth};
use crate::image::variant;
use mica_api::types::build::{BuildCacheTarget, BuildEvent, BuildOutcome};
use mica_build::image::{Config, Image};
use mica_image::{History, ImageConfig, NewImage, Platform};
use mica_model::{Digest, Reference, Timestamp};
use std::collections::HashMap;

/// What docker's builder says of itself in histories.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// What a build for one platform has made.
pub(super) struct Made<'a> {
    pub(super) builder: Builder<'a>,
    pub(super) image: Image,
}

/// The same as an image of the store.
pub(super) struct Finished<'m, 'a> {
    pub(super) builder: &'m Builder<'a>,
    pub(super) image: &'m Image,
    /// The image.
    pub(super) config: ImageConfig,
    /// Those between, with the layers before its last one.
    between: Vec<ImageConfig>,
}

/// Writes what was made where it is to go, and records it under its names.
pub(super) fn export(made: &[Made<'_>], names: &[Reference]) -> Result<BuildOutcome> {
    let finished = made.iter().map(Finished::new).collect::<Result<Vec<_>>>()?;
    let host = Platform::host();
    let own = finished.iter().position(|finished| host.suits(&finished.platform())).unwrap_or(0);
    let Some(chosen) = finished.get(own) else {
        return Err(Error::invalid("there is no platform to build for"));
    };
    let (builder, step) = (chosen.builder, EXPORT_STEP);
    (builder.listener)(BuildEvent::Begin { step, name: "exporting to image".to_owned() });
    let id = chosen.config.id().to_string();
    let written = write_outputs(&finished, names)?;
    if builder.request.store {
        for (index, finished) in finished.iter().enumerate() {
            finished.store(if index == own { names } else { &[] })?;
        }
        name_all(&finished, names, &chosen.config)?;
        builder.note(step, format!("writing image {id}"));
        for name in names {
            builder.note(step, format!("naming to {name}"));
            builder.local.events.append(&events::image("tag", &id, &name.familiar()));
        }
    }
    (builder.listener)(BuildEvent::Done { step });
    let digest = written.map_or_else(|| id.clone(), |digest| digest.to_string());
    let names = names.iter().map(Reference::familiar).collect();
    Ok(BuildOutcome { image_id: id, digest, names })
}

/// Has the names stand for the images of all platforms, if there are several.
fn name_all(finished: &[Finished<'_, '_>], names: &[Reference], own: &ImageConfig) -> Result<()> {
    let Some(local) = finished.first().map(|first| first.builder.local) else { return Ok(()) };
    let images: Vec<Digest> = match finished.len() {
        1 => Vec::new(),
        _ => finished.iter().map(|finished| *finished.config.id()).collect(),
    };
    for name in names {
        let name = name.to_string();
        if variant::of_name(&local.database(), &name)? == images {
            continue;
        }
        local.database().write(|transaction| match ImageRecord::has_name(transaction, &name, own.id())? {
            true => variant::give(transaction, &name, &images),
            // Somebody has given it to another image meanwhile.
            false => Ok(()),
        })?;
    }
    Ok(())
}

/// Keeps the steps for other stores, where that was asked for.
pub(super) fn export_caches(made: &[Made<'_>], steps: &Steps<'_>) -> Result<()> {
    let Some(Made { builder, .. }) = made.first() else { return Ok(()) };
    let request = builder.request;
    let is_elsewhere = |target: &&BuildCacheTarget| **target != BuildCacheTarget::Inline;
    let name = match request.cache_to.iter().find(is_elsewhere) {
        None => return Ok(()),
        Some(BuildCacheTarget::Registry { .. }) => "exporting cache to registry",
        Some(_) => "exporting cache to client directory",
    };
    let layers: Vec<Digest> = made.iter().flat_map(|made| made.image.root.layers.iter().copied()).collect();
    let mut records = HashMap::new();
    for made in made {
        records.extend(held(&made.builder.layers).iter().map(|(diff_id, layer)| (*diff_id, layer.clone())));
    }
    steps.whole(steps.next(), name, || builder.caches.export(builder.local, request, (&layers, &records)))
}

impl<'m, 'a> Finished<'m, 'a> {
    pub(super) fn new(made: &'m Made<'a>) -> Result<Self> {
        let (builder, image) = (&made.builder, &made.image);
        let base = builder.base_config(image)?;
        let mut between = builder.configs(image, base.as_ref())?;
        let config = between.pop().ok_or_else(|| Error::invalid("the build has made nothing"))?;
        check_depth(config.diff_ids().len())?;
        Ok(Self { builder, image, config, between })
    }

    /// For which platform it is.
    pub(super) fn platform(&self) -> Platform {
        Platform {
            os: self.config.os().to_owned(),
            architecture: self.config.architecture().to_owned(),
            variant: self.config.variant().to_owned(),
        }
    }

    /// Records it, and those between.
    fn store(&self, names: &[Reference]) -> Result<()> {
        let builder = self.builder;
        if builder.is_recorded(self.config.id(), names)? {
            return Ok(());
        }
        builder.note(EXPORT_STEP, "exporting layers");
        let mut parent = self.image.base;
        let mut records = Vec::new();
        for config in &self.between {
            let id = *config.id();
            records.push(NewRecord { config: config.clone(), names: Vec::new(), parent, origin: None });
            parent = Some(id);
        }
        let config = self.config.clone();
        records.push(NewRecord { config, names: names.to_vec(), parent, origin: None });
        builder.local.add_images(&records, Fresh::new(), &|job| Err(missing(&job.diff_id)))
    }
}

impl Builder<'_> {
    /// The image that a result stands on.
    pub(super) fn base_config(&self, image: &Image) -> Result<Option<ImageConfig>> {
        let Some(id) = &image.base else { return Ok(None) };
        let record = ImageRecord::by_id(&self.local.database(), id)?;
        record.map(|record| self.local.image_config(&record)).transpose()
    }

    /// Whether the image is there already and has all the names.
    fn is_recorded(&self, id: &Digest, names: &[Reference]) -> Result<bool> {
        let database = self.local.database();
        if ImageRecord::by_id(&database, id)?.is_none() {
            return Ok(false);
        }
        for name in names {
            if ImageRecord::id_of_name(&database, &name.to_string())? != Some(*id) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The configs of the result, the last one, and of the images between, one for each layer before the last.
    pub(super) fn configs(&self, image: &Image, base: Option<&ImageConfig>) -> Result<Vec<ImageConfig>> {
        let mut new = match base {
            Some(base) => NewImage::from_parent(base),
            None => NewImage::default(),
        };
        if new.architecture.is_empty() {
            // Nothing of another machine was needed.
            let platform = wanted_platform(self.platform)?;
            (new.architecture, new.variant) = (platform.architecture, platform.variant);
        }
        if new.os.is_empty() {
            new.os = "linux".to_owned();
        }
        new.created = match (self.latest(), base) {
            (Some(latest), _) => latest,
            (None, Some(base)) if !base.created().is_never() => base.created(),
            _ => self.first_time(image),
        };
        let defaults = config(&image.config);
        let count = image.history.iter().filter(|step| !step.empty_layer).count();
        let mut layers = image.root.layers[image.root.layers.len().saturating_sub(count)..].iter();
        let mut configs = Vec::new();
        for (index, step) in image.history.iter().enumerate() {
            if let Some(created) = step.created {
                new.created = created;
            }
            let history = History {
                created: new.created,
                created_by: step.created_by.clone(),
                comment: step.comment.clone().unwrap_or_else(|| COMMENT.to_owned()),
                empty_layer: step.empty_layer,
                ..History::default()
            };
            match if step.empty_layer { None } else { layers.next() } {
                Some(layer) => {
                    new.push_layer(*layer, history);
                    if index + 1 < image.history.len() {
                        let mut between = new.clone();
                        between.config = defaults.clone();
                        configs.push(between.into_config()?);
                    }
                }
                None => new.history.push(history),
            }
        }
        new.config = defaults;
        new.author = image.author.clone().unwrap_or_default();
        if self.request.cache_to.contains(&BuildCacheTarget::Inline) {
            new.build_cache = self.caches.of_image(&image.root.layers);
        }
        let last = new.into_config()?;
        configs.retain(|between| between.id() != last.id());
        configs.push(last);
        Ok(configs)
    }

    /// The time of an image without any history: that of the build.
    fn first_time(&self, image: &Image) -> Timestamp {
        image.history.iter().find_map(|step| step.created).unwrap_or(self.began)
    }
}

/// The defaults in the words of images.
fn config(config: &Config) -> mica_image::Config {
    let config = config.clone();
    mica_image::Config {
        user: config.user,
        exposed_ports: config.exposed_ports,
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        volumes: config.volumes,
        working_dir: config.working_dir,
        labels: config.labels,
        stop_signal: config.stop_signal,
        args_escaped: false,
        healthcheck: config.healthcheck.map(|check| mica_image::Healthcheck {
            test: check.test,
            interval: check.interval,
            timeout: check.timeout,
            start_period: check.start_period,
            start_interval: check.start_interval,
            retries: check.retries,
        }),
        on_build: config.on_build,
        shell: config.shell,
    }
}
