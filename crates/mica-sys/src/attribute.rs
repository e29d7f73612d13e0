//! Attributes of mounts: mount_setattr(2), which rustix has no wrapper for.

use crate::process::last_error;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

/// Read-only.
pub const RDONLY: u64 = 0x1;
/// Set-user-id bits are ignored.
pub const NOSUID: u64 = 0x2;
/// Device nodes cannot be opened.
pub const NODEV: u64 = 0x4;
/// Programs cannot be executed.
pub const NOEXEC: u64 = 0x8;

/// How far an attribute reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This mount only.
    One,
    /// This mount and all below it.
    Below,
}

/// Sets attributes (`MOUNT_ATTR_*`) and, when not 0, the propagation (`MS_*`) of the mount that
/// `mount` refers to.
pub fn set(mount: BorrowedFd<'_>, attributes: u64, propagation: u64, reach: Reach) -> io::Result<()> {
    const ACCESS_TIMES: u64 = 0x70;
    let request = libc::mount_attr {
        attr_set: attributes,
        // The access time is a field of several bits, which must be cleared to be changed.
        attr_clr: if attributes & ACCESS_TIMES == 0 { 0 } else { ACCESS_TIMES },
        propagation,
        userns_fd: 0,
    };
    apply(mount, &request, reach)
}

/// mount_setattr(2) of the mount that a descriptor refers to.
pub(crate) fn apply(mount: BorrowedFd<'_>, request: &libc::mount_attr, reach: Reach) -> io::Result<()> {
    let recursive = if reach == Reach::Below { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::AT_EMPTY_PATH | recursive;
    // SAFETY: the path is an empty text with its NUL and the request lives until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(request),
            size_of_val(request),
        )
    };
    if result == -1 { Err(last_error()) } else { Ok(()) }
}
