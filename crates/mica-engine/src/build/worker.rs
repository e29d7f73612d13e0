//! The hands of a build: what mica-build decides, done with the rooms.

use super::Member;
use super::bake::TARGET;
use super::bases::LAYOUT;
use super::cache::Row;
use super::caches::{Brought, Caches};
use super::context::{Context, Tree};
use super::crew::{Crew, Finished, held};
use super::network;
use super::remote::Remotes;
use crate::Local;
use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::record::LayerRecord;
use mica_api::engine::BuildListener;
use mica_api::types::build::{BuildEvent, BuildRequest};
use mica_build::image::{Config, Healthcheck, Image, Root};
use mica_build::worker::{Change, CopyStep, Origin, RunStep, StepNumber, Worker};
use mica_image::{ImageConfig, Platform};
use mica_model::{ContainerId, Digest, Timestamp};
use mica_snapshot::IngestedLayer;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A build on its way.
pub(super) struct Builder<'a> {
    pub(super) local: &'a Local,
    pub(super) request: &'a BuildRequest<'a>,
    pub(super) context: &'a Context,
    pub(super) remotes: &'a Remotes<'a>,
    /// Steps of other stores.
    pub(super) caches: &'a Caches,
    /// For which platform; empty for that of the host.
    pub(super) platform: &'a str,
    pub(super) named: BTreeMap<String, Tree>,
    pub(super) listener: BuildListener<'a>,
    /// Where the layers lie that images and steps have brought.
    pub(super) layers: Mutex<HashMap<Digest, LayerRecord>>,
    images: Mutex<HashMap<String, Image>>,
    /// Keys of steps that were found.
    used: Mutex<Vec<Digest>>,
    /// The builds that go on at the same time.
    pub(super) crew: &'a Crew,
    /// The name of this build among them.
    name: &'a str,
    /// Commands that have ended, with the streams of their monitors, which may still be at work.
    pub(super) spent: Mutex<Vec<(ContainerId, UnixStream)>>,
    /// Places on the default network that no command has just now.
    pub(super) networks: Mutex<Vec<network::Place>>,
    /// When the build began.
    pub(super) began: Timestamp,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        local: &'a Local,
        request: &'a BuildRequest<'a>,
        (context, remotes, caches, platform): (&'a Context, &'a Remotes<'a>, &'a Caches, &'a str),
        listener: BuildListener<'a>,
        member: Member<'a>,
    ) -> Result<Self> {
        let mut named = BTreeMap::new();
        for (name, value) in
            request.contexts.iter().filter(|(_, value)| !is_image(value) && !value.starts_with(TARGET))
        {
            let tree = match value.starts_with('/') {
                true => Tree::open(Path::new(value))?,
                false => Tree::bring(remotes, value)?,
            };
            named.insert(name.clone(), tree);
        }
        Ok(Self {
            local,
            request,
            context,
            remotes,
            caches,
            platform,
            named,
            listener,
            layers: Mutex::default(),
            images: Mutex::default(),
            used: Mutex::default(),
            crew: member.crew,
            name: member.name,
            spent: Mutex::default(),
            networks: Mutex::default(),
            began: Timestamp::from(std::time::SystemTime::now()),
        })
    }

    /// The time after which nothing of the result is said to have been made.
    pub(super) fn latest(&self) -> Option<Timestamp> {
        self.request.source_date_epoch.map(Timestamp::from_seconds)
    }

    /// When what is made now was made.
    pub(super) fn now(&self) -> Timestamp {
        self.latest().unwrap_or_else(|| Timestamp::from(std::time::SystemTime::now()))
    }

    pub(super) fn note(&self, step: StepNumber, text: impl Into<String>) {
        (self.listener)(BuildEvent::Note { step, text: text.into() });
    }

    /// The directories of layers, base first.
    pub(super) fn directories(&self, root: &Root) -> Result<Vec<PathBuf>> {
        let layers = held(&self.layers);
        root.layers
            .iter()
            .map(|diff_id| match layers.get(diff_id) {
                Some(layer) => Ok(self.local.layer_directory(layer)),
                None => Err(mica_snapshot::Error::UnknownLayer { name: diff_id.to_string() }.into()),
            })
            .collect()
    }

    /// A tree of the user's files.
    pub(super) fn tree(&self, origin: &Origin) -> Option<&Tree> {
        match origin {
            Origin::Context => Some(self.context.tree()),
            Origin::Named(name) => self.named.get(name),
            Origin::Root(_) => None,
        }
    }

    /// Makes a layer that the next step and the next build can use.
    pub(super) fn register(&self, layer: IngestedLayer) -> Result<Change> {
        let created = self.now();
        if layer.record().entries == 0 && crate::container::commit::is_empty(*layer.diff_id()) {
            return Ok(Change { layer: None, created });
        }
        let (size, entry_count) = (layer.record().size, layer.record().entries);
        let key = layer.register_unsynced()?;
        let record = LayerRecord { diff_id: key.diff_id, chain: key.chain, size, entry_count };
        held(&self.layers).insert(key.diff_id, record);
        Ok(Change { layer: Some(key.diff_id), created })
    }

    /// Notes which steps were used.
    pub(super) fn remember_uses(&self) -> Result<()> {
        self.local.used_steps(&held(&self.used))
    }

    /// A step that another store has done, as one of this store.
    fn bring_step(&self, key: &Digest) -> Result<Option<Change>> {
        let Some(brought) = self.caches.bring(self.local, &self.request.access, key)? else {
            return Ok(None);
        };
        let (change, description) = match brought {
            Brought::Here(change, record, description) => {
                held(&self.layers).extend(record.map(|record| (record.diff_id, record)));
                (change, description)
            }
            Brought::Unpacked(layer, created, description) => {
                let change = self.register(layer)?;
                let layers = held(&self.layers);
                let record = change.layer.and_then(|diff_id| layers.get(&diff_id));
                // It needs what lies below it to be whole, of which nothing is known here.
                if record.is_some_and(|record| record.chain.is_some()) {
                    return Ok(None);
                }
                (Change { created, ..change }, description)
            }
        };
        self.keep(key, &change, &description)?;
        Ok(Some(Change { created: self.latest().unwrap_or(change.created), ..change }))
    }

    /// What this build has made, for others that go on at the same time.
    pub(super) fn share(&self, image: &Image) {
        let finished = Finished { image: image.clone(), layers: held(&self.layers).clone() };
        self.crew.finish(&result_name(self.name, self.platform), finished.clone());
        self.crew.finish(self.name, finished);
    }

    fn find_image(&self, name: &str, platform: Option<&str>) -> Result<Image> {
        if let Some(target) = name.strip_prefix(RESULT) {
            let found =
                self.crew.result(&result_name(target, self.platform)).or_else(|| self.crew.result(target));
            let found = found.ok_or_else(|| Error::invalid(format!("target {target} is not built yet")))?;
            held(&self.layers).extend(found.layers);
            return Ok(found.image);
        }
        let record = match name.strip_prefix(LAYOUT) {
            Some(layout) => self.layout_image(layout, platform)?,
            None => self.named_image(name, platform)?,
        };
        let config = self.local.image_config(&record)?;
        if let Some(wanted) = platform {
            check_platform(name, &config, wanted)?;
        }
        let mut layers = held(&self.layers);
        for layer in &record.layers {
            layers.insert(layer.diff_id, layer.clone());
        }
        Ok(Image {
            root: Root { layers: config.diff_ids().to_vec() },
            config: defaults(config.config()),
            base: Some(record.id),
            ..Image::default()
        })
    }
}

/// Before the name of a build whose result stands for an image; no image has such a name.
pub(super) const RESULT: &str = "target://";

impl Worker for Builder<'_> {
    type Error = Error;

    fn image(&self, name: &str, platform: Option<&str>) -> Result<Image> {
        let key = format!("{name} {}", platform.unwrap_or_default());
        if let Some(image) = held(&self.images).get(&key) {
            return Ok(image.clone());
        }
        let image = self.find_image(name, platform)?;
        held(&self.images).insert(key, image.clone());
        Ok(image)
    }

    fn find(&self, key: &Digest) -> Result<Option<Change>> {
        self.crew.claim(key)?;
        let Some(row) = self.local.cached_step(key)? else { return self.bring_step(key) };
        self.crew.disclaim_all();
        held(&self.used).push(*key);
        let layer = row.layer.as_ref().map(|layer| layer.diff_id);
        if let Some(record) = row.layer {
            held(&self.layers).insert(record.diff_id, record);
        }
        let change = Change { layer, created: self.latest().unwrap_or(row.created) };
        self.caches.note(key, &change, &row.description);
        Ok(Some(change))
    }

    fn find_fresh(&self, key: &Digest) -> Result<Option<Change>> {
        self.crew.claim(key)?;
        if self.crew.has_done(key) { self.find(key) } else { Ok(None) }
    }

    fn keep(&self, key: &Digest, change: &Change, description: &str) -> Result<()> {
        let layer = change.layer.and_then(|diff_id| held(&self.layers).get(&diff_id).cloned());
        self.local.keep_step(&Row {
            key: key.to_string(),
            layer,
            created: change.created,
            last_used: Timestamp::from(std::time::SystemTime::now()),
            uses: 0,
            description: description.to_owned(),
        })?;
        self.crew.disclaim(key);
        self.caches.note(key, change, description);
        Ok(())
    }

    fn digest_sources(&self, step: &CopyStep) -> Result<Digest> {
        self.digest_of_copy(step)
    }

    fn digest_files(&self, origin: &Origin, path: &str) -> Result<Digest> {
        self.digest_of_path(origin, path)
    }

    fn copy(&self, root: &Root, step: &CopyStep, _: StepNumber) -> Result<Change> {
        self.copy_files(root, step)
    }

    fn run(&self, root: &Root, step: &RunStep, number: StepNumber) -> Result<Change> {
        self.run_command(root, step, number)
    }

    fn make_directory(&self, root: &Root, path: &str, user: &str) -> Result<Change> {
        self.make_working_directory(root, path, user)
    }

    fn cancel(&self) {
        self.crew.cancel(self.name);
    }
}

/// The result of a build for a platform, among the results of all.
fn result_name(build: &str, platform: &str) -> String {
    format!("{build} for {platform}")
}

/// Whether a further context is an image.
pub(super) fn is_image(context: &str) -> bool {
    context.starts_with("docker-image://") || context.starts_with(LAYOUT)
}

/// Refuses an image that was made for other machines than those asked for.
pub(super) fn check_platform(name: &str, config: &ImageConfig, wanted: &str) -> Result<()> {
    let wanted = wanted_platform(wanted)?;
    let own = Platform {
        os: config.os().to_owned(),
        architecture: config.architecture().to_owned(),
        variant: config.variant().to_owned(),
    };
    if own.architecture.is_empty() || wanted.suits(&own) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name}: no match for platform {wanted}: the image here is for {own}")))
}

/// The defaults of an image in the words of mica-build.
fn defaults(config: &mica_image::Config) -> Config {
    let config = config.clone();
    Config {
        user: config.user,
        exposed_ports: config.exposed_ports,
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        volumes: config.volumes,
        working_dir: config.working_dir,
        labels: config.labels,
        stop_signal: config.stop_signal,
        healthcheck: config.healthcheck.map(|check| Healthcheck {
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
