//! How do we ask the kernel? The only crate with unsafe code.
//!
//! One function per system call, and only those for which rustix has no safe one. Descriptors are
//! owned, errors are the kernel's numbers: what they were about is told by the caller, who knows.

pub mod attribute;
pub mod device_program;
pub mod identity;
pub mod lock;
pub mod network;
pub mod overlay_mount;
pub mod process;
pub mod seccomp;
pub mod seclusion;
pub mod signal;
pub mod write_out;
