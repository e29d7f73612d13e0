//! `pull`: an image by name from a registry, or the one that is built in.

use crate::error::{Error, Result};
use crate::image::embedded;
use crate::image::fetch::Source;
use crate::image::load::wanted_platform;
use crate::image::origin::{self, LayerBlob, Origin, OriginIndex};
use crate::image::record::ImageRecord;
use crate::image::register::{Fresh, NewRecord, check_depth};
use crate::image::registries::refused;
use crate::{Local, events};
use mica_api::types::image::{ProgressEvent, PullRequest, PulledImage};
use mica_image::{
    DOCUMENT_SIZE_MAX, Descriptor, Document, ImageConfig, Manifest, ManifestDocument, Platform,
    parse_manifest,
};
use mica_model::{Digest, Reference, Timestamp};
use mica_registry::{Purpose, Repository};
use std::io::Read;

/// How deep indexes may be nested.
pub(super) const DEPTH_MAX: usize = 4;

/// What hears of progress.
type Listener<'a> = &'a (dyn Fn(ProgressEvent) + Sync);

/// A manifest of one image, and the index that its name stands for, if it is one's.
struct Found {
    document: Document,
    manifest: Manifest,
    media_type: String,
    index: Option<OriginIndex>,
}

impl Found {
    /// The digest that the name stands for.
    fn named(&self) -> Digest {
        *self.index.as_ref().map_or(&self.document, |index| &index.document).digest()
    }
}

impl Local {
    /// Fetches an image, or all of a repository.
    pub(crate) fn pull_images(
        &self,
        request: &PullRequest<'_>,
        progress: Listener<'_>,
    ) -> Result<Vec<PulledImage>> {
        let name = Reference::parse_normalized(&request.reference)
            .map_err(|error| Error::invalid(error.to_string()))?;
        if request.all_tags {
            if name.tag().is_some() || name.digest().is_some() {
                return Err(Error::invalid("tag can't be used with --all-tags/-a"));
            }
            return self.pull_all(&name, request, progress);
        }
        let name = name.with_default_tag();
        if name.to_string() == embedded::name()?.to_string() {
            return Ok(vec![self.pull_embedded(request, progress)?]);
        }
        let repository = self.registries()?.repository(&name, Purpose::Pull, &request.access)?;
        let pulled = self.pull_one(&repository, &name, request, progress);
        self.tidy_images();
        Ok(vec![pulled?])
    }

    fn pull_all(
        &self,
        name: &Reference,
        request: &PullRequest<'_>,
        progress: Listener<'_>,
    ) -> Result<Vec<PulledImage>> {
        let repository = self.registries()?.repository(name, Purpose::Pull, &request.access)?;
        let tags = repository.tags().map_err(|error| refused("pull", name, error))?;
        let mut pulled = Vec::new();
        for tag in tags {
            let name = name.clone().with_tag(&tag).map_err(|error| Error::invalid(error.to_string()))?;
            pulled.push(self.pull_one(&repository, &name, request, progress)?);
        }
        self.tidy_images();
        Ok(pulled)
    }

    fn pull_embedded(&self, request: &PullRequest<'_>, progress: Listener<'_>) -> Result<PulledImage> {
        embedded::check_platform(&request.platform)?;
        let before = ImageRecord::id_of_name(&self.database(), &embedded::name()?.to_string())?;
        let id = self.add_embedded(progress)?;
        let name = embedded::NAME.to_owned();
        self.events.append(&events::image("pull", &id.to_string(), &name));
        let pulled = PulledImage { id: id.to_string(), is_new: before != Some(id), name };
        tell_status(&pulled, embedded::NAME, progress);
        Ok(pulled)
    }

    fn pull_one(
        &self,
        repository: &Repository<'_>,
        name: &Reference,
        request: &PullRequest<'_>,
        progress: Listener<'_>,
    ) -> Result<PulledImage> {
        let asked = asked(name);
        progress(note(format!("{asked}: Pulling from {}", name.path())));
        let before = ImageRecord::id_of_name(&self.database(), &name.to_string())?;
        let (id, digest) = match self.known(repository, name, &request.platform)? {
            Some(known) => known,
            None => self.fetch_image(repository, name, (&request.platform, &pulled_names(name)), progress)?,
        };
        progress(note(format!("Digest: {digest}")));
        let pulled = PulledImage { id: id.to_string(), name: name.to_string(), is_new: before != Some(id) };
        tell_status(&pulled, &name.familiar(), progress);
        self.events.append(&events::image("pull", &pulled.id, &name.familiar()));
        Ok(pulled)
    }

    /// The image that a name stands for, where nothing of it has to be fetched.
    fn known(
        &self,
        repository: &Repository<'_>,
        name: &Reference,
        platform: &str,
    ) -> Result<Option<(Digest, Digest)>> {
        let digest = match (name.digest(), name.tag()) {
            (Some(digest), _) => Some(*digest),
            // A registry that cannot say is asked for the whole manifest.
            (None, Some(tag)) => repository.resolve(tag).ok().flatten(),
            (None, None) => None,
        };
        let Some(digest) = digest else { return Ok(None) };
        let digested = name.clone().with_digest(digest).to_string();
        let Some(id) = ImageRecord::id_of_name(&self.database(), &digested)? else { return Ok(None) };
        let Some(image) = ImageRecord::by_id(&self.database(), &id)? else { return Ok(None) };
        let Ok(config) = self.image_config(&image) else { return Ok(None) };
        if !wanted_platform(platform)?.suits(&platform_of(&config)) && !platform.is_empty() {
            return Ok(None);
        }
        let record = NewRecord { config, names: Vec::new(), parent: None, origin: None };
        if !self.missing(std::slice::from_ref(&record), &Fresh::new())?.is_empty() {
            return Ok(None);
        }
        let index = ImageRecord::index_of_name(&self.database(), &digested)?;
        if name.digest().is_none()
            && (ImageRecord::id_of_name(&self.database(), &name.to_string())? != Some(id)
                || ImageRecord::index_of_name(&self.database(), &name.to_string())? != index)
        {
            let now = Timestamp::from(std::time::SystemTime::now());
            self.database().write(|transaction| {
                image.check_exists(transaction)?;
                ImageRecord::give_name(transaction, &name.to_string(), &id, now)?;
                index.map_or(Ok(()), |index| ImageRecord::give_index(transaction, &name.to_string(), &index))
            })?;
            self.database().make_durable()?;
        }
        Ok(Some((id, digest)))
    }

    /// Fetches the image of a name and records it under `names`, besides its digest in its repository; answers its id
    /// and that digest.
    pub(super) fn fetch_image(
        &self,
        repository: &Repository<'_>,
        name: &Reference,
        (platform, names): (&str, &[Reference]),
        progress: Listener<'_>,
    ) -> Result<(Digest, Digest)> {
        let found = find(repository, name, &wanted_platform(platform)?)?;
        let config = self.fetch_config(repository, &found.manifest)?;
        found.manifest.check(&config)?;
        check_depth(config.diff_ids().len())?;
        check_system(&config, name, platform)?;
        let layers = LayerBlob::all(found.manifest.layers(), config.diff_ids())?;
        let id = *config.id();
        let named = found.named();
        let mut names = names.to_vec();
        names.insert(0, name.clone().with_digest(named));
        let origin = Origin {
            repository: origin::repository(name),
            manifest: found.document,
            media_type: found.media_type,
            layers: layers.clone(),
            index: found.index,
        };
        let record = NewRecord { config, names, parent: None, origin: Some(origin) };
        self.add_fetched(record, &Source { repository, layers: &layers, progress })?;
        Ok((id, named))
    }

    fn fetch_config(&self, repository: &Repository<'_>, manifest: &Manifest) -> Result<ImageConfig> {
        Ok(ImageConfig::parse(self.fetch_config_document(repository, manifest)?)?)
    }

    /// The config that a manifest names, which is compared with its digest but not read.
    pub(crate) fn fetch_config_document(
        &self,
        repository: &Repository<'_>,
        manifest: &Manifest,
    ) -> Result<Document> {
        let Descriptor { size, .. } = manifest.config;
        let digest = manifest.config.digest()?;
        if let Ok(document) = self.blobs.read(&digest) {
            return Ok(document);
        }
        let what = format!("config {digest}");
        if size > DOCUMENT_SIZE_MAX {
            return Err(mica_image::Error::TooLarge { what, limit: DOCUMENT_SIZE_MAX }.into());
        }
        believing(repository, || {
            let mut bytes = Vec::new();
            repository
                .blob(digest, size, 0)?
                .read_to_end(&mut bytes)
                .map_err(|source| Error::Download { what: what.clone(), source })?;
            Ok(Document::verified(bytes, &digest, &what)?)
        })
    }
}

/// The names that a pulled image gets besides its digest.
fn pulled_names(name: &Reference) -> Vec<Reference> {
    name.digest().is_none().then(|| name.clone()).into_iter().collect()
}

/// The tag or digest by which an image is asked for.
fn asked(name: &Reference) -> String {
    match name.digest() {
        Some(digest) => digest.to_string(),
        None => name.tag().unwrap_or_default().to_owned(),
    }
}

/// Gets something that can be told right from wrong; once more of the registry itself where a mirror
/// may have sent what is wrong.
fn believing<T>(repository: &Repository<'_>, fetch: impl Fn() -> Result<T>) -> Result<T> {
    fetch().or_else(|error| if repository.leave_mirrors() { fetch() } else { Err(error) })
}

/// The manifest or index that a name stands for, with its media type.
pub(crate) fn named_manifest(repository: &Repository<'_>, name: &Reference) -> Result<(Document, String)> {
    let what = format!("manifest of {}", name.familiar());
    believing(repository, || {
        let fetched = repository.manifest(&asked(name)).map_err(|error| refused("pull", name, error))?;
        let document = match name.digest() {
            Some(digest) => Document::verified(fetched.bytes, digest, &what)?,
            None => Document::from_bytes(fetched.bytes),
        };
        Ok((document, fetched.media_type))
    })
}

/// The manifest that an index of the repository lists, compared with what the index says of it.
pub(crate) fn listed_manifest(
    repository: &Repository<'_>,
    name: &Reference,
    listed: &Descriptor,
) -> Result<(Document, String)> {
    let digest = listed.digest()?;
    believing(repository, || {
        let what = format!("manifest {digest}");
        let fetched =
            repository.manifest(&digest.to_string()).map_err(|error| refused("pull", name, error))?;
        let actual = fetched.bytes.len() as u64;
        if actual != listed.size {
            return Err(mica_image::Error::SizeMismatch { what, expected: listed.size, actual }.into());
        }
        Ok((Document::verified(fetched.bytes, &digest, &what)?, fetched.media_type))
    })
}

/// Follows a name to the manifest for a platform.
fn find(repository: &Repository<'_>, name: &Reference, platform: &Platform) -> Result<Found> {
    let (mut document, mut media_type) = named_manifest(repository, name)?;
    let mut top = None;
    for _ in 0..DEPTH_MAX {
        let index = match parse_manifest(&document, &media_type)? {
            ManifestDocument::Manifest(manifest) => {
                return Ok(Found { document, manifest, media_type, index: top });
            }
            ManifestDocument::Index(index) => index,
        };
        let listed = listed_manifest(repository, name, &index.choose(platform)?)?;
        top.get_or_insert(OriginIndex { document, media_type });
        (document, media_type) = listed;
    }
    Err(Error::invalid(format!("{}: its indexes are nested too deeply", name.familiar())))
}

/// For which system an image is made.
pub(crate) fn platform_of(config: &ImageConfig) -> Platform {
    Platform {
        os: config.os().to_owned(),
        architecture: config.architecture().to_owned(),
        variant: config.variant().to_owned(),
    }
}

/// Refuses what cannot run here, and what is for another platform than was asked for.
fn check_system(config: &ImageConfig, name: &Reference, asked: &str) -> Result<()> {
    let own = platform_of(config);
    if !own.os.is_empty() && own.os != "linux" {
        return Err(Error::invalid(format!(
            "image operating system {:?} cannot be used on this platform",
            own.os
        )));
    }
    let wanted = wanted_platform(asked)?;
    if asked.is_empty() || wanted.suits(&own) {
        return Ok(());
    }
    Err(Error::NoSuchImage {
        reference: format!(
            "{} was found but does not match the specified platform: wanted {wanted}, actual: {own}",
            name.familiar()
        ),
    })
}

const fn note(text: String) -> ProgressEvent {
    ProgressEvent::Note { text }
}

fn tell_status(pulled: &PulledImage, familiar: &str, progress: Listener<'_>) {
    let what = if pulled.is_new { "Downloaded newer image" } else { "Image is up to date" };
    progress(note(format!("Status: {what} for {familiar}")));
}
