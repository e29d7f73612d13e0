//! Manifests and indexes: the documents that lead from a name to an image.

use crate::config::ImageConfig;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::media_type::{ManifestKind, check_config, check_layer, manifest_kind};
use crate::platform::Platform;
use mica_model::{Digest, PlatformWords};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where content is to be had, as a document says it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    #[serde(default)]
    pub media_type: String,
    digest: String,
    /// Its length in bytes.
    pub size: u64,
    platform: Option<Box<PlatformWords>>,
    /// Remarks.
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A list of manifests.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    manifests: Option<Vec<Descriptor>>,
}

/// The manifest of one image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Its config.
    pub config: Descriptor,
    layers: Option<Vec<Descriptor>>,
}

/// A document that leads to images.
#[derive(Debug, Clone)]
pub enum ManifestDocument {
    /// One manifest per platform.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

/// What tells an index from a manifest, in a document that may claim to be both.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    media_type: Option<String>,
    schema_version: Option<u64>,
    artifact_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// What registries call content that they know nothing of.
const GENERIC_TYPES: [&str; 4] = ["", "application/json", "application/octet-stream", "text/plain"];

impl Descriptor {
    /// The digest of the content.
    pub fn digest(&self) -> Result<Digest> {
        let what = || format!("a descriptor of {:?}", self.media_type.chars().take(100).collect::<String>());
        self.digest.parse().map_err(|source| Error::Digest { what: what(), source })
    }

    /// For which system the content is, in all the words there are; `None` where nothing is said.
    pub fn platform_words(&self) -> Option<&PlatformWords> {
        self.platform.as_deref()
    }

    /// For which system the content is; empty where that is not said.
    pub fn platform(&self) -> Platform {
        let words = self.platform.as_deref().cloned().unwrap_or_default();
        Platform { os: words.os, architecture: words.architecture, variant: words.variant }
    }

    /// Whether it describes an image rather than how another image was built.
    pub fn is_image(&self) -> bool {
        let is_attestation = self
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get("vnd.docker.reference.type"))
            .is_some_and(|kind| kind == "attestation-manifest");
        !is_attestation && self.platform.as_ref().is_none_or(|platform| platform.architecture != "unknown")
    }
}

impl Index {
    /// All that it lists.
    pub fn descriptors(&self) -> &[Descriptor] {
        self.manifests.as_deref().unwrap_or_default()
    }

    /// The same, taken out of it.
    pub fn into_descriptors(self) -> Vec<Descriptor> {
        self.manifests.unwrap_or_default()
    }

    /// The first image for a platform.
    pub fn choose(self, platform: &Platform) -> Result<Descriptor> {
        let descriptors = self.into_descriptors();
        let entries = descriptors.iter().map(|descriptor| descriptor.platform().to_string());
        let offered: Vec<String> = entries.take(20).collect();
        let chosen = descriptors
            .into_iter()
            .find(|descriptor| descriptor.is_image() && platform.suits(&descriptor.platform()));
        chosen
            .ok_or_else(|| Error::NoManifest { platform: platform.to_string(), offered: offered.join(", ") })
    }
}

impl Manifest {
    /// The layers, base first.
    pub fn layers(&self) -> &[Descriptor] {
        self.layers.as_deref().unwrap_or_default()
    }

    /// Compares with the config and refuses what cannot be unpacked.
    pub fn check(&self, config: &ImageConfig) -> Result<()> {
        config.check_layer_count(self.layers().len())?;
        self.layers().iter().try_for_each(|layer| check_layer(&layer.media_type))
    }
}

/// Reads a document of a registry, which said that it is of the type `declared`. What it is must be
/// beyond doubt, or others would see another image in the same bytes.
pub fn parse_manifest(document: &Document, declared: &str) -> Result<ManifestDocument> {
    let (parsed, artifact_type) = parse_any(document, declared)?;
    if let ManifestDocument::Manifest(manifest) = &parsed {
        check_config(&manifest.config.media_type).map_err(|error| {
            artifact_type.map_or(error, |artifact_type| Error::Artifact { artifact_type })
        })?;
    }
    Ok(parsed)
}

/// Reads a document as [`parse_manifest`] does, but takes also what leads to no image (how one was built, who has
/// signed it), since whoever hands it on does not look into it.
pub fn parse_parcel(document: &Document, declared: &str) -> Result<ManifestDocument> {
    parse_any(document, declared).map(|(parsed, _)| parsed)
}

/// The media type of a document which somebody said to be of the type `declared`: its own, where it says one.
pub fn media_type_of(document: &Document, declared: &str) -> Result<String> {
    let kind: Kind = document.parse(&format!("manifest {}", document.digest()))?;
    Ok(kind.media_type.filter(|own| !own.is_empty()).unwrap_or_else(|| declared.to_owned()))
}

fn parse_any(document: &Document, declared: &str) -> Result<(ManifestDocument, Option<String>)> {
    let what = format!("manifest {}", document.digest());
    let kind: Kind = document.parse(&what)?;
    if kind.schema_version == Some(1) || kind.fs_layers.is_some() {
        manifest_kind("application/vnd.docker.distribution.manifest.v1+json")?;
    }
    if kind.manifests.is_some() && (kind.layers.is_some() || kind.config.is_some()) {
        return Err(Error::invalid(what, "it is both an index and a manifest"));
    }
    let own = kind.media_type.unwrap_or_default();
    let declared = if GENERIC_TYPES.contains(&declared) { "" } else { declared };
    if !own.is_empty() && !declared.is_empty() && own != declared {
        return Err(Error::invalid(what, "it says that it is of another type than the registry says"));
    }
    let media_type = if own.is_empty() { declared } else { own.as_str() };
    match manifest_kind(media_type)? {
        ManifestKind::Index if kind.manifests.is_some() => {
            Ok((ManifestDocument::Index(document.parse(&what)?), None))
        }
        ManifestKind::Manifest if kind.config.is_some() => {
            Ok((ManifestDocument::Manifest(document.parse(&what)?), kind.artifact_type))
        }
        _ => Err(Error::invalid(what, "its content does not suit its type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media_type::{OCI_INDEX, OCI_MANIFEST};

    fn parse(text: &str, declared: &str) -> Result<ManifestDocument> {
        parse_manifest(&Document::from_bytes(text.as_bytes().to_vec()), declared)
    }

    const CONFIG: &str = r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2}"#;

    #[test]
    fn what_a_document_is_must_be_beyond_doubt() {
        let manifest = format!("{{\"schemaVersion\":2,{CONFIG},\"layers\":[]}}");
        assert!(matches!(parse(&manifest, OCI_MANIFEST), Ok(ManifestDocument::Manifest(_))));
        assert!(parse(&manifest, OCI_INDEX).is_err());
        assert!(parse(&manifest, "text/html").is_err());
        assert!(parse(&manifest, "").is_err());
        let typed = format!("{{\"mediaType\":\"{OCI_MANIFEST}\",{CONFIG}}}");
        assert!(parse(&typed, "").is_ok() && parse(&typed, "application/json").is_ok());
        assert!(parse(&typed, OCI_INDEX).is_err());
        let both = format!("{{\"mediaType\":\"{OCI_MANIFEST}\",{CONFIG},\"manifests\":[]}}");
        assert!(parse(&both, OCI_MANIFEST).unwrap_err().to_string().contains("both"));
        let twice = format!("{{\"mediaType\":\"{OCI_MANIFEST}\",\"mediaType\":\"x\",{CONFIG}}}");
        assert!(parse(&twice, OCI_MANIFEST).is_err());
        assert!(matches!(parse("{\"manifests\":[]}", OCI_INDEX), Ok(ManifestDocument::Index(_))));
    }

    #[test]
    fn what_is_no_image_is_told_apart() {
        let old = parse(r#"{"schemaVersion":1,"fsLayers":[]}"#, "application/json").unwrap_err();
        assert!(old.to_string().contains("schema 1"), "{old}");
        let config = CONFIG.replace("image.config", "empty");
        let text =
            format!("{{\"mediaType\":\"{OCI_MANIFEST}\",\"artifactType\":\"application/x.helm\",{config}}}");
        let artifact = parse(&text, OCI_MANIFEST).unwrap_err();
        assert!(artifact.to_string().contains("application/x.helm"), "{artifact}");
    }

    #[test]
    fn an_index_offers_what_suits() {
        let entry = |architecture: &str| {
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"sha256:{}","size":1,"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
                "0".repeat(64)
            )
        };
        let text = format!("{{\"manifests\":[{},{}]}}", entry("s390x"), entry("amd64"));
        let index = || match parse(&text, OCI_INDEX) {
            Ok(ManifestDocument::Index(index)) => index,
            other => panic!("{other:?}"),
        };
        let platform =
            |architecture: &str| Platform { architecture: architecture.to_owned(), ..Platform::host() };
        assert_eq!(index().choose(&platform("amd64")).unwrap().platform().architecture, "amd64");
        let error = index().choose(&platform("riscv64")).unwrap_err().to_string();
        assert!(error.contains("linux/riscv64") && error.contains("linux/s390x"), "{error}");
    }
}
