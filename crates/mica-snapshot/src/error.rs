//! Why something in this room failed.

use crate::tar::TarError;
use mica_model::{Digest, ErrorKind};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A failure of the layer store, of a tar archive or of a file tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused something.
    #[error("{action} {path:?}")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The archive is not well formed, or the stream it comes from broke.
    #[error("invalid layer archive")]
    Tar {
        /// What is wrong with it.
        #[from]
        source: TarError,
    },
    /// The name of an entry leads outside of the archive or cannot be a file name.
    #[error("archive entry {name:?} {problem}")]
    Name {
        /// The name as the archive has it.
        name: String,
        /// What is wrong with it, as a clause.
        problem: &'static str,
    },
    /// An entry of the archive asks for something that no file can have.
    #[error("archive entry {path:?} {problem}")]
    Entry {
        /// Where it was to be.
        path: PathBuf,
        /// What is wrong with it, as a clause.
        problem: &'static str,
    },
    /// A hard link to a file that neither this layer nor those below have.
    #[error("hard link {path:?} to {target:?}, which does not exist")]
    LinkTarget {
        /// The new name.
        path: PathBuf,
        /// The missing file.
        target: PathBuf,
    },
    /// The content is not what was promised.
    #[error("layer has digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What the image's configuration says.
        expected: Digest,
        /// What the bytes gave.
        actual: Digest,
    },
    /// Registered without having been settled against the layers below.
    #[error("layer {diff_id} depends on the layers below it, which were not given")]
    Unsettled {
        /// Which layer.
        diff_id: Digest,
    },
    /// No such layer.
    #[error("layer {name} does not exist")]
    UnknownLayer {
        /// Its directory name.
        name: String,
    },
    /// The layer on disk no longer gives the archive that it was made from.
    #[error("layer {name} is damaged: {problem}")]
    Damaged {
        /// Its directory name.
        name: String,
        /// How that was noticed.
        problem: String,
    },
    /// The record of a layer cannot be read.
    #[error("record of a layer {path:?}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// More layers than one mount may have.
    #[error("{count} layers, at most {most} can be mounted")]
    TooManyLayers {
        /// How many there are.
        count: usize,
        /// How many are possible.
        most: usize,
    },
    /// A directory was to replace something else or the other way round, and the caller forbade it.
    #[error("cannot overwrite {kind} {path:?}")]
    Overwrite {
        /// What is there: "directory" or "non-directory".
        kind: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// The destination is no directory.
    #[error("{path:?} is not a directory")]
    NotDirectory {
        /// Where.
        path: PathBuf,
    },
}

/// What this room's functions return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => kind_of_io(source),
            Self::Tar { source } => match source {
                TarError::Read { source } => kind_of_io(source),
                _ => ErrorKind::InvalidArgument,
            },
            Self::Name { .. }
            | Self::Entry { .. }
            | Self::LinkTarget { .. }
            | Self::DigestMismatch { .. }
            | Self::TooManyLayers { .. }
            | Self::Overwrite { .. }
            | Self::NotDirectory { .. } => ErrorKind::InvalidArgument,
            Self::UnknownLayer { .. } => ErrorKind::NotFound,
            Self::Damaged { .. } | Self::Record { .. } => ErrorKind::DataLoss,
            Self::Unsettled { .. } => ErrorKind::Internal,
        }
    }

    /// Whether nobody reads any more what was being written.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// For `map_err`: names what was attempted and on what path (bytes as the kernel takes them).
    /// Nothing is copied unless there is an error.
    pub(crate) fn io<'a, E: Into<io::Error>>(
        action: &'static str,
        path: &'a [u8],
    ) -> impl FnOnce(E) -> Self + use<'a, E> {
        move |source| Self::Io { action, path: path_of(path), source: source.into() }
    }
}

/// Bytes from an archive or a directory as a path for a message.
pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    let shown = if bytes.is_empty() { b"." } else { bytes };
    PathBuf::from(OsStr::from_bytes(&shown[..shown.len().min(4096)]))
}

fn kind_of_io(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Forbidden,
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::OutOfMemory
        | io::ErrorKind::FileTooLarge => ErrorKind::Exhausted,
        io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => ErrorKind::InvalidArgument,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::DataLoss,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        _ => ErrorKind::Internal,
    }
}
