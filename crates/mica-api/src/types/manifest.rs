//! Manifests of registries, and lists of them that are put together here.

use mica_model::{PlatformWords, RegistryAccess};
use serde::Serialize;

/// How registries are reached for a command about manifests.
#[derive(Debug, Clone)]
pub struct ManifestAccess<'a> {
    /// Without TLS, or with anybody's certificate, where that is all there is.
    pub is_insecure: bool,
    /// The rest.
    pub access: RegistryAccess<'a>,
}

/// Which manifest is to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestInspectRequest {
    /// The list of this machine that has it; any place if empty.
    pub list: String,
    /// Its name.
    pub reference: String,
    /// With what it is for and how it looks, also of each in a list.
    pub is_verbose: bool,
}

/// What there is of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestAnswer {
    /// One manifest.
    One(Box<ManifestInspect>),
    /// A list, with its manifests where they were asked for.
    List {
        /// The list as docker writes it.
        document: String,
        /// Its manifests.
        manifests: Vec<ManifestInspect>,
    },
}

/// A manifest with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestInspect {
    /// Its name in full.
    pub reference: String,
    /// What leads to it.
    pub descriptor: ManifestDescriptor,
    /// The manifest as it is.
    pub manifest: Vec<u8>,
}

/// What leads to a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields carry the names and meanings of OCI one for one")]
pub struct ManifestDescriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<PlatformWords>,
}

/// A list to be put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestCreateRequest {
    /// Its name.
    pub list: String,
    /// Names of the manifests.
    pub manifests: Vec<String>,
    /// There may be such a list already.
    pub is_amendment: bool,
}

/// What is to be said of a manifest in a list; what is empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestAnnotateRequest {
    /// The list.
    pub list: String,
    /// The manifest.
    pub manifest: String,
    /// For which system it is; its features come in addition.
    pub platform: PlatformWords,
}
