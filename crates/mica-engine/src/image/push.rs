//! `push`: an image goes to a registry, with the digests that it came with where that is possible.
//!
//! An image that was pulled keeps its manifest. Layers that the registry has are not sent, nor those that another of
//! its repositories can give; what is left is read from where it was pulled from, as the compressed bytes are
//! not kept here and no other compressor makes the same ones again. Only if they are to be had nowhere is a layer
//! compressed anew, and the image gets a manifest of its own; that is said. An image that came under an index goes with
//! it: `push_index.rs`.

use crate::error::{Error, Result};
use crate::image::origin::{self, LayerBlob, Origin};
use crate::image::record::ImageRecord;
use crate::image::registries::refused;
use crate::image::send::{AT_ONCE, Outbox, PACKED_AT_ONCE, note, send_all};
use crate::image::variant;
use crate::{Local, events, lock};
use mica_api::types::image::{ProgressEvent, PushRequest, PushedImage};
use mica_image::{ImageConfig, ManifestDocument, PackFormat, Packing, parse_manifest, write_manifest};
use mica_model::{Digest, Reference, Timestamp};
use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};

/// How many repositories are named to the giver of tokens as places to take layers over from.
const MOUNT_SOURCES_MAX: usize = 4;

/// What hears of progress.
type Listener<'a> = &'a (dyn Fn(ProgressEvent) + Sync);

/// An image on its way.
#[derive(Clone, Copy)]
pub(super) struct Push<'a> {
    /// The name that it is to have there.
    pub(super) name: &'a Reference,
    /// The name of it that tells under which index it came.
    pub(super) source: &'a str,
    pub(super) image: &'a ImageRecord,
    pub(super) outbox: &'a Outbox<'a>,
    /// The layers are to be compressed in this manner, whatever they came as.
    pub(super) is_anew: bool,
}

impl Push<'_> {
    /// Ends a push in docker's words.
    pub(super) fn told(&self, digest: &Digest, size: usize) {
        let tag = self.name.tag().unwrap_or_default();
        self.outbox.tell(note(format!("{tag}: digest: {digest} size: {size}")));
    }
}

impl Local {
    /// Sends an image, or all tags of a repository.
    pub(crate) fn push_images(
        &self,
        request: &PushRequest<'_>,
        progress: Listener<'_>,
    ) -> Result<Vec<PushedImage>> {
        let name = Reference::parse_normalized(&request.reference)
            .map_err(|error| Error::invalid(error.to_string()))?;
        if name.digest().is_some() {
            return Err(Error::invalid("cannot push a digest reference"));
        }
        if request.all_tags && name.tag().is_some() {
            return Err(Error::invalid("tag can't be used with --all-tags/-a"));
        }
        let packing = self.packing(request)?;
        let names = match request.all_tags {
            true => self.tags_of(&name)?,
            false => vec![name.clone().with_default_tag()],
        };
        if names.is_empty() {
            return Err(Error::NoImageToPush { name: name.familiar_name(), tag: None });
        }
        let mut images = Vec::new();
        for name in names {
            images.push((self.image_to_push(&name, &request.platform)?, name));
        }
        progress(note(format!("The push refers to repository [{}]", name.name())));
        // What is being read is not swept away.
        let _lock = lock::shared(&self.disk.image_lock())?;
        let mut pushed = Vec::new();
        for (image, name) in &images {
            let sources = self.mount_sources(image, name.domain())?;
            let repository = self.registries()?.repository_mounting(name, &sources, &request.access)?;
            let outbox = Outbox {
                local: self,
                name,
                repository: &repository,
                access: &request.access,
                packing,
                packers: OnceLock::new(),
                progress,
            };
            let is_anew = !request.compression.is_empty() || request.compression_level.is_some();
            let push = Push { name, source: &name.to_string(), image, outbox: &outbox, is_anew };
            pushed.push(self.push_with_index(&push, &request.platform)?);
        }
        Ok(pushed)
    }

    /// Sends an image that has `source` as one of its names, or none, under the name `target`.
    pub(super) fn push_as(
        &self,
        (image, source): (&ImageRecord, &str),
        target: &Reference,
        request: &PushRequest<'_>,
        progress: Listener<'_>,
    ) -> Result<PushedImage> {
        let _lock = lock::shared(&self.disk.image_lock())?;
        let sources = self.mount_sources(image, target.domain())?;
        let repository = self.registries()?.repository_mounting(target, &sources, &request.access)?;
        let outbox = Outbox {
            local: self,
            name: target,
            repository: &repository,
            access: &request.access,
            packing: self.packing(request)?,
            packers: OnceLock::new(),
            progress,
        };
        let push = Push { name: target, source, image, outbox: &outbox, is_anew: false };
        self.push_with_index(&push, &request.platform)
    }

    fn push_with_index(&self, push: &Push<'_>, platform: &str) -> Result<PushedImage> {
        let with_index = if push.is_anew { None } else { self.push_index(push, platform)? };
        let with_others = match (with_index, platform) {
            (None, "") => self.push_variants(push)?,
            (with_index, _) => with_index,
        };
        match with_others {
            Some(pushed) => Ok(pushed),
            None => {
                self.check_pushed_platform(push.image, platform)?;
                if push.is_anew {
                    // The blobs that an index leads to are not those that are made here.
                    self.leave_index(push)?;
                }
                self.push_one(push)
            }
        }
    }

    /// How layers are compressed: as asked for, else as the machine is set, else as everybody can read it.
    pub(crate) fn packing(&self, request: &PushRequest<'_>) -> Result<Packing> {
        let config = &self.config()?.registry;
        let (name, level) = match (request.compression.as_str(), request.compression_level) {
            ("", None) => (config.compression.as_str(), config.compression_level),
            ("", level) => (config.compression.as_str(), level),
            (name, level) => (name, level),
        };
        let name = if name.is_empty() { "gzip" } else { name };
        let format = PackFormat::from_name(name).ok_or_else(|| {
            Error::invalid(format!("unknown compression {name:?}: there are \"gzip\" and \"zstd\""))
        })?;
        Packing::new(format, level).ok_or_else(|| {
            let levels = format.levels();
            let (first, last) = (levels.start(), levels.end());
            Error::invalid(format!("the levels of {name} compression are {first} to {last}"))
        })
    }

    fn image_to_push(&self, name: &Reference, platform: &str) -> Result<ImageRecord> {
        let missing = |tag: Option<&str>| Error::NoImageToPush {
            name: name.familiar_name(),
            tag: tag.map(str::to_owned),
        };
        let Some(id) = ImageRecord::id_of_name(&self.database(), &name.to_string())? else {
            let has_others = !self.tags_of(name)?.is_empty();
            return Err(missing(name.tag().filter(|_| has_others)));
        };
        let image = ImageRecord::by_id(&self.database(), &id)?.ok_or_else(|| missing(name.tag()))?;
        match self.offers(&name.to_string(), platform)? {
            true => Ok(image),
            false => self.image_for(&name.to_string(), platform),
        }
    }

    fn tags_of(&self, repository: &Reference) -> Result<Vec<Reference>> {
        let names = ImageRecord::names(&self.database())?;
        let parsed = names.iter().filter_map(|(name, _)| Reference::parse_normalized(name).ok());
        Ok(parsed.filter(|name| name.name() == repository.name() && name.digest().is_none()).collect())
    }

    fn check_pushed_platform(&self, image: &ImageRecord, platform: &str) -> Result<()> {
        if platform.is_empty() {
            return Ok(());
        }
        let wanted = crate::image::load::wanted_platform(platform)?;
        let own = crate::image::pull::platform_of(&self.image_config(image)?);
        if wanted.suits(&own) {
            return Ok(());
        }
        Err(Error::NoSuchImage { reference: format!("{} for platform {wanted} (it is for {own})", image.id) })
    }

    /// Repositories of a registry that have layers of an image.
    fn mount_sources(&self, image: &ImageRecord, domain: &str) -> Result<Vec<String>> {
        let mut sources = BTreeSet::new();
        for layer in &image.layers {
            for (_, repository) in origin::blobs_of(&self.database(), &layer.diff_id)? {
                sources.extend(origin::path_in(&repository, domain).map(str::to_owned));
            }
        }
        Ok(sources.into_iter().take(MOUNT_SOURCES_MAX).collect())
    }

    fn push_one(&self, push: &Push<'_>) -> Result<PushedImage> {
        let (_, origin) = self.send_image(push)?;
        let tag = push.name.tag().unwrap_or_default();
        let manifest = &origin.manifest;
        let placed = push.outbox.repository.put_manifest(tag, &origin.media_type, manifest.bytes());
        placed.map_err(|error| refused("push", push.name, error))?;
        let is_own = ImageRecord::id_of_name(&self.database(), push.source)? == Some(push.image.id);
        let is_variant = variant::of_name(&self.database(), push.source)?.contains(&push.image.id);
        self.remember(push, &origin, is_own || !is_variant)?;
        let digest = *manifest.digest();
        push.told(&digest, manifest.bytes().len());
        self.events.append(&events::image("push", &push.image.id.to_string(), &push.name.familiar()));
        Ok(PushedImage { name: push.name.to_string(), digest: digest.to_string() })
    }

    /// Sends all of an image but its manifest.
    pub(super) fn send_image(&self, push: &Push<'_>) -> Result<(ImageConfig, Origin)> {
        let config = self.image_config(push.image)?;
        for layer in push.image.layers.iter().rev() {
            let text = "Preparing".to_owned();
            push.outbox.tell(ProgressEvent::Status { part: layer.diff_id.short(), text });
        }
        let as_it_came = if push.is_anew { None } else { self.push_as_it_came(push, &config)? };
        let origin = match as_it_came {
            Some(origin) => origin,
            None => push_anew(push, &config)?,
        };
        push.outbox.send_document(config.document())?;
        Ok((config, origin))
    }

    /// Takes note of what lies there now; an image that a common name stands for only for its platform gets no name of its
    /// own, which would keep it when the common one goes.
    pub(super) fn remember(&self, push: &Push<'_>, origin: &Origin, is_named: bool) -> Result<()> {
        self.blobs.store(&origin.manifest)?;
        let digested = push.name.clone().with_digest(*origin.manifest.digest()).to_string();
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database().write(|transaction| {
            push.image.check_exists(transaction)?;
            origin.insert(transaction, &push.image.id)?;
            match is_named {
                true => ImageRecord::give_name(transaction, &digested, &push.image.id, now).map(drop),
                false => Ok(()),
            }
        })?;
        self.database().make_durable()
    }

    /// Sends the layers under a manifest that the image came with; `None` if it has none, or if a layer of
    /// it is to be had nowhere.
    fn push_as_it_came(&self, push: &Push<'_>, config: &ImageConfig) -> Result<Option<Origin>> {
        // Taken first: the loop needs the database too.
        let known = origin::manifests_of(&self.database(), &push.image.id)?;
        for known in known {
            let Ok(document) = self.blobs.read(&known.digest) else { continue };
            let Ok(ManifestDocument::Manifest(manifest)) = parse_manifest(&document, &known.media_type)
            else {
                continue;
            };
            let layers = LayerBlob::all(manifest.layers(), config.diff_ids())?;
            let send = |number: usize| push.outbox.send_known(&layers[number], &known.repository);
            if send_all(layers.len(), AT_ONCE, &send)?.into_iter().all(|is_sent| is_sent) {
                return Ok(Some(Origin {
                    repository: push.name.name(),
                    manifest: document,
                    media_type: known.media_type,
                    layers,
                    index: None,
                }));
            }
        }
        Ok(None)
    }
}

/// Sends the layers as they are compressed here, under a manifest of our own.
fn push_anew(push: &Push<'_>, config: &ImageConfig) -> Result<Origin> {
    let layers = &push.image.layers;
    let blobs = Mutex::new(vec![None; layers.len()]);
    let send = |number: usize| {
        let blob = push.outbox.send_anew(&layers[number], push.is_anew)?;
        blobs.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(blob);
        Ok(true)
    };
    send_all(layers.len(), PACKED_AT_ONCE, &send)?;
    let layers: Vec<LayerBlob> =
        blobs.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect();
    let described: Vec<_> =
        layers.iter().map(|blob| (blob.media_type.as_str(), blob.digest, blob.size)).collect();
    let (manifest, media_type) = write_manifest(config, &described)?;
    let media_type = media_type.to_owned();
    Ok(Origin { repository: push.name.name(), manifest, media_type, layers, index: None })
}
