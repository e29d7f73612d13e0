//! Sending a result as it was made: that for several platforms as an index under the name, with an image below it for
//! each platform, and one with notes on it.

use super::Steps;
use super::crew::held;
use super::export::{Finished, Made};
use super::outputs::annotations;
use crate::Local;
use crate::error::Result;
use crate::image::origin::LayerBlob;
use crate::image::push_variants::{Notes, index_of, listed_image};
use crate::image::record::LayerRecord;
use crate::image::registries::refused;
use crate::image::send::{Outbox, PACKED_AT_ONCE, send_all};
use mica_api::types::build::BuildRequest;
use mica_api::types::image::PushRequest;
use mica_image::media_type::OCI_INDEX;
use mica_image::{Document, write_annotated_manifest};
use mica_model::{Digest, Reference};
use mica_registry::Purpose;
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
        let tag = name.tag().unwrap_or_default();
        let mut listed = Vec::new();
        let mut on_index = Notes::new();
        for result in results {
            let notes = annotations(request, &result.platform())?;
            let (manifest, media_type) = send(&outbox, result, &notes.manifest)?;
            let digest = manifest.digest().to_string();
            let place = if results.len() == 1 { tag } else { &digest };
            repository.put_manifest(place, media_type, manifest.bytes()).map_err(denied)?;
            if results.len() == 1 {
                self.remember_digest(name, *manifest.digest())?;
                return Ok(*manifest.digest());
            }
            listed.push(listed_image(&manifest, media_type, &result.config, &notes.manifest_descriptor));
            on_index.extend(notes.index);
        }
        let index = index_of(&listed, &on_index);
        repository.put_manifest(tag, OCI_INDEX, index.bytes()).map_err(denied)?;
        self.remember_digest(name, *index.digest())?;
        Ok(*index.digest())
    }
}

/// Sends the layers and the config of one result; answers its manifest.
fn send(
    outbox: &Outbox<'_>,
    result: &Finished<'_, '_>,
    annotations: &Notes,
) -> Result<(Document, &'static str)> {
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
    Ok(write_annotated_manifest(&result.config, &described, annotations)?)
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
