//! Builds: what is asked for, what is told on the way, and what comes out.

use crate::types::host_config::Ulimit;
use mica_model::RegistryAccess;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

/// What to build and how.
#[derive(Debug, Default)]
pub struct BuildRequest<'a> {
    /// The files that the build may copy.
    pub context: BuildContext,
    /// The Dockerfile; nothing means the one in the context.
    pub dockerfile: Option<BuildFile>,
    /// What the context leaves out; nothing means its own `.dockerignore`.
    pub ignore: Option<String>,
    /// Names of the result.
    pub tags: Vec<String>,
    /// The stage to build; the last one if empty.
    pub target: String,
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--build-context`: the absolute path of a directory, `docker-image://NAME`, `oci-layout://DIRECTORY`, an
    /// address as that of a context, or `target:NAME` for the result of another build.
    pub contexts: BTreeMap<String, String>,
    /// The platform of the result, or several between commas; that of the host if empty.
    pub platform: String,
    /// Does every step again.
    pub no_cache: bool,
    /// Does every step of these stages again.
    pub no_cache_stages: Vec<String>,
    /// The network of `RUN`: `default`, `none` or `host`.
    pub network: String,
    /// Lines for `/etc/hosts`: `name:address`.
    pub extra_hosts: Vec<String>,
    /// Size of `/dev/shm` in bytes; 0 is the usual.
    pub shm_size_bytes: i64,
    /// Limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Parent of the cgroups of steps.
    pub cgroup_parent: String,
    /// What steps may be lent.
    pub secrets: Vec<BuildSecret>,
    /// Agents by id: paths of sockets.
    pub agents: BTreeMap<String, PathBuf>,
    /// Rights beyond those of containers: `network.host`, `security.insecure`, `fs.read=DIRECTORY`.
    pub entitlements: Vec<String>,
    /// Seconds since the epoch after which nothing in the result is said to have been made.
    pub source_date_epoch: Option<i64>,
    /// Whether all that the build adds becomes one layer.
    pub squash: bool,
    /// Whether the result becomes an image of the store.
    pub store: bool,
    /// Whether that image is sent to the registries of its names, of which there must be one then.
    pub push: bool,
    /// Where else the result goes.
    pub outputs: Vec<BuildOutput>,
    /// Where steps may come from that others have done.
    pub cache_from: Vec<BuildCacheSource>,
    /// Where the steps of this build are kept for others.
    pub cache_to: Vec<BuildCacheTarget>,
    /// Notes on the manifests of the result.
    pub annotations: Vec<BuildAnnotation>,
    /// Asks for base images anew, even if they are here.
    pub pull: bool,
    /// With what rights and by which way registries and other places are reached.
    pub access: RegistryAccess<'a>,
}

/// The files that a build may copy.
#[derive(Debug, Default)]
pub enum BuildContext {
    /// None.
    #[default]
    Empty,
    /// A directory, read where it is.
    Directory(PathBuf),
    /// A tar archive, which may be compressed.
    Archive(File),
    /// The address of a git repository, of an archive, or of a Dockerfile.
    Remote(String),
}

/// A Dockerfile that is not in the context, or not where it usually is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFile {
    /// Its text, and its name for messages.
    Text {
        /// As people know it.
        name: String,
        /// What is in it.
        text: String,
    },
    /// Its path in the context.
    InContext(String),
    /// Its address in the web.
    Remote(String),
}

/// Something that steps may see and that nothing keeps.
#[derive(Clone)]
pub struct BuildSecret {
    /// Its id.
    pub id: String,
    /// What it is.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for BuildSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BuildSecret").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where a result goes besides the store.
#[derive(Debug)]
pub enum BuildOutput {
    /// Its files, into a directory.
    Files(PathBuf),
    /// Its files, as a tar archive.
    Tar(ArchivePlace),
    /// The image, as an archive that docker and OCI tools read.
    Archive {
        /// Where it is written.
        place: ArchivePlace,
        /// Whether docker is to load it, which knows no images for several platforms.
        is_dockers: bool,
    },
}

/// Where an archive goes.
#[derive(Debug)]
pub enum ArchivePlace {
    /// To whoever reads from this.
    Open(File),
    /// Into a file, which is there when all of it is; what was there before stays until then. The path is absolute.
    At(PathBuf),
}

/// Where steps come from that others have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildCacheSource {
    /// A directory that a build has written.
    Directory(PathBuf),
    /// An image whose build has put its steps into it.
    Image(String),
}

/// Where the steps of a build are kept for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildCacheTarget {
    /// A directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Whether also the steps are kept whose layers the result does not have.
        has_all: bool,
    },
    /// The image itself.
    Inline,
    /// A repository of a registry.
    Registry {
        /// Its name, with the tag.
        name: String,
        /// Whether also the steps are kept whose layers the result does not have.
        has_all: bool,
    },
}

/// A note on a part of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildAnnotation {
    /// On what.
    pub part: AnnotatedPart,
    /// For which platform only; for all if empty.
    pub platform: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: String,
}

/// What notes are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnotatedPart {
    /// The manifest of an image.
    Manifest,
    /// What leads to the manifest.
    ManifestDescriptor,
    /// The index of images for several platforms.
    Index,
    /// What leads to the index.
    IndexDescriptor,
}

/// A piece of news of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildEvent {
    /// A step begins.
    Begin {
        /// Its number, from 1.
        step: u32,
        /// What is shown of it.
        name: String,
    },
    /// A line about it.
    Note {
        /// Its number.
        step: u32,
        /// The line.
        text: String,
    },
    /// Output of its program.
    Output {
        /// Its number.
        step: u32,
        /// As it came.
        #[serde(with = "output")]
        bytes: Vec<u8>,
    },
    /// It was done before.
    Cached {
        /// Its number.
        step: u32,
    },
    /// It is done.
    Done {
        /// Its number.
        step: u32,
    },
    /// It failed, or was given up because another one has failed.
    Failed {
        /// Its number.
        step: u32,
        /// Why; nothing if it was given up.
        reason: Option<String>,
    },
    /// What the linter has found.
    Warnings {
        /// A line for each, after a line with their number.
        text: String,
    },
    /// Why the build failed: the place in the Dockerfile.
    Excerpt {
        /// Some lines of it, the wrong ones marked.
        text: String,
    },
}

/// Output as a text where it is one: it mostly is, and shorter so.
mod output {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Output {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => bytes.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Output::deserialize(deserializer)? {
            Output::Text(text) => text.into_bytes(),
            Output::Bytes(bytes) => bytes,
        })
    }
}

/// A build of the past, or one that goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildRecord {
    /// 25 letters and digits.
    pub id: String,
    /// What people know it by.
    pub name: String,
    /// How it stands.
    pub status: BuildStatus,
    /// Its context, as a path or an address.
    pub context: String,
    /// The name of the Dockerfile.
    pub dockerfile: String,
    /// The stage that was asked for.
    pub target: String,
    /// The platforms that were asked for.
    pub platform: String,
    /// Its arguments, without proxies.
    pub arguments: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The names of its result.
    pub tags: Vec<String>,
    /// Its named contexts.
    pub contexts: BTreeMap<String, String>,
    /// When it began, in nanoseconds since the epoch.
    pub started: i64,
    /// When it ended.
    pub completed: Option<i64>,
    /// Steps that were begun.
    pub total_steps: usize,
    /// Steps that are done.
    pub completed_steps: usize,
    /// Steps that had been done before.
    pub cached_steps: usize,
    /// What the linter found.
    pub warnings: usize,
    /// The image's id.
    pub image_id: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Where: some lines of the Dockerfile.
    pub excerpt: String,
}

/// How a build stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildStatus {
    /// It goes on.
    #[default]
    Running,
    /// There is a result.
    Completed,
    /// There is none.
    Failed,
    /// It was killed, or given up because another one failed.
    Cancelled,
}

/// What a build told at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildLogLine {
    /// Seconds since the build began.
    pub at: f64,
    /// What it told.
    pub event: BuildEvent,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutcome {
    /// The image's id; of several, that of the image for this machine.
    pub image_id: String,
    /// The digest of the manifest or index that was written; the image's id if none was.
    pub digest: String,
    /// Its names, in short.
    pub names: Vec<String>,
}

/// What may be asked of a Dockerfile without building it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildQuestion {
    /// What the linter finds.
    Check,
    /// Which stages can be built.
    Targets,
    /// What a build of the target takes.
    Outline,
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildAnswer {
    /// For people.
    pub text: String,
    /// For programs.
    pub document: serde_json::Value,
    /// Whether a check has found something.
    pub has_problems: bool,
}

/// A step that need not be done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildCacheRecord {
    /// Its key.
    pub id: String,
    /// What is shown of it.
    pub description: String,
    /// `regular`, or `exec.cachemount` for the directories of `--mount=type=cache`.
    pub kind: String,
    /// Bytes on the disk.
    pub size: u64,
    /// When it was made, in seconds since the epoch.
    pub created: i64,
    /// When it was used last.
    pub last_used: i64,
    /// How often it was used.
    pub uses: u64,
    /// Whether a build or an image needs it just now.
    pub in_use: bool,
    /// Whether images have its layer too.
    pub shared: bool,
}

/// What of the cache goes.
#[derive(Debug, Clone, Default)]
pub struct BuildPruneOptions {
    /// Also what images have.
    pub all: bool,
    /// Keeps so many bytes of what was used last.
    pub keep_bytes: Option<u64>,
    /// Keeps what was used in the last so many seconds.
    pub keep_seconds: Option<i64>,
}

/// What of the cache went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildPruned {
    /// Keys.
    pub ids: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}
