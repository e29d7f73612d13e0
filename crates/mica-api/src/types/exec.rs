//! Further processes in a running container.

use crate::types::container::AttachStreams;

/// A process to run inside a running container: docker's exec create and start in one.
#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    /// Container by name, id or unique prefix.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `NAME=VALUE`, over the container's own.
    pub env: Vec<String>,
    /// User; empty for the container's.
    pub user: String,
    /// Working directory; empty for the container's.
    pub working_dir: String,
    /// All capabilities.
    pub privileged: bool,
    /// With a terminal.
    pub terminal: bool,
    /// Size of the terminal, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// Streams to follow; none for a detached one.
    pub attach: AttachStreams,
    /// Do not wait for it.
    pub detach: bool,
}

/// A started exec session.
#[derive(Debug)]
pub struct ExecStarted {
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// The stream, unless detached.
    pub stream: Option<crate::stream::AttachStream>,
}
