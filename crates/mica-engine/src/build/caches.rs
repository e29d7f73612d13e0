//! `--cache-from` and `--cache-to`: steps that other stores have done, in directories and in images.
//!
//! A directory is an OCI layout. Its one manifest has a list of steps as its config, and their layers as its layers,
//! uncompressed, so that a layer's name is its diffID. An image carries the same list in its own config.

use super::crew::held;
use super::registry_cache::{self, Shelf};
use crate::Local;
use crate::disk::write_file;
use crate::error::{Error, Result};
use crate::image::record::{ImageRecord, LayerRecord};
use mica_api::types::build::{BuildCacheSource, BuildCacheTarget, BuildRequest};
use mica_api::types::image::PullRequest;
use mica_build::worker::Change;
use mica_model::{Digest, RegistryAccess, Timestamp};
use mica_snapshot::IngestedLayer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The media type of a list of steps.
const STEPS_TYPE: &str = "application/vnd.mica.build.cache.v1+json";
/// The longest list that is read, in bytes.
pub(super) const STEPS_SIZE_MAX: u64 = 64 << 20;

/// A step that was done elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) key: Digest,
    /// Nothing if it changed no file.
    pub(super) layer: Option<Digest>,
    /// In nanoseconds since the epoch.
    pub(super) created: i64,
    pub(super) description: String,
}

/// Where the layers of a list lie.
#[derive(Debug, Clone)]
enum Place {
    /// In a directory of blobs.
    Blobs(PathBuf),
    /// In the store, with the image that has the list.
    Store(HashMap<Digest, LayerRecord>),
    /// In a repository of a registry.
    Shelf(Shelf),
}

/// What a build may take from others, and what it has to give.
#[derive(Debug, Default)]
pub(super) struct Caches {
    known: HashMap<Digest, (Step, usize)>,
    places: Vec<Place>,
    /// What was done or found, in the order of the keys.
    seen: Mutex<BTreeMap<Digest, Step>>,
}

/// A step of another store, as this one can use it.
pub(super) enum Brought {
    /// It changed nothing, or its layer is here.
    Here(Change, Option<LayerRecord>, String),
    /// Its layer was unpacked.
    Unpacked(IngestedLayer, Timestamp, String),
}

impl Caches {
    /// Reads what a request names. What is not there is no error: the build only has more to do.
    pub(super) fn open(local: &Local, request: &BuildRequest<'_>) -> Result<Self> {
        let mut caches = Self::default();
        for source in &request.cache_from {
            let (steps, place) = match source {
                BuildCacheSource::Directory(directory) => match read_directory(directory)? {
                    Some(steps) => (steps, Place::Blobs(directory.join("blobs/sha256"))),
                    None => continue,
                },
                BuildCacheSource::Image(name) => match read_name(local, request, name)? {
                    Some(found) => found,
                    None => continue,
                },
            };
            let place_index = caches.places.len();
            caches.places.push(place);
            for step in steps {
                caches.known.entry(step.key).or_insert((step, place_index));
            }
        }
        Ok(caches)
    }

    /// Brings the step of a key, if another store has done it.
    pub(super) fn bring(
        &self,
        local: &Local,
        access: &RegistryAccess<'_>,
        key: &Digest,
    ) -> Result<Option<Brought>> {
        let Some((step, place)) = self.known.get(key) else { return Ok(None) };
        let created = Timestamp::from_nanoseconds(step.created);
        let description = step.description.clone();
        let change = |layer| Change { layer, created };
        let Some(diff_id) = step.layer else {
            return Ok(Some(Brought::Here(change(None), None, description)));
        };
        match &self.places[*place] {
            Place::Store(layers) => Ok(layers
                .get(&diff_id)
                // Only such a one means the same wherever it lies.
                .filter(|layer| layer.chain.is_none())
                .map(|layer| Brought::Here(change(Some(diff_id)), Some(layer.clone()), description))),
            Place::Shelf(shelf) => {
                let layer = shelf.unpack(local, access, &diff_id)?;
                Ok(layer.map(|layer| Brought::Unpacked(layer, created, description)))
            }
            Place::Blobs(blobs) => {
                let Ok(file) = File::open(blobs.join(diff_id.hex())) else { return Ok(None) };
                let layer = local.unpack(BufReader::with_capacity(256 << 10, file))?;
                let actual = *layer.diff_id();
                if actual != diff_id {
                    return Err(mica_snapshot::Error::DigestMismatch { expected: diff_id, actual }.into());
                }
                Ok(Some(Brought::Unpacked(layer, created, description)))
            }
        }
    }

    /// Notes a step that the build has done or found.
    pub(super) fn note(&self, key: &Digest, change: &Change, description: &str) {
        let created = change.created.nanoseconds();
        let step = Step { key: *key, layer: change.layer, created, description: description.to_owned() };
        held(&self.seen).insert(*key, step);
    }

    /// The list for an image with these layers.
    pub(super) fn of_image(&self, layers: &[Digest]) -> String {
        serde_json::to_string(&self.steps(Some(layers))).unwrap_or_default()
    }

    /// All steps, or those that have made some of these layers.
    fn steps(&self, layers: Option<&[Digest]>) -> Vec<Step> {
        let is_wanted = |step: &&Step| match (layers, &step.layer) {
            (None, _) | (_, None) => true,
            (Some(layers), Some(layer)) => layers.contains(layer),
        };
        held(&self.seen).values().filter(is_wanted).cloned().collect()
    }

    /// Writes what the request wants to keep elsewhere; `layers` are those of the results.
    pub(super) fn export(
        &self,
        local: &Local,
        request: &BuildRequest<'_>,
        (layers, records): (&[Digest], &HashMap<Digest, LayerRecord>),
    ) -> Result<()> {
        for target in &request.cache_to {
            let steps = |has_all: bool| self.steps(Some(layers).filter(|_| !has_all));
            match target {
                BuildCacheTarget::Inline => {}
                BuildCacheTarget::Directory { path, has_all } => {
                    write_directory(local, path, (&steps(*has_all), records))?;
                }
                BuildCacheTarget::Registry { name, has_all } => {
                    registry_cache::write(local, request, name, (&steps(*has_all), records))?;
                }
            }
        }
        Ok(())
    }
}

/// The list of a name: an image that is here, a cache of a registry, or an image that is to be had there.
fn read_name(local: &Local, request: &BuildRequest<'_>, name: &str) -> Result<Option<(Vec<Step>, Place)>> {
    let found = ImageRecord::find(&local.database(), name);
    let is_here = match found {
        Err(Error::NoSuchImage { .. }) => false,
        other => other.map(|_| true)?,
    };
    if !is_here && let Some((steps, shelf)) = registry_cache::read(local, &request.access, name)? {
        return Ok(Some((steps, Place::Shelf(shelf))));
    }
    Ok(read_image(local, request, name)?.map(|(steps, layers)| (steps, Place::Store(layers))))
}

/// The list of an image, and where its layers lie.
type Carried = (Vec<Step>, HashMap<Digest, LayerRecord>);

/// The image of a name with the list in its config, if it can be had.
fn read_image(local: &Local, request: &BuildRequest<'_>, name: &str) -> Result<Option<Carried>> {
    // By itself, since a pull needs the database too.
    let found = ImageRecord::find(&local.database(), name);
    let record = match found {
        Ok(record) => record,
        Err(Error::NoSuchImage { .. }) => {
            let wish = PullRequest {
                reference: name.to_owned(),
                platform: String::new(),
                all_tags: false,
                access: request.access.clone(),
            };
            let Ok(pulled) = local.pull_images(&wish, &|_| {}) else { return Ok(None) };
            let Some(image) = pulled.first() else { return Ok(None) };
            ImageRecord::find(&local.database(), &image.id)?
        }
        Err(error) => return Err(error),
    };
    let config = local.image_config(&record)?;
    let Some(text) = mica_image::build_cache(&config) else { return Ok(None) };
    let steps: Vec<Step> = serde_json::from_str(&text).unwrap_or_default();
    let layers = record.layers.iter().map(|layer| (layer.diff_id, layer.clone())).collect();
    Ok(Some((steps, layers)))
}

/// The list of a directory; nothing if there is none.
fn read_directory(directory: &Path) -> Result<Option<Vec<Step>>> {
    let damaged = |what: &str| Error::invalid(format!("the cache in {}: {what}", directory.display()));
    let index = match std::fs::read(directory.join("index.json")) {
        Ok(index) => index,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io("read", directory, source)),
    };
    let document =
        |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|error| damaged(&error.to_string()));
    let index = document(&index)?;
    let manifest = document(&read_blob(directory, &index["manifests"][0]["digest"])?)?;
    if manifest["config"]["mediaType"] != STEPS_TYPE {
        return Err(damaged("it was not written by mica"));
    }
    let steps = read_blob(directory, &manifest["config"]["digest"])?;
    serde_json::from_slice(&steps).map(Some).map_err(|error| damaged(&error.to_string()))
}

fn read_blob(directory: &Path, digest: &Value) -> Result<Vec<u8>> {
    let wrong = || Error::invalid(format!("the cache in {}: {digest} is not right", directory.display()));
    let digest: Digest = digest.as_str().unwrap_or_default().parse().map_err(|_| wrong())?;
    let path = directory.join("blobs/sha256").join(digest.hex());
    let fail = |source| Error::io("read", &path, source);
    let mut bytes = Vec::new();
    File::open(&path).map_err(fail)?.take(STEPS_SIZE_MAX).read_to_end(&mut bytes).map_err(fail)?;
    if Digest::from_bytes(Sha256::digest(&bytes).into()) == digest { Ok(bytes) } else { Err(wrong()) }
}

/// Writes a directory anew: blobs first, the index last, and then what nothing needs any more goes.
fn write_directory(
    local: &Local,
    directory: &Path,
    (steps, records): (&[Step], &HashMap<Digest, LayerRecord>),
) -> Result<()> {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(|source| Error::io("make", &blobs, source))?;
    let mut needed = BTreeSet::new();
    let mut layers = Vec::new();
    let mut kept = Vec::new();
    for step in steps {
        if let Some(layer) = step.layer
            && !needed.contains(&layer.hex())
        {
            let Some(record) = records.get(&layer) else { continue };
            let path = blobs.join(layer.hex());
            if !path.exists() {
                write_layer(local, record, &path)?;
            }
            let size = path.metadata().map_err(|source| Error::io("examine", &path, source))?.len();
            layers.push(json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.to_string(), "size": size,
            }));
            needed.insert(layer.hex());
        }
        kept.push(step);
    }
    let mut blob = |content: &[u8]| -> Result<(String, usize)> {
        let digest = Digest::from_bytes(Sha256::digest(content).into());
        write_whole(&blobs.join(digest.hex()), content)?;
        needed.insert(digest.hex());
        Ok((digest.to_string(), content.len()))
    };
    let (digest, size) = blob(&serde_json::to_vec(&kept).unwrap_or_default())?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": STEPS_TYPE, "digest": digest, "size": size}, "layers": layers,
    });
    let (digest, size) = blob(manifest.to_string().as_bytes())?;
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": size,
        }],
    });
    write_whole(&directory.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write_whole(&directory.join("index.json"), index.to_string().as_bytes())?;
    for entry in std::fs::read_dir(&blobs).into_iter().flatten().flatten() {
        if !needed.contains(&*entry.file_name().to_string_lossy()) {
            // It is only room.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn write_layer(local: &Local, record: &LayerRecord, path: &Path) -> Result<()> {
    let fresh = path.with_extension("new");
    let fail = |source| Error::io("write", &fresh, source);
    let mut out = BufWriter::with_capacity(256 << 10, File::create(&fresh).map_err(fail)?);
    local.layers.write_tar(&record.key(), &mut out)?;
    out.flush().map_err(fail)?;
    std::fs::rename(&fresh, path).map_err(fail)
}

/// Writes a file so that readers see all of it or none.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let fresh = path.with_extension("new");
    write_file(&fresh, content)?;
    std::fs::rename(&fresh, path).map_err(|source| Error::io("write", path, source))
}
