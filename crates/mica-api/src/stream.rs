//! The two-way stream of an attached container or exec session.

use std::os::unix::net::UnixStream;

/// A connection that carries [`mica_model::frame`] frames.
///
/// The client sends `Stdin`, `StdinClose`, `Resize` and `Detach`; it receives `Started`,
/// `Stdout`, `Stderr` and at last `Exit` or `Failed`. Closing it never ends the container.
#[derive(Debug)]
pub struct AttachStream {
    /// The socket itself, blocking.
    pub socket: UnixStream,
    /// Whether the other side is a terminal: everything then arrives as `Stdout`.
    pub terminal: bool,
}
