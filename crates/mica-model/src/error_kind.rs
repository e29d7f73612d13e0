//! What kind of failure an error is, so that doors can choose exit codes and HTTP statuses
//! without reading its words.

/// The branches that callers may take on an error; the words are elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist (HTTP 404).
    NotFound,
    /// The state of the thing forbids it: name taken, container running, image in use (HTTP 409).
    Conflict,
    /// The request itself is wrong (HTTP 400).
    InvalidArgument,
    /// The kernel or the caller's rights do not allow it (HTTP 403).
    Forbidden,
    /// A registry wants to know who asks, or does not let them (HTTP 401).
    Unauthorized,
    /// Somebody else does not answer, or not now (HTTP 503).
    Unavailable,
    /// This build or this host cannot do it (HTTP 501).
    Unsupported,
    /// No room, no memory, too many files (HTTP 507).
    Exhausted,
    /// The program of a container could not be executed: exit code 126.
    CannotExecute,
    /// The program of a container was not found: exit code 127.
    CommandNotFound,
    /// Nothing had to change: already started, already stopped (HTTP 304).
    NotModified,
    /// Damaged data on disk or in an archive (HTTP 500).
    DataLoss,
    /// Anything that is our own fault (HTTP 500).
    Internal,
}
