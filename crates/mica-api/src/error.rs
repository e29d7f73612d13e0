//! The error that crosses the road: a kind to branch on, words to show, a hint to act on.

use mica_model::ErrorKind;

/// What every request may answer instead of its result.
///
/// The text is complete: the rooms' typed errors and their sources have been put into words by
/// the engine. On the wire it is docker's `{"message": …}` with a status chosen by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The branch to take.
    pub kind: ErrorKind,
    /// What was wrong, on what.
    pub message: String,
    /// What to do about it, where we know.
    pub hint: Option<String>,
}

/// The answer to a request.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` with its words.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The named thing does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The state of things forbids it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// This build or host cannot do it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Our own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}
