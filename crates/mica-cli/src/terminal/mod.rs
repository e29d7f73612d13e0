//! The terminal of whoever typed the command: raw mode, its size, its keys and signals, and the
//! loop that joins it to a container.

pub mod attach;
pub mod detach;
mod inlet;
mod outlet;
pub mod raw;
pub mod signals;

pub use attach::{AttachEnd, AttachError, AttachOptions, attach_loop};
pub use detach::{DetachKeys, DetachKeysError};
pub use raw::{RawMode, WindowSize, window_size};
