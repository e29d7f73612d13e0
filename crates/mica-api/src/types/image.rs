//! Images: what is listed, what `inspect` shows, how they come and go.

use crate::types::container::{ContainerConfig, Empty, GraphDriver, Healthcheck};
use mica_model::{Credential, Filters, RegistryAccess, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// Which images to list.
#[derive(Debug, Clone, Default)]
pub struct ImageListOptions {
    /// Also intermediate ones.
    pub all: bool,
    /// docker's filters; `reference` holds the pattern of the command line.
    pub filters: Filters,
    /// Compute the bytes shared with other images.
    pub shared_size: bool,
}

/// A row of `images`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ImageSummary {
    pub id: String,
    pub parent_id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    /// Seconds since the epoch.
    pub created: i64,
    /// Bytes of all layers, unpacked.
    pub size: i64,
    /// Bytes shared with other images; -1 when not computed.
    pub shared_size: i64,
    pub labels: Option<BTreeMap<String, String>>,
    /// Containers that use it; -1 when not computed.
    pub containers: i64,
}

/// `GET /images/NAME/json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ImageInspect {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    pub created: Option<String>,
    pub author: String,
    pub config: Option<ImageDefaults>,
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub variant: String,
    pub os: String,
    pub size: i64,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: ImageMetadata,
    /// Where each layer lies on this host, base first (ours; docker has no such field).
    pub layer_paths: Vec<String>,
}

/// What an image brings to its containers. Since version 1.50 of the Engine API without the fields of
/// [`ContainerConfig`] that no image has, and without those that are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ImageDefaults {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, Empty>>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

impl From<ContainerConfig> for ImageDefaults {
    fn from(config: ContainerConfig) -> Self {
        Self {
            user: config.user,
            exposed_ports: config.exposed_ports,
            env: config.env.filter(|env| !env.is_empty()),
            entrypoint: config.entrypoint.filter(|words| !words.is_empty()),
            cmd: config.cmd.filter(|words| !words.is_empty()),
            volumes: config.volumes,
            working_dir: config.working_dir,
            labels: config.labels,
            stop_signal: config.stop_signal,
            healthcheck: config.healthcheck,
            on_build: config.on_build,
            shell: config.shell,
        }
    }
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// diffIDs, base first.
    pub layers: Vec<String>,
}

/// What the engine knows beside the image itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// When a name was last given.
    pub last_tag_time: Timestamp,
}

/// A row of `history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct HistoryEntry {
    /// Image id, or `<missing>`.
    pub id: String,
    /// Seconds since the epoch.
    pub created: i64,
    pub created_by: String,
    pub tags: Option<Vec<String>>,
    pub size: i64,
    pub comment: String,
    /// Directory of the layer on this host; empty where the step made none (ours).
    pub layer_path: String,
}

/// A name taken away or an image deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageDelete {
    /// A name was taken away.
    Untagged(String),
    /// An image, by id, or a layer, by diffID, is gone.
    Deleted(String),
}

/// How to remove an image.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageRemoveOptions {
    /// Also several names, stopped containers' images, and middle ones where safe.
    pub force: bool,
    /// Keep untagged parents.
    pub no_prune: bool,
}

/// Where an archive comes from.
#[derive(Debug)]
pub enum ArchiveSource {
    /// An open file, pipe or standard input.
    Stream(File),
    /// A file, or the directory of an OCI layout, by path.
    Path(PathBuf),
}

/// What a load made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Image id.
    pub id: String,
    /// Names given, as people write them; none for a nameless image.
    pub names: Vec<String>,
}

/// Where an archive to import is.
#[derive(Debug)]
pub enum ImportSource {
    /// Here.
    Archive(File),
    /// On the web.
    Address {
        /// `http://` or `https://`.
        address: String,
        /// Through which it is reached.
        proxies: mica_model::Proxies,
    },
}

/// How to make an image of one flat tar archive.
#[derive(Debug)]
pub struct ImportRequest {
    /// The archive: plain, gzip or zstd.
    pub source: ImportSource,
    /// Reference to give, or empty.
    pub reference: String,
    /// Message; docker's `Imported from …` when empty.
    pub message: String,
    /// Dockerfile instructions to apply.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`, or empty for the host's.
    pub platform: String,
}

/// What to fetch, and with what rights.
#[derive(Debug, Clone)]
pub struct PullRequest<'a> {
    /// A name with a tag or digest; of `all_tags` without.
    pub reference: String,
    /// `os/arch[/variant]`, or empty for the host's.
    pub platform: String,
    /// Every tag of the repository.
    pub all_tags: bool,
    /// How registries are reached.
    pub access: RegistryAccess<'a>,
}

/// What to send, and with what rights.
#[derive(Debug, Clone)]
pub struct PushRequest<'a> {
    /// A name with a tag; of `all_tags` without.
    pub reference: String,
    /// Only if the image is for it; empty for any.
    pub platform: String,
    /// Every tag that there is of the repository.
    pub all_tags: bool,
    /// `gzip` or `zstd`, for all layers; empty for what is usual, and for layers as they came.
    pub compression: String,
    /// How hard to compress, for all layers.
    pub compression_level: Option<i64>,
    /// How registries are reached.
    pub access: RegistryAccess<'a>,
}

/// What a push sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest.
    pub digest: String,
}

/// Where an image is copied from.
#[derive(Debug)]
pub enum ImageSource {
    /// A registry, by a name with a tag or digest.
    Registry(String),
    /// An archive, or the directory of an OCI layout.
    Files {
        /// The open file or directory.
        file: File,
        /// Which image of it; empty for the only one.
        name: String,
    },
    /// The store, by name or id.
    Store(String),
}

/// Where an image is copied to.
pub enum ImageTarget<'a> {
    /// A registry, by a name with a tag.
    Registry(String),
    /// An OCI layout in a directory, beside what is in it.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The image's name there; may be empty.
        name: String,
    },
    /// An archive, written from its beginning to its end.
    Archive {
        /// Where it is written.
        out: &'a mut (dyn Write + Send),
        /// The image's name there; may be empty.
        name: String,
        /// With the list that docker needs.
        is_dockers: bool,
    },
    /// The store, under a name.
    Store(String),
}

impl fmt::Debug for ImageTarget<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => formatter.debug_tuple("Registry").field(name).finish(),
            Self::Directory { path, name } => {
                formatter.debug_struct("Directory").field("path", path).field("name", name).finish()
            }
            Self::Archive { name, is_dockers, .. } => {
                formatter.debug_struct("Archive").field("name", name).field("is_dockers", is_dockers).finish()
            }
            Self::Store(name) => formatter.debug_tuple("Store").field(name).finish(),
        }
    }
}

impl ImageSource {
    /// The name of an image in a registry.
    pub fn registry(&self) -> Option<&str> {
        if let Self::Registry(name) = self { Some(name) } else { None }
    }
}

impl ImageTarget<'_> {
    /// The name of an image in a registry.
    pub fn registry(&self) -> Option<&str> {
        if let Self::Registry(name) = self { Some(name) } else { None }
    }
}

/// What to copy, and with what rights.
#[derive(Debug)]
pub struct ImageCopyRequest<'a, 'o> {
    /// From where.
    pub source: ImageSource,
    /// Where to.
    pub target: ImageTarget<'o>,
    /// All images of an index, and not that of one platform.
    pub is_whole: bool,
    /// `os/arch[/variant]`, or empty for the host's.
    pub platform: String,
    /// Registries may be spoken to without TLS, or with anybody's certificate.
    pub is_insecure: bool,
    /// How registries are reached.
    pub access: RegistryAccess<'a>,
}

/// What a copy has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedImage {
    /// The digest of its manifest or index; of its config in the store, where it was loaded.
    pub digest: String,
}

/// A credential to be compared.
#[derive(Debug, Clone)]
pub struct LoginRequest<'a> {
    /// The registry: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// What the user says.
    pub credential: Credential,
    /// How registries are reached.
    pub access: RegistryAccess<'a>,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// Image id.
    pub id: String,
    /// Its full name, as docker ends a pull with.
    pub name: String,
    /// Whether the name stood for another image before, or for none.
    pub is_new: bool,
}

/// What a long piece of work reports while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgressEvent {
    /// A part begins; its size in bytes where known.
    Begin {
        /// Short name of the part, such as twelve digits of a layer.
        part: String,
        /// Bytes to come.
        total: Option<u64>,
    },
    /// What is being done with a part, in docker's words.
    Status {
        /// Which.
        part: String,
        /// In a word or two: `Download complete`.
        text: String,
    },
    /// Something about the whole.
    Note {
        /// A line.
        text: String,
    },
    /// More of a part is done.
    Advance {
        /// Which.
        part: String,
        /// Bytes since the last report.
        bytes: u64,
    },
    /// A part is done.
    End {
        /// Which.
        part: String,
        /// In a word or two: `Loaded`, `Already exists`.
        outcome: String,
    },
}

/// The layers of one image for `image tree`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageTree {
    /// Image id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// Bytes of all its layers, unpacked.
    pub size: u64,
    /// Bytes of layers that no other image has.
    pub unique_size: u64,
    /// Containers on top of it, by name.
    pub containers: Vec<TreeContainer>,
    /// Base first.
    pub layers: Vec<TreeLayer>,
}

/// A layer in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TreeLayer {
    /// diffID.
    pub diff_id: String,
    /// Bytes, unpacked.
    pub size: u64,
    /// Files, directories and links in it.
    pub entry_count: u64,
    /// What made it.
    pub created_by: String,
    /// Seconds since the epoch.
    pub created: i64,
    /// Directory on this host.
    pub path: String,
    /// Names (or short ids) of other images with this layer.
    pub shared_images: Vec<String>,
    /// Names of containers with this layer below them.
    pub shared_containers: Vec<String>,
}

/// A container in a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TreeContainer {
    /// Name.
    pub name: String,
    /// `running`, `exited`…
    pub state: String,
    /// Bytes of its writable layer.
    pub size: u64,
    /// Directory of its writable layer on this host.
    pub path: String,
}

/// What to look for in a registry.
#[derive(Debug, Clone)]
pub struct SearchRequest<'a> {
    /// The word, after the name of the registry where it is not the hub: `registry.example/team`.
    pub term: String,
    /// How many to find at most; 0 for docker's 25.
    pub limit: i64,
    /// docker's filters: `stars`, `is-official`, `is-automated`.
    pub filters: Filters,
    /// How the user gets to registries.
    pub access: RegistryAccess<'a>,
}

/// A row of `search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct SearchResult {
    pub name: String,
    pub description: String,
    pub star_count: i64,
    pub is_official: bool,
}
