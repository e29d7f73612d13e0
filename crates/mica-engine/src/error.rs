//! What can go wrong in the engine, typed; and how it becomes the words of the road.

use mica_model::ErrorKind;
use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

/// The engine's own result.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error of the engine or of one of its rooms.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No container has this name, id or prefix.
    #[error("No such container: {reference}")]
    NoSuchContainer {
        /// As it was given.
        reference: String,
    },
    /// No image has this name, id or prefix.
    #[error("No such image: {reference}")]
    NoSuchImage {
        /// As it was given.
        reference: String,
    },
    /// No volume has this name.
    #[error("get {name}: no such volume")]
    NoSuchVolume {
        /// As it was given.
        name: String,
    },
    /// Only the driver `local` is there.
    #[error("error looking up volume plugin {name}: plugin {name:?} not found")]
    NoSuchVolumeDriver {
        /// As it was given.
        name: String,
    },
    /// No network has this name, id or prefix.
    #[error("network {reference} not found")]
    NoSuchNetwork {
        /// As it was given.
        reference: String,
    },
    /// A container has nothing at a path.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchPath {
        /// As it was given.
        path: String,
        /// As it was given.
        container: String,
    },
    /// A prefix that more than one id begins with.
    #[error("multiple IDs found with provided prefix: {prefix}")]
    AmbiguousPrefix {
        /// As it was given.
        prefix: String,
    },
    /// A container name that is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Full id of its holder.
        holder: String,
    },
    /// The state of a container forbids it.
    #[error("{what}")]
    State {
        /// In docker's words.
        what: String,
        /// What to do instead, if we know.
        hint: Option<&'static str>,
    },
    /// Already so.
    #[error("container {id} is already in this state")]
    NotModified {
        /// Full id.
        id: String,
    },
    /// The request is wrong.
    #[error("{what}")]
    Invalid {
        /// In docker's words.
        what: String,
    },
    /// This build cannot do it.
    #[error("{what}")]
    Unsupported {
        /// What was asked for.
        what: String,
    },
    /// A program of this machine is needed that is not there.
    #[error("{purpose} need the program {program}, which is not installed on this machine")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// For what.
        purpose: &'static str,
    },
    /// The program git failed.
    #[error("git {action} failed: {words}")]
    Git {
        /// What it was to do.
        action: &'static str,
        /// Its words.
        words: String,
    },
    /// A build failed.
    #[error("failed to solve")]
    Solve {
        /// Why.
        source: Box<Self>,
    },
    /// No record of a build.
    #[error("no record found for {reference:?}")]
    NoSuchBuild {
        /// As it was given.
        reference: String,
    },
    /// One of several builds failed.
    #[error("target {name}")]
    Target {
        /// Its name.
        name: String,
        /// Why.
        source: Box<Self>,
    },
    /// A command of a build ended with a failure.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    BuildCommand {
        /// Program and arguments.
        command: String,
        /// Its exit code.
        code: u32,
    },
    /// The store was written by a newer mica.
    #[error("{} has format {found}; this mica knows {known}", path.display())]
    FormatVersion {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database failed.
    #[error("could not {action} the database {}", path.display())]
    Database {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// A query failed inside a transaction.
    #[error("the state database failed")]
    Query {
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The configuration file does not parse.
    #[error("{} cannot be used", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A record does not parse.
    #[error("the record of {what} is damaged")]
    Record {
        /// Whose.
        what: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of ours failed.
    #[error("could not {action} {}", path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The image room.
    #[error(transparent)]
    Image(#[from] mica_image::Error),
    /// The registry room.
    #[error(transparent)]
    Registry(#[from] mica_registry::Error),
    /// A registry has no such image.
    #[error("manifest for {reference} not found")]
    ManifestUnknown {
        /// As docker writes it.
        reference: String,
        /// The registry's words.
        source: Box<mica_registry::Error>,
    },
    /// There is no such manifest, here or in a registry.
    #[error("{words} such manifest: {reference}")]
    NoSuchManifest {
        /// `No` of those that are here, `no` of a registry's, as docker writes it.
        words: &'static str,
        /// In full.
        reference: String,
    },
    /// Something cannot be handed on, because the place that has it does not give it.
    #[error("it is not to be had from {place}")]
    NotGiven {
        /// Where it should be.
        place: String,
        /// Why.
        source: Box<Self>,
    },
    /// A blob did not come whole.
    #[error("could not download {what}")]
    Download {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A layer did not come, or is not what it should be.
    #[error("layer {digest} of {repository}")]
    Layer {
        /// Its digest there.
        digest: mica_model::Digest,
        /// Where.
        repository: String,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// Nothing here has the name that is to be pushed.
    #[error("{}", no_image_to_push(name, tag.as_deref()))]
    NoImageToPush {
        /// The repository, as docker writes it.
        name: String,
        /// The tag, if one was meant.
        tag: Option<String>,
    },
    /// Something did not go to a registry, and not because of the registry.
    #[error("send {what}: {source}")]
    Upload {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A registry does not let us see or change an image.
    #[error("{action} access denied for {repository}, repository does not exist or may require 'mica login'")]
    AccessDenied {
        /// `pull` or `push`.
        action: &'static str,
        /// As docker writes it.
        repository: String,
        /// The registry's words.
        source: Box<mica_registry::Error>,
    },
    /// The snapshot room.
    #[error(transparent)]
    Snapshot(#[from] mica_snapshot::Error),
    /// The network room.
    #[error(transparent)]
    Network(#[from] mica_network::Error),
    /// The runtime room.
    #[error(transparent)]
    Runtime(#[from] mica_runtime::RuntimeError),
    /// A bake file is wrong, or does not have what is asked for.
    #[error(transparent)]
    Bake(#[from] mica_build::bake::BakeError),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(crate) fn database(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        Self::Database { action, path: path.to_owned(), source }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    pub(crate) fn state(what: impl Into<String>) -> Self {
        Self::State { what: what.into(), hint: None }
    }

    /// The branch that callers may take.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchContainer { .. }
            | Self::NoSuchImage { .. }
            | Self::NoSuchVolume { .. }
            | Self::NoSuchVolumeDriver { .. }
            | Self::NoSuchNetwork { .. }
            | Self::NoSuchBuild { .. }
            | Self::NoSuchPath { .. } => ErrorKind::NotFound,
            Self::NameInUse { .. } | Self::State { .. } => ErrorKind::Conflict,
            Self::AmbiguousPrefix { .. } | Self::Invalid { .. } | Self::Config { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::NotModified { .. } => ErrorKind::NotModified,
            Self::Solve { source } | Self::Target { source, .. } => source.kind(),
            Self::Bake(error) => error.kind(),
            Self::BuildCommand { .. } | Self::Git { .. } => ErrorKind::InvalidArgument,
            Self::Unsupported { .. } | Self::NoProgram { .. } | Self::FormatVersion { .. } => {
                ErrorKind::Unsupported
            }
            Self::Database { source, .. } | Self::Query { source } => database_kind(source),
            Self::Record { .. } => ErrorKind::DataLoss,
            Self::Io { source, .. } => io_kind(source),
            Self::Image(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Download { source, .. } | Self::Upload { source, .. } => download_kind(source),
            Self::ManifestUnknown { .. } | Self::NoImageToPush { .. } | Self::NoSuchManifest { .. } => {
                ErrorKind::NotFound
            }
            Self::Layer { source, .. } | Self::NotGiven { source, .. } => source.kind(),
            Self::AccessDenied { .. } => ErrorKind::Unauthorized,
            Self::Snapshot(error) => error.kind(),
            Self::Network(error) => error.kind(),
            Self::Runtime(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        if let Self::State { hint: Some(hint), .. } = self {
            return Some((*hint).to_owned());
        }
        if let Self::Solve { source } = self {
            return source.hint();
        }
        if let Self::Network(error) = self
            && let Some(hint) = error.hint()
        {
            return Some(hint.to_owned());
        }
        match self.kind() {
            _ if matches!(self, Self::Registry(mica_registry::Error::ForeignRealm { .. })) => Some(
                "if you trust that host with your password, name it in `token_hosts` of [registry] in \
                 /etc/mica/config.toml"
                    .to_owned(),
            ),
            _ if matches!(self, Self::FormatVersion { .. }) => Some(
                "a newer mica has written this store: use that one, or another store with --root".to_owned(),
            ),
            _ if matches!(self, Self::Runtime(mica_runtime::RuntimeError::Spawn { source }) if source.kind() == io::ErrorKind::NotFound) => {
                Some("mount /proc: monitors are started by way of /proc/self".to_owned())
            }
            ErrorKind::DataLoss => Some(
                "what the store keeps is damaged: remove the image or container (`rmi -f`, `rm -f`) and load or create it again"
                    .to_owned(),
            ),
            ErrorKind::Exhausted => Some(
                "free some space (`mica system df` tells who uses it, `mica rm` works on a full disk)"
                    .to_owned(),
            ),
            ErrorKind::Unauthorized => {
                Some("`mica login` tells a registry who you are; the name may also be misspelt".to_owned())
            }
            ErrorKind::Forbidden => {
                Some("run mica as root; rootless containers are not built yet".to_owned())
            }
            _ => None,
        }
    }
}

impl From<Error> for mica_api::Error {
    fn from(error: Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let words = cause.to_string();
            if !message.ends_with(&words) {
                message.push_str(": ");
                message.push_str(&words);
            }
            source = cause.source();
        }
        Self { kind: error.kind(), message, hint: error.hint() }
    }
}

/// An error of the registry room that came through a reader.
/// docker's words, which are others where other tags are there.
fn no_image_to_push(name: &str, tag: Option<&str>) -> String {
    match tag {
        Some(tag) => format!("tag does not exist: {name}:{tag}"),
        None => format!("An image does not exist locally with the tag: {name}"),
    }
}

fn download_kind(error: &io::Error) -> ErrorKind {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<mica_registry::Error>());
    inner.map_or_else(|| io_kind(error), mica_registry::Error::kind)
}

fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            ErrorKind::Exhausted
        }
        _ => ErrorKind::Internal,
    }
}

fn database_kind(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::Exhausted,
        Some(
            rusqlite::ErrorCode::CannotOpen
            | rusqlite::ErrorCode::PermissionDenied
            | rusqlite::ErrorCode::ReadOnly,
        ) => ErrorKind::Forbidden,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => ErrorKind::DataLoss,
        _ => ErrorKind::Internal,
    }
}
