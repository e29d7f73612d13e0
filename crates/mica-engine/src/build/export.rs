//! From the end of a build to an image of the store.

use super::EXPORT_STEP;
use super::worker::Builder;
use crate::error::Result;
use crate::events;
use crate::image::import::missing;
use crate::image::load::wanted_platform;
use crate::image::record::ImageRecord;
use crate::image::register::{Fresh, NewRecord, check_depth};
use mica_api::types::build::{BuildEvent, BuildOutcome};
use mica_build::image::{Config, Image};
use mica_image::{History, ImageConfig, NewImage};
use mica_model::{Reference, Timestamp};

/// What docker's builder says of itself in histories.
const COMMENT: &str = "buildkit.dockerfile.v0";

impl Builder<'_> {
    /// Records the image of a build under its names.
    pub(super) fn export(&self, image: &Image, names: &[Reference]) -> Result<BuildOutcome> {
        let step = EXPORT_STEP;
        (self.listener)(BuildEvent::Begin { step, name: "exporting to image".to_owned() });
        let base = match &image.base {
            Some(id) => {
                let record = ImageRecord::by_id(&self.local.database(), id)?;
                record.map(|record| self.local.image_config(&record)).transpose()?
            }
            None => None,
        };
        let configs = self.configs(image, base.as_ref())?;
        let Some(last) = configs.last() else {
            return Ok(BuildOutcome { image_id: String::new(), names: Vec::new() });
        };
        check_depth(last.diff_ids().len())?;
        let id = *last.id();
        self.write_outputs(image, last, names)?;
        if self.request.store && !self.is_recorded(&id, names)? {
            self.note(step, "exporting layers");
            let mut parent = image.base;
            let mut records = Vec::new();
            let count = configs.len();
            for (index, config) in configs.into_iter().enumerate() {
                let id = *config.id();
                let names = if index + 1 == count { names.to_vec() } else { Vec::new() };
                records.push(NewRecord { config, names, parent, origin: None });
                parent = Some(id);
            }
            self.local.add_images(&records, Fresh::new(), &|job| Err(missing(&job.diff_id)))?;
        }
        let id = id.to_string();
        if self.request.store {
            self.note(step, format!("writing image {id}"));
            for name in names {
                self.note(step, format!("naming to {name}"));
                self.local.events.append(&events::image("tag", &id, &name.familiar()));
            }
        }
        (self.listener)(BuildEvent::Done { step });
        Ok(BuildOutcome { image_id: id, names: names.iter().map(Reference::familiar).collect() })
    }

    /// Whether the image is there already and has all the names.
    fn is_recorded(&self, id: &mica_model::Digest, names: &[Reference]) -> Result<bool> {
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
    fn configs(&self, image: &Image, base: Option<&ImageConfig>) -> Result<Vec<ImageConfig>> {
        let mut new = match base {
            Some(base) => NewImage::from_parent(base),
            None => NewImage::default(),
        };
        if new.architecture.is_empty() {
            // Nothing of another machine was needed.
            let platform = wanted_platform(&self.request.platform)?;
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
                comment: COMMENT.to_owned(),
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
