//! `push` of an image that came as one of several under an index: the index goes on as it is, with all that it leads to.
//!
//! Only the image of one platform is here; what belongs to the others is handed on from where it was pulled from,
//! or taken over by the registry itself. If it is to be had nowhere, the image that is here goes alone, and that is said.

use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::origin::{self, IndexPlace, LayerBlob, Origin, OriginIndex};
use crate::image::push::Push;
use crate::image::record::ImageRecord;
use crate::image::send::note;
use crate::image::transfer::registry::{RegistryGiver, RegistryTaker, recorded};
use crate::image::transfer::{Carriage, Giver, Parcel, Role, not_given};
use crate::{Local, events};
use mica_api::types::image::PushedImage;
use mica_image::{Descriptor, Document, Index, ManifestDocument, parse_manifest};
use mica_model::{Digest, Timestamp};

impl Local {
    /// Sends the index that a name stands for, or the part of it that is for a platform; `None` if the name stands
    /// for a single image, or if nobody gives the rest of the index.
    pub(super) fn push_index(&self, push: &Push<'_>, platform: &str) -> Result<Option<PushedImage>> {
        let Some((document, places)) = self.index_of(push.source)? else { return Ok(None) };
        for place in places {
            let parcel = Parcel::new(document.clone(), &place.media_type)?;
            let name = recorded(&place.repository)?;
            let giver = RegistryGiver::new(self, self.registries()?, name, push.outbox.access)?;
            match self.hand_index_on(push, &giver, parcel, platform) {
                Err(Error::NotGiven { place, source }) => {
                    push.outbox.tell(note(format!("{place}: {}", mica_api::Error::from(*source))));
                }
                other => return other.map(Some),
            }
        }
        push.outbox.tell(note(format!(
            "Not all multiplatform-content is present and only the available single-platform image is pushed; the \
             index was {}",
            document.digest()
        )));
        Ok(None)
    }

    /// Says that an image goes without the index that its name stands for, if it stands for one.
    pub(super) fn leave_index(&self, push: &Push<'_>) -> Result<()> {
        if let Some((document, _)) = self.index_of(push.source)? {
            push.outbox.tell(note(format!(
                "Only the single-platform image is compressed anew and pushed; the index was {}",
                document.digest()
            )));
        }
        Ok(())
    }

    /// Whether a name stands for an index with an image for a platform.
    pub(super) fn offers(&self, name: &str, platform: &str) -> Result<bool> {
        let Some((document, places)) = self.index_of(name)? else { return Ok(false) };
        let Some(place) = places.first() else { return Ok(false) };
        let platform = wanted_platform(platform)?;
        let suits = |listed: &Descriptor| listed.is_image() && platform.suits(&listed.platform());
        Ok(index(&Parcel::new(document, &place.media_type)?)?.descriptors().iter().any(suits))
    }

    /// The index of a name, and where it is to be had.
    fn index_of(&self, name: &str) -> Result<Option<(Document, Vec<IndexPlace>)>> {
        let Some(digest) = ImageRecord::index_of_name(&self.database(), name)? else {
            return Ok(None);
        };
        let places = origin::places_of_index(&self.database(), &digest)?;
        Ok(self.blobs.read(&digest).ok().map(|document| (document, places)))
    }

    fn hand_index_on(
        &self,
        push: &Push<'_>,
        giver: &RegistryGiver<'_>,
        parcel: Parcel,
        platform: &str,
    ) -> Result<PushedImage> {
        let taker = RegistryTaker {
            local: self,
            name: push.name,
            repository: push.outbox.repository,
            progress: push.outbox.progress,
        };
        let carriage = Carriage::new(giver, &taker);
        let parcel = match platform {
            "" => parcel,
            platform => {
                let listed = index(&parcel)?.choose(&wanted_platform(platform)?)?;
                giver.manifest(&listed).map_err(|error| not_given(giver, error))?
            }
        };
        carriage.carry(&parcel, Role::Named)?;
        self.remember_index(push, &parcel)?;
        push.told(parcel.document.digest(), parcel.document.bytes().len());
        self.events.append(&events::image("push", &push.image.id.to_string(), &push.name.familiar()));
        Ok(PushedImage { name: push.name.to_string(), digest: parcel.document.digest().to_string() })
    }

    /// Takes note that the registry has the index now, and of what belongs to the image that is here.
    fn remember_index(&self, push: &Push<'_>, parcel: &Parcel) -> Result<()> {
        let digest = *parcel.document.digest();
        let listed: Vec<Digest> = match index(parcel) {
            Ok(index) => index.descriptors().iter().filter_map(|listed| listed.digest().ok()).collect(),
            // The image of another platform alone: nothing of it is here.
            Err(_) => return Ok(()),
        };
        let known = origin::manifests_of(&self.database(), &push.image.id)?;
        let mut origins = Vec::new();
        for known in known.iter().filter(|known| listed.contains(&known.digest)) {
            let Ok(manifest) = self.blobs.read(&known.digest) else { continue };
            let Ok(ManifestDocument::Manifest(parsed)) = parse_manifest(&manifest, &known.media_type) else {
                continue;
            };
            let config = self.image_config(push.image)?;
            origins.push(Origin {
                repository: push.name.name(),
                manifest,
                media_type: known.media_type.clone(),
                layers: LayerBlob::all(parsed.layers(), config.diff_ids())?,
                index: Some(OriginIndex {
                    document: parcel.document.clone(),
                    media_type: parcel.media_type.clone(),
                }),
            });
        }
        let digested = push.name.clone().with_digest(digest).to_string();
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database().write(|transaction| {
            push.image.check_exists(transaction)?;
            for origin in &origins {
                origin.insert(transaction, &push.image.id)?;
            }
            ImageRecord::give_name(transaction, &digested, &push.image.id, now)?;
            ImageRecord::give_index(transaction, &digested, &digest)
        })?;
        self.database().make_durable()
    }
}

fn index(parcel: &Parcel) -> Result<Index> {
    match parse_manifest(&parcel.document, &parcel.media_type)? {
        ManifestDocument::Index(index) => Ok(index),
        ManifestDocument::Manifest(_) => Err(Error::invalid("a single manifest where an index should be")),
    }
}
