//! What can go wrong with blobs, documents and archives.

use mica_model::{Digest, DigestError, ErrorKind, ReferenceError};
use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an image could not be read, kept or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the store or of an image layout directory failed.
    #[error("{action} {path:?}")]
    File {
        /// What was tried: "open", "rename".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The archive could not be read.
    #[error("read the archive")]
    Read {
        /// What the kernel or the decompressor said.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("write the archive")]
    Write {
        /// What the kernel or the writer of a layer said.
        #[source]
        source: io::Error,
    },
    /// Content is not what its digest says.
    #[error("{what} has digest {actual}, not {expected} as promised")]
    DigestMismatch {
        /// Which content.
        what: String,
        /// What was promised.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Content is longer or shorter than promised.
    #[error("{what} has {actual} bytes, not {expected} as promised")]
    SizeMismatch {
        /// Which content.
        what: String,
        /// What was promised.
        expected: u64,
        /// What it is.
        actual: u64,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is missing")]
    BlobMissing {
        /// Its digest.
        digest: Digest,
    },
    /// A document or a list is longer than any honest one.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit in bytes or pieces.
        limit: u64,
    },
    /// A document is not the JSON that it should be.
    #[error("{what} is malformed")]
    Document {
        /// Which document.
        what: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A document is JSON but contradicts itself or lacks something.
    #[error("{what} is invalid: {reason}")]
    Invalid {
        /// Which document.
        what: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A digest is malformed.
    #[error("{what} has an unusable digest")]
    Digest {
        /// What has it.
        what: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// A name in an archive is malformed.
    #[error("invalid tag {text:?} in the archive")]
    Name {
        /// The name as it is written there.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// An archive has other layers than its config lists.
    #[error("{what} has {layers} layers but its config lists {diff_ids}")]
    LayerCount {
        /// Which image.
        what: String,
        /// How many layers there are.
        layers: usize,
        /// How many diffIDs there are.
        diff_ids: usize,
    },
    /// A kind of content that Mica doesn't take.
    #[error("media type {media_type:?} is not supported: {reason}")]
    MediaType {
        /// The media type.
        media_type: String,
        /// Why not.
        reason: &'static str,
    },
    /// A compression that Mica doesn't know.
    #[error("{format} compression is not supported; use gzip, bzip2, xz, zstd or none")]
    Compression {
        /// Its name.
        format: &'static str,
    },
    /// The tar format is violated.
    #[error("damaged or hostile tar archive at byte {offset}: {reason}")]
    Tar {
        /// Where the entry's header begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Neither a docker archive nor an OCI layout.
    #[error("not an image archive: it has neither manifest.json nor index.json")]
    NotAnArchive,
    /// The archive names an entry that it doesn't have.
    #[error("the archive has no file {name:?}")]
    EntryMissing {
        /// The entry's name.
        name: String,
    },
    /// The archive names something outside itself.
    #[error("{name:?} leaves the archive")]
    EntryOutside {
        /// The name or link.
        name: String,
    },
    /// No image in the archive suits the wished platform.
    #[error("the archive has no image for platform {platform}")]
    NoPlatform {
        /// The wished platform.
        platform: String,
    },
    /// No manifest of an index suits the wished platform.
    #[error("no matching manifest for {platform} in the manifest list entries (it has {offered})")]
    NoManifest {
        /// The wished platform.
        platform: String,
        /// The platforms that there are.
        offered: String,
    },
    /// Something in a registry that is no container image.
    #[error("it is an artifact of type {artifact_type:?}, not a container image")]
    Artifact {
        /// What it says it is.
        artifact_type: String,
    },
    /// `-c` with an instruction that doesn't exist or isn't allowed there.
    #[error("{instruction} is not a valid change command")]
    ChangeInstruction {
        /// The first word.
        instruction: String,
    },
    /// `-c` with an instruction whose arguments are wrong.
    #[error("{instruction} {reason}")]
    ChangeArguments {
        /// The instruction.
        instruction: &'static str,
        /// What is wrong: "requires exactly one argument".
        reason: &'static str,
    },
}

impl Error {
    /// Which branch a caller may take.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::File { source, .. } | Self::Read { source } | Self::Write { source } => io_kind(source),
            Self::BlobMissing { .. } => ErrorKind::DataLoss,
            Self::NoPlatform { .. } | Self::NoManifest { .. } => ErrorKind::NotFound,
            Self::MediaType { .. } | Self::Artifact { .. } | Self::Compression { .. } => {
                ErrorKind::Unsupported
            }
            _ => ErrorKind::InvalidArgument,
        }
    }

    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::File { action, path: path.into(), source: source.into() }
    }

    pub(crate) fn invalid(what: impl Into<String>, reason: &'static str) -> Self {
        Self::Invalid { what: what.into(), reason }
    }
}

fn io_kind(error: &io::Error) -> ErrorKind {
    if let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return inner.kind();
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory => {
            ErrorKind::Exhausted
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Forbidden,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::InvalidArgument,
        _ => ErrorKind::Internal,
    }
}
