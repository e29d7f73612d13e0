//! `--cache-to` and `--cache-from type=registry`: steps in a repository of a registry.
//!
//! A manifest names the layers, compressed as those of images are, and a list as its config. The list has the form of
//! BuildKit's (`vnd.buildkit.cacheconfig.v0`): layers, and records that name a step by the digest of its key. Keys are
//! each builder's own, so that neither finds its steps in the other's list, but each can read it.

use super::caches::{STEPS_SIZE_MAX, Step};
use super::push_index::as_usual;
use crate::Local;
use crate::error::{Error, Result};
use crate::image::origin::LayerBlob;
use crate::image::record::LayerRecord;
use crate::image::registries::refused;
use crate::image::send::{Outbox, PACKED_AT_ONCE, send_all};
use mica_api::types::build::BuildRequest;
use mica_image::{Document, LayerReader, Promise, WindowLimit};
use mica_model::{Digest, Reference, RegistryAccess, Timestamp};
use mica_registry::{Purpose, Repository};
use mica_snapshot::IngestedLayer;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The media type of the list.
const LIST_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The list.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct List {
    layers: Vec<ListedLayer>,
    records: Vec<Record>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ListedLayer {
    blob: String,
    parent: i64,
    annotations: Notes,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Notes {
    media_type: String,
    #[serde(rename = "diffID")]
    diff_id: String,
    size: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    digest: String,
    layers: Vec<Made>,
    /// Only mica says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Made {
    layer: usize,
    created_at: String,
}

/// Where the layers of a list lie.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    name: Reference,
    blobs: HashMap<Digest, LayerBlob>,
}

impl Shelf {
    /// Brings a layer and unpacks it.
    pub(super) fn unpack(
        &self,
        local: &Local,
        access: &RegistryAccess<'_>,
        diff_id: &Digest,
    ) -> Result<Option<IngestedLayer>> {
        let Some(blob) = self.blobs.get(diff_id) else { return Ok(None) };
        let repository = local.registries()?.repository(&self.name, Purpose::Pull, access)?;
        let reader = repository.blob(blob.digest, blob.size, 0);
        let reader = reader.map_err(|error| refused("pull", &self.name, error))?;
        let promise = Promise { digest: blob.digest, size: blob.size };
        let layer = local.unpack(LayerReader::new(reader, Some(promise), diff_id, WindowLimit::Network)?)?;
        let actual = *layer.diff_id();
        match actual == *diff_id {
            true => Ok(Some(layer)),
            false => Err(mica_snapshot::Error::DigestMismatch { expected: *diff_id, actual }.into()),
        }
    }
}

/// The list of a repository; nothing if what lies there is none.
pub(super) fn read(
    local: &Local,
    access: &RegistryAccess<'_>,
    name: &str,
) -> Result<Option<(Vec<Step>, Shelf)>> {
    let name = parsed(name)?;
    let repository = local.registries()?.repository(&name, Purpose::Pull, access)?;
    let Some(tag) = name.tag() else { return Ok(None) };
    // A missing cache is none: the build only has more to do.
    let Ok(fetched) = repository.manifest(tag) else { return Ok(None) };
    let manifest: serde_json::Value = serde_json::from_slice(&fetched.bytes).unwrap_or_default();
    if manifest["config"]["mediaType"] != LIST_TYPE {
        return Ok(None);
    }
    let damaged = |reason: String| Error::invalid(format!("the cache in {}: {reason}", name.familiar()));
    let bytes = config(&repository, &manifest).map_err(|error| damaged(error.to_string()))?;
    let list: List = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let (steps, blobs) = steps_of(&list);
    Ok(Some((steps, Shelf { name, blobs })))
}

fn config(repository: &Repository<'_>, manifest: &serde_json::Value) -> Result<Vec<u8>> {
    let wrong = || Error::invalid("its manifest names no list");
    let digest: Digest =
        manifest["config"]["digest"].as_str().and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
    let size =
        manifest["config"]["size"].as_u64().filter(|size| *size <= STEPS_SIZE_MAX).ok_or_else(wrong)?;
    let mut bytes = Vec::new();
    let reader = repository.blob(digest, size, 0)?;
    reader
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io("read", std::path::Path::new("the list"), source))?;
    Ok(Document::verified(bytes, &digest, "the list").map(|document| document.bytes().to_vec())?)
}

/// What a list says that can be used here.
fn steps_of(list: &List) -> (Vec<Step>, HashMap<Digest, LayerBlob>) {
    let blob = |layer: &ListedLayer| {
        Some(LayerBlob {
            diff_id: layer.annotations.diff_id.parse().ok()?,
            digest: layer.blob.parse().ok()?,
            size: layer.annotations.size,
            media_type: layer.annotations.media_type.clone(),
        })
    };
    let layers: Vec<Option<LayerBlob>> = list.layers.iter().map(blob).collect();
    let step = |record: &Record| {
        let made = record.layers.first();
        let layer = match made {
            Some(made) => Some(layers.get(made.layer)?.as_ref()?.diff_id),
            None => None,
        };
        let created = made.and_then(|made| made.created_at.parse::<Timestamp>().ok());
        Some(Step {
            key: record.digest.parse().ok()?,
            layer,
            created: created.map_or(0, |created| created.nanoseconds()),
            description: record.description.clone(),
        })
    };
    let steps = list.records.iter().filter_map(step).collect();
    (steps, layers.into_iter().flatten().map(|blob| (blob.diff_id, blob)).collect())
}

/// Sends a list of steps and their layers.
pub(super) fn write(
    local: &Local,
    request: &BuildRequest<'_>,
    name: &str,
    (steps, records): (&[Step], &HashMap<Digest, LayerRecord>),
) -> Result<()> {
    let name = parsed(name)?;
    let repository = local.registries()?.repository(&name, Purpose::Push, &request.access)?;
    let outbox = Outbox {
        local,
        name: &name,
        repository: &repository,
        access: &request.access,
        packing: local.packing(&as_usual(request, &name))?,
        packers: OnceLock::new(),
        progress: &|_| {},
    };
    let mut wanted: Vec<&LayerRecord> = Vec::new();
    for record in steps.iter().filter_map(|step| records.get(step.layer.as_ref()?)) {
        if !wanted.iter().any(|known| known.diff_id == record.diff_id) {
            wanted.push(record);
        }
    }
    let blobs = Mutex::new(vec![None; wanted.len()]);
    send_all(wanted.len(), PACKED_AT_ONCE, &|number| {
        let blob = outbox.send_anew(wanted[number], false)?;
        blobs.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(blob);
        Ok(true)
    })?;
    let blobs: Vec<LayerBlob> =
        blobs.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect();
    let list = Document::from_bytes(serde_json::to_vec(&list_of(steps, &blobs)).unwrap_or_default());
    outbox.send_document(&list)?;
    let layers: Vec<_> = blobs.iter().map(described).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": LIST_TYPE, "digest": list.digest().to_string(), "size": list.bytes().len()},
        "layers": layers,
    });
    let tag = name.tag().unwrap_or_default();
    repository
        .put_manifest(tag, MANIFEST_TYPE, manifest.to_string().as_bytes())
        .map_err(|error| refused("push", &name, error))
}

fn described(blob: &LayerBlob) -> serde_json::Value {
    json!({
        "mediaType": blob.media_type, "digest": blob.digest.to_string(), "size": blob.size,
        "annotations": {"containerd.io/uncompressed": blob.diff_id.to_string()},
    })
}

/// The list of steps whose layers are among these, in an order that two builds share.
fn list_of(steps: &[Step], blobs: &[LayerBlob]) -> List {
    let layers = blobs.iter().map(|blob| ListedLayer {
        blob: blob.digest.to_string(),
        parent: -1,
        annotations: Notes {
            media_type: blob.media_type.clone(),
            diff_id: blob.diff_id.to_string(),
            size: blob.size,
        },
    });
    let record = |step: &Step| {
        let made = match step.layer {
            Some(layer) => vec![Made {
                layer: blobs.iter().position(|blob| blob.diff_id == layer)?,
                created_at: Timestamp::from_nanoseconds(step.created).to_string(),
            }],
            None => Vec::new(),
        };
        Some(Record { digest: step.key.to_string(), layers: made, description: step.description.clone() })
    };
    List { layers: layers.collect(), records: steps.iter().filter_map(record).collect() }
}

fn parsed(name: &str) -> Result<Reference> {
    let parsed = Reference::parse_normalized(name).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(parsed.with_default_tag())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: &str) -> Digest {
        Digest::from_hex(&letter.repeat(64)).unwrap()
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let step = |key: &str, layer: Option<&str>| Step {
            key: digest(key),
            layer: layer.map(digest),
            created: if layer.is_some() { 1_700_000_000_000_000_001 } else { 0 },
            description: format!("RUN {key}"),
        };
        let steps = [step("a", Some("1")), step("b", None), step("c", Some("2")), step("d", Some("1"))];
        let blob = |diff_id: &str, blob: &str| LayerBlob {
            diff_id: digest(diff_id),
            digest: digest(blob),
            size: 7,
            media_type: "t".to_owned(),
        };
        let blobs = [blob("1", "e"), blob("2", "f")];
        let text = serde_json::to_string(&list_of(&steps, &blobs)).unwrap();
        let (read, found) = steps_of(&serde_json::from_str(&text).unwrap());
        assert_eq!(read, steps);
        assert_eq!(found[&digest("2")], blobs[1]);
        // A step whose layer did not go is not listed.
        assert_eq!(list_of(&steps, &blobs[..1]).records.len(), 3);
    }

    #[test]
    fn what_another_builder_wrote_is_no_error() {
        let text = r#"{"layers":[{"blob":"sha256:x","parent":-1},{"blob":"nonsense"}],
            "records":[{"digest":"sha256:y","layers":[{"layer":9}]},{"digest":"z","inputs":[[{"link":1}]]},
            {"digest":"random:abc","chains":[{"layers":[0]}]}]}"#;
        assert!(steps_of(&serde_json::from_str(text).unwrap()).0.is_empty());
    }
}
