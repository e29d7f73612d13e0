//! `image copy`: an image from one place to another without a copy here: registries, OCI layouts, archives and the
//! store. What has a manifest keeps it, and with it all digests.

use crate::error::{Error, Result};
use crate::image::load::{Choice, wanted_platform};
use crate::image::origin;
use crate::image::pull::DEPTH_MAX;
use crate::image::record::ImageRecord;
use crate::image::send::Outbox;
use crate::image::transfer::files::{ArchiveTaker, DirectoryTaker, FilesGiver};
use crate::image::transfer::registry::{RegistryGiver, RegistryTaker};
use crate::image::transfer::store::StoreGiver;
use crate::image::transfer::{Carriage, Giver, Parcel, Role, Taker};
use crate::{Local, events};
use mica_api::types::image::{
    CopiedImage, ImageCopyRequest, ImageSource, ImageTarget, ProgressEvent, PushRequest,
};
use mica_image::{ArchiveImage, ManifestDocument, parse_parcel, write_manifest};
use mica_model::Reference;
use mica_registry::Registries;
use std::fs::File;
use std::io;
use std::sync::OnceLock;

/// What hears of progress.
type Listener<'a> = &'a (dyn Fn(ProgressEvent) + Sync);

/// What a copy is like, besides from where to where.
struct Manner<'a> {
    /// All of an index, and not the image of one platform.
    is_whole: bool,
    platform: &'a str,
    registries: &'a Registries,
    progress: Listener<'a>,
}

impl Local {
    /// Copies an image; answers the digest that it has in the new place.
    pub(crate) fn copy_image(
        &self,
        request: ImageCopyRequest<'_, '_>,
        progress: Listener<'_>,
    ) -> Result<CopiedImage> {
        let mut registries = self.registries()?.clone();
        if request.is_insecure {
            for address in [request.source.registry(), request.target.registry()].into_iter().flatten() {
                registries = registries.trusting(parsed(address)?.domain());
            }
        }
        let manner = Manner {
            is_whole: request.is_whole,
            platform: &request.platform,
            registries: &registries,
            progress,
        };
        let access = &request.access;
        let digest = match (request.source, request.target) {
            (ImageSource::Store(source), ImageTarget::Store(target)) => {
                self.tag_image(&source, &target)?;
                ImageRecord::find(&self.database(), &target)?.id
            }
            (ImageSource::Registry(source), ImageTarget::Store(target)) => {
                self.fetch_as(&parsed(&source)?, &target, access, &manner)?
            }
            (ImageSource::Files { file, name }, ImageTarget::Store(target)) => {
                self.load_as(file, &name, &target, &manner)?
            }
            (ImageSource::Store(source), ImageTarget::Registry(target)) => {
                return self.push_copy(&source, &parsed(&target)?, access, progress);
            }
            (ImageSource::Registry(source), target) => {
                let giver = RegistryGiver::new(self, &registries, parsed(&source)?, access)?;
                let parcel = giver.named()?;
                self.carry_to(target, (&giver, parcel), access, &manner)?
            }
            (ImageSource::Store(source), target) => {
                let image = ImageRecord::find(&self.database(), &source)?;
                let giver = StoreGiver::new(self, &image)?;
                let parcel = giver.parcel();
                self.carry_to(target, (&giver, parcel), access, &manner)?
            }
            (ImageSource::Files { file, name }, target) => {
                let platform = wanted_platform(manner.platform)?;
                match FilesGiver::open(file, &self.disk.spool(), &name, &platform)? {
                    FilesGiver::Layout(giver) => {
                        let parcel = giver.parcel.clone();
                        self.carry_to(target, (&giver, parcel), access, &manner)?
                    }
                    FilesGiver::Loose(image, giver) => match target {
                        ImageTarget::Registry(target) => {
                            return self.send_loose(&image, &parsed(&target)?, access, &manner);
                        }
                        target => self.carry_to(target, (&giver, giver.parcel.clone()), access, &manner)?,
                    },
                }
            }
        };
        Ok(CopiedImage { digest: digest.to_string() })
    }

    /// Carries what a giver has into a registry, a directory or an archive.
    fn carry_to(
        &self,
        target: ImageTarget<'_>,
        (giver, parcel): (&dyn Giver, Parcel),
        access: &mica_model::RegistryAccess<'_>,
        manner: &Manner<'_>,
    ) -> Result<mica_model::Digest> {
        let parcel = if manner.is_whole { parcel } else { one_of(giver, parcel, manner.platform)? };
        let progress = manner.progress;
        let carry = |taker: &dyn Taker| Carriage::new(giver, taker).carry(&parcel, Role::Named);
        match target {
            ImageTarget::Registry(name) => {
                let name = parsed(&name)?;
                let sources: Vec<String> = giver
                    .repository()
                    .and_then(|source| origin::path_in(&source, name.domain()).map(str::to_owned))
                    .into_iter()
                    .collect();
                let repository = manner.registries.repository_mounting(&name, &sources, access)?;
                carry(&RegistryTaker { local: self, name: &name, repository: &repository, progress })?;
            }
            ImageTarget::Directory { path, name } => carry(&DirectoryTaker::open(&path, &name, progress)?)?,
            ImageTarget::Archive { out, name, is_dockers } => {
                let taker = ArchiveTaker::new(out, &name, is_dockers, progress)?;
                carry(&taker)?;
                taker.finish()?;
            }
            ImageTarget::Store(_) => return Err(Error::invalid("the store takes images otherwise")),
        }
        Ok(*parcel.document.digest())
    }

    /// Fetches an image from a registry under a name of its own.
    fn fetch_as(
        &self,
        source: &Reference,
        target: &str,
        access: &mica_model::RegistryAccess<'_>,
        manner: &Manner<'_>,
    ) -> Result<mica_model::Digest> {
        let name = crate::image::tag::parse_target(target)?;
        let repository = manner.registries.repository(source, mica_registry::Purpose::Pull, access)?;
        let names = [name.clone()];
        let fetched = self.fetch_image(&repository, source, (manner.platform, &names), manner.progress);
        self.tidy_images();
        let (id, digest) = fetched?;
        self.events.append(&events::image("pull", &id.to_string(), &name.familiar()));
        Ok(digest)
    }

    /// Loads one image of an archive or layout under a name of its own.
    fn load_as(
        &self,
        file: File,
        name: &str,
        target: &str,
        manner: &Manner<'_>,
    ) -> Result<mica_model::Digest> {
        let target = crate::image::tag::parse_target(target)?;
        let choice = Choice { name, target: target.clone() };
        let loaded = self.load_archive(file, manner.platform, Some(choice), manner.progress);
        self.tidy_images();
        loaded?;
        let image = ImageRecord::find(&self.database(), &target.to_string())?;
        self.events.append(&events::image("load", &image.id.to_string(), &target.familiar()));
        Ok(image.id)
    }

    fn push_copy(
        &self,
        source: &str,
        target: &Reference,
        access: &mica_model::RegistryAccess<'_>,
        progress: Listener<'_>,
    ) -> Result<CopiedImage> {
        let (image, name) = ImageRecord::find_with_name(&self.database(), source)?;
        let request = push_request(access);
        let name = name.unwrap_or_default();
        let pushed = self.push_as((&image, &name), target, &request, progress)?;
        Ok(CopiedImage { digest: pushed.digest })
    }

    /// Sends an image without a manifest, which gets one here, with layers that are compressed on the way.
    fn send_loose(
        &self,
        image: &ArchiveImage,
        target: &Reference,
        access: &mica_model::RegistryAccess<'_>,
        manner: &Manner<'_>,
    ) -> Result<CopiedImage> {
        let repository = manner.registries.repository(target, mica_registry::Purpose::Push, access)?;
        let outbox = Outbox {
            local: self,
            name: target,
            repository: &repository,
            access,
            packing: self.packing(&push_request(access))?,
            packers: OnceLock::new(),
            progress: manner.progress,
        };
        let mut described = Vec::new();
        for layer in &image.layers {
            let write = |mut out: &mut dyn io::Write| {
                let copied = layer.reader().map(|mut reader| io::copy(&mut reader, &mut out))?;
                copied.map(drop).map_err(|source| {
                    let what = format!("layer {}", layer.diff_id);
                    Error::Upload { what, source }
                })
            };
            described.push(outbox.send_written(&layer.diff_id, Some(layer.size), &write)?);
        }
        outbox.send_document(image.config.document())?;
        let layers: Vec<_> =
            described.iter().map(|blob| (blob.media_type.as_str(), blob.digest, blob.size)).collect();
        let (manifest, media_type) = write_manifest(&image.config, &layers)?;
        let parcel = Parcel { document: manifest, media_type: media_type.to_owned() };
        let taker =
            RegistryTaker { local: self, name: target, repository: &repository, progress: manner.progress };
        taker.take_manifest(&parcel, Role::Named)?;
        Ok(CopiedImage { digest: parcel.document.digest().to_string() })
    }
}

fn push_request<'a>(access: &mica_model::RegistryAccess<'a>) -> PushRequest<'a> {
    PushRequest {
        reference: String::new(),
        platform: String::new(),
        all_tags: false,
        compression: String::new(),
        compression_level: None,
        access: access.clone(),
    }
}

/// The image for a platform, where there is a choice.
fn one_of(giver: &dyn Giver, parcel: Parcel, platform: &str) -> Result<Parcel> {
    let platform = wanted_platform(platform)?;
    let mut parcel = parcel;
    for _ in 0..DEPTH_MAX {
        match parse_parcel(&parcel.document, &parcel.media_type)? {
            ManifestDocument::Manifest(_) => return Ok(parcel),
            ManifestDocument::Index(index) => parcel = giver.manifest(&index.choose(&platform)?)?,
        }
    }
    Err(Error::invalid("the indexes are nested too deeply"))
}

fn parsed(name: &str) -> Result<Reference> {
    let name = Reference::parse_normalized(name).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(if name.digest().is_some() { name } else { name.with_default_tag() })
}
