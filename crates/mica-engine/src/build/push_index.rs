//! Sending the result for several platforms: an index under the name, and an image below it for each platform.

use super::Steps;
use super::crew::held;
use super::export::{Finished, Made};
use crate::Local;
use crate::error::Result;
use crate::image::origin::LayerBlob;
use crate::image::record::{ImageRecord, LayerRecord};
use crate::image::registries::refused;
use crate::image::send::{Outbox, PACKED_AT_ONCE, send_all};
use mica_api::types::build::BuildRequest;
use mica_api::types::image::PushRequest;
use mica_image::media_type::OCI_INDEX;
use mica_image::{Document, write_manifest};
use mica_model::{Digest, Reference, Timestamp};
use mica_registry::Purpose;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

impl Local {
    /// Sends all that was made under each of the names; answers the digest of the index.
    pub(super) fn push_platforms(
        &self,
        request: &BuildRequest<'_>,
        made: &[Made<'_>],
        steps: &Steps<'_>,
    ) -> Result<Option<String>> {
        let finished = made.iter().map(Finished::new).collect::<Result<Vec<_>>>()?;
        let mut digest = None;
        for name in &request.tags {
            let name = crate::image::tag::parse_target(name)?;
            let step = format!("pushing {}", name.familiar());
            let index =
                steps.whole(steps.next(), &step, || self.push_platforms_to(request, &name, &finished))?;
            digest = Some(index.to_string());
        }
        Ok(digest)
    }

    fn push_platforms_to(
        &self,
        request: &BuildRequest<'_>,
        name: &Reference,
        results: &[Finished<'_, '_>],
    ) -> Result<Digest> {
        let repository = self.registries()?.repository(name, Purpose::Push, &request.access)?;
        let outbox = Outbox {
            local: self,
            name,
            repository: &repository,
            access: &request.access,
            packing: self.packing(&as_usual(request, name))?,
            packers: OnceLock::new(),
            progress: &|_| {},
        };
        let denied = |error| refused("push", name, error);
        let listed = results.iter().map(|result| {
            let manifest = send(&outbox, result)?;
            let digest = manifest.0.digest().to_string();
            repository.put_manifest(&digest, manifest.1, manifest.0.bytes()).map_err(denied)?;
            Ok(described(&manifest.0, manifest.1, result))
        });
        let listed = listed.collect::<Result<Vec<Value>>>()?;
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
        let index = Document::from_bytes(index.to_string().into_bytes());
        let tag = name.tag().unwrap_or_default();
        repository.put_manifest(tag, OCI_INDEX, index.bytes()).map_err(denied)?;
        self.remember_digest(name, *index.digest())?;
        Ok(*index.digest())
    }

    /// The image that has the name here is known by the digest of the index, too.
    fn remember_digest(&self, name: &Reference, digest: Digest) -> Result<()> {
        let Some(id) = ImageRecord::id_of_name(&self.database(), &name.to_string())? else { return Ok(()) };
        let digested = name.clone().with_digest(digest).to_string();
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database()
            .write(|transaction| ImageRecord::give_name(transaction, &digested, &id, now).map(drop))?;
        self.database().make_durable()
    }
}

/// Sends the layers and the config of one result; answers its manifest.
fn send(outbox: &Outbox<'_>, result: &Finished<'_, '_>) -> Result<(Document, &'static str)> {
    let known: HashMap<Digest, LayerRecord> = held(&result.builder.layers).clone();
    let layers = result
        .config
        .diff_ids()
        .iter()
        .map(|diff_id| known.get(diff_id).cloned().ok_or_else(|| crate::image::import::missing(diff_id)));
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let blobs = Mutex::new(vec![None; layers.len()]);
    send_all(layers.len(), PACKED_AT_ONCE, &|number| {
        let blob = outbox.send_anew(&layers[number], false)?;
        blobs.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(blob);
        Ok(true)
    })?;
    let blobs: Vec<LayerBlob> =
        blobs.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect();
    outbox.send_document(result.config.document())?;
    let described: Vec<_> =
        blobs.iter().map(|blob| (blob.media_type.as_str(), blob.digest, blob.size)).collect();
    Ok(write_manifest(&result.config, &described)?)
}

fn described(manifest: &Document, media_type: &str, result: &Finished<'_, '_>) -> Value {
    let platform = result.platform();
    let mut shown = json!({"architecture": platform.architecture, "os": platform.os});
    if !platform.variant.is_empty() {
        shown["variant"] = platform.variant.into();
    }
    json!({
        "mediaType": media_type, "digest": manifest.digest().to_string(), "size": manifest.bytes().len(),
        "platform": shown,
    })
}

/// Layers are compressed as those of any image are.
pub(super) fn as_usual<'r>(request: &BuildRequest<'r>, name: &Reference) -> PushRequest<'r> {
    PushRequest {
        reference: name.to_string(),
        platform: String::new(),
        all_tags: false,
        compression: String::new(),
        compression_level: None,
        access: request.access.clone(),
    }
}
