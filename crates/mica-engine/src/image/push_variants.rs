//! `push` of a name that stands for images of several platforms, all of which are here: each of them goes, and an index
//! above them gets the name.

use crate::error::Result;
use crate::image::push::Push;
use crate::image::record::ImageRecord;
use crate::image::registries::refused;
use crate::image::variant;
use crate::{Local, events};
use mica_api::types::image::PushedImage;
use mica_image::media_type::OCI_INDEX;
use mica_image::{Document, ImageConfig};
use mica_model::{Digest, Reference, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Notes by their names.
pub(crate) type Notes = BTreeMap<String, String>;

impl Local {
    /// Sends all that a name stands for; `None` if that is a single image.
    pub(super) fn push_variants(&self, push: &Push<'_>) -> Result<Option<PushedImage>> {
        let images = variant::of_name(&self.database(), push.source)?;
        if images.len() < 2 {
            return Ok(None);
        }
        let mut listed = Vec::new();
        for id in images {
            let Some(image) = ImageRecord::by_id(&self.database(), &id)? else { continue };
            let push = Push { image: &image, ..*push };
            let (config, origin) = self.send_image(&push)?;
            let (manifest, media_type) = (&origin.manifest, origin.media_type.as_str());
            let placed = push.outbox.repository.put_manifest(
                &manifest.digest().to_string(),
                media_type,
                manifest.bytes(),
            );
            placed.map_err(|error| refused("push", push.name, error))?;
            self.remember(&push, &origin, false)?;
            listed.push(listed_image(manifest, media_type, &config, &Notes::new()));
        }
        let index = index_of(&listed, &Notes::new());
        let tag = push.name.tag().unwrap_or_default();
        let placed = push.outbox.repository.put_manifest(tag, OCI_INDEX, index.bytes());
        placed.map_err(|error| refused("push", push.name, error))?;
        self.remember_digest(push.name, *index.digest())?;
        push.told(index.digest(), index.bytes().len());
        self.events.append(&events::image("push", &push.image.id.to_string(), &push.name.familiar()));
        Ok(Some(PushedImage { name: push.name.to_string(), digest: index.digest().to_string() }))
    }

    /// The image that has the name here is known by the digest of the index, too.
    pub(crate) fn remember_digest(&self, name: &Reference, digest: Digest) -> Result<()> {
        let Some(id) = ImageRecord::id_of_name(&self.database(), &name.to_string())? else { return Ok(()) };
        let digested = name.clone().with_digest(digest).to_string();
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database()
            .write(|transaction| ImageRecord::give_name(transaction, &digested, &id, now).map(drop))?;
        self.database().make_durable()
    }
}

/// What an index says of an image.
pub(crate) fn listed_image(
    manifest: &Document,
    media_type: &str,
    config: &ImageConfig,
    annotations: &Notes,
) -> Value {
    let mut platform = json!({"architecture": config.architecture(), "os": config.os()});
    if !config.variant().is_empty() {
        platform["variant"] = config.variant().into();
    }
    let mut listed = json!({
        "mediaType": media_type, "digest": manifest.digest().to_string(), "size": manifest.bytes().len(),
        "platform": platform,
    });
    if !annotations.is_empty() {
        listed["annotations"] = json!(annotations);
    }
    listed
}

/// An index of what is listed.
pub(crate) fn index_of(listed: &[Value], annotations: &Notes) -> Document {
    let mut index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
    if !annotations.is_empty() {
        index["annotations"] = json!(annotations);
    }
    Document::from_bytes(index.to_string().into_bytes())
}
