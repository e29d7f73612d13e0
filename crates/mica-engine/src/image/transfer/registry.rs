//! Repositories of registries as places that give images and take them.

use super::{Giver, Parcel, Part, Role, Taker, not_given, promised};
use crate::Local;
use crate::error::{Error, Result};
use crate::image::origin;
use crate::image::pull::{listed_manifest, named_manifest};
use crate::image::registries::refused;
use mica_api::types::image::ProgressEvent;
use mica_image::Descriptor;
use mica_model::{Reference, RegistryAccess};
use mica_registry::{Begun, Purpose, Registries, Repository, Upload};
use std::io::Read;

/// How often a blob is begun anew after the registry has lost what it had of it.
const BEGINNINGS: u32 = 5;

/// A repository that gives.
pub(crate) struct RegistryGiver<'a> {
    local: &'a Local,
    name: Reference,
    repository: Repository<'a>,
}

impl<'a> RegistryGiver<'a> {
    pub(crate) fn new(
        local: &'a Local,
        registries: &Registries,
        name: Reference,
        access: &'a RegistryAccess<'a>,
    ) -> Result<Self> {
        let repository = registries.repository(&name, Purpose::Pull, access)?;
        Ok(Self { local, name, repository })
    }

    /// What the name stands for.
    pub(crate) fn named(&self) -> Result<Parcel> {
        let (document, media_type) = named_manifest(&self.repository, &self.name)?;
        Parcel::new(document, &media_type)
    }

    pub(crate) const fn inner(&self) -> &Repository<'a> {
        &self.repository
    }
}

impl Giver for RegistryGiver<'_> {
    fn place(&self) -> String {
        self.name.familiar_name()
    }

    fn manifest(&self, listed: &Descriptor) -> Result<Parcel> {
        let (document, media_type) = listed_manifest(&self.repository, &self.name, listed)?;
        Parcel::new(document, &media_type)
    }

    fn blob(&self, part: &Part) -> Result<Box<dyn Read + Send + '_>> {
        if let Some(file) = self.local.blobs.open_sound(&part.digest, part.size)? {
            return Ok(Box::new(file));
        }
        let opened = self.repository.blob(part.digest, part.size, 0);
        Ok(Box::new(opened.map_err(|error| refused("pull", &self.name, error))?))
    }

    fn repository(&self) -> Option<String> {
        Some(origin::repository(&self.name))
    }
}

/// A repository that takes.
pub(crate) struct RegistryTaker<'a> {
    pub(crate) local: &'a Local,
    /// Under this name what is [`Role::Named`] is put there.
    pub(crate) name: &'a Reference,
    pub(crate) repository: &'a Repository<'a>,
    pub(crate) progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

impl RegistryTaker<'_> {
    fn denied(&self, error: mica_registry::Error) -> Error {
        refused("push", self.name, error)
    }

    fn tell(&self, part: &Part, event: impl FnOnce(String) -> ProgressEvent) {
        if part.is_layer {
            (self.progress)(event(part.digest.short()));
        }
    }

    fn end(&self, part: &Part, outcome: &str) {
        self.tell(part, |part| ProgressEvent::End { part, outcome: outcome.to_owned() });
    }

    fn hand_over(&self, part: &Part, giver: &dyn Giver) -> Result<()> {
        if self.repository.has_blob(&part.digest).map_err(|error| self.denied(error))? {
            self.end(part, "Layer already exists");
            return Ok(());
        }
        let Some(upload) = self.mount_or_begin(part, giver)? else { return Ok(()) };
        self.send(part, giver, upload)?;
        self.end(part, "Pushed");
        Ok(())
    }

    /// Begins an upload, unless the registry can take the blob over from another of its repositories.
    fn mount_or_begin(&self, part: &Part, giver: &dyn Giver) -> Result<Option<Upload<'_>>> {
        let mut places: Vec<String> = giver.repository().into_iter().collect();
        places.extend(origin::places_of_blob(&self.local.database(), &part.digest)?);
        places.dedup();
        let paths = places.iter().filter_map(|place| origin::path_in(place, self.name.domain()));
        let mut open = None;
        for path in paths.filter(|path| *path != self.name.path()) {
            let begun = self.repository.mount_or_begin(&part.digest, Some(path));
            match begun.map_err(|error| self.denied(error))? {
                Begun::Mounted => {
                    self.end(part, &format!("Mounted from {path}"));
                    return Ok(None);
                }
                Begun::Upload(upload) => open = Some(upload),
            }
        }
        if open.is_some() {
            return Ok(open);
        }
        match self.repository.mount_or_begin(&part.digest, None).map_err(|error| self.denied(error))? {
            Begun::Upload(upload) => Ok(Some(upload)),
            Begun::Mounted => Err(Error::invalid("the registry has a blob that it was not asked for")),
        }
    }

    fn send(&self, part: &Part, giver: &dyn Giver, mut upload: Upload<'_>) -> Result<()> {
        let mut reader = promised(giver, part)?;
        self.tell(part, |name| ProgressEvent::Begin { part: name, total: Some(part.size) });
        let told = |bytes| self.tell(part, |name| ProgressEvent::Advance { part: name, bytes });
        match upload.push_all(&mut reader, &told) {
            Err(mica_registry::Error::Source { source }) => {
                let what = format!("blob {}", part.digest);
                return Err(not_given(giver, Error::Download { what, source }));
            }
            other => other.map_err(|error| self.denied(error))?,
        }
        upload.finish(&part.digest).map_err(|error| self.denied(error))
    }
}

impl Taker for RegistryTaker<'_> {
    fn take_blob(&self, part: &Part, giver: &dyn Giver) -> Result<()> {
        let is_lost = |error: &Error| matches!(error, Error::Registry(error) if error.is_lost_upload());
        for _ in 1..BEGINNINGS {
            match self.hand_over(part, giver) {
                Err(error) if is_lost(&error) => {}
                other => return other,
            }
        }
        self.hand_over(part, giver)
    }

    fn take_manifest(&self, parcel: &Parcel, role: Role) -> Result<()> {
        let digest = parcel.document.digest().to_string();
        let place = match role {
            Role::Named => self.name.tag().unwrap_or(&digest),
            Role::Listed => &digest,
        };
        let placed = self.repository.put_manifest(place, &parcel.media_type, parcel.document.bytes());
        placed.map_err(|error| self.denied(error))
    }
}

/// The name of a repository that is recorded.
pub(crate) fn recorded(repository: &str) -> Result<Reference> {
    Reference::parse_normalized(repository).map_err(|error| Error::invalid(error.to_string()))
}
