//! Ids seen through a user namespace: maps on mounts, and acting as the owner of mapped files.

use crate::attribute::{self, Reach};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;
use rustix::thread::{CapabilitySets, capabilities, set_capabilities};

/// Shows the owners of a detached mount, and of those below it, as the user namespace maps them
/// (mount_setattr(2) with `MOUNT_ATTR_IDMAP`; Linux 5.12, and the file system must know of it).
///
/// # Errors
/// `EINVAL` for a file system that cannot; else what mount_setattr(2) tells.
pub fn map_mount(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let request = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    attribute::apply(mount, &request, Reach::Below)
}

/// Does `work` with files made by this thread belonging to `uid` and `gid` (setfsuid(2)), with the
/// thread's capabilities kept, which the change of id takes away otherwise (capabilities(7)).
///
/// # Errors
/// `EPERM` when the ids or the capabilities could not be taken; else those of `work`.
pub fn as_file_owner<T, E: From<io::Errno>>(
    (uid, gid): (u32, u32),
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let before = capabilities(None)?;
    let (old_gid, old_uid) = (set_file_gid(gid), set_file_uid(uid));
    let taken = match (set_file_gid(gid) == gid, set_file_uid(uid) == uid) {
        (true, true) => set_capabilities(None, CapabilitySets { effective: before.effective, ..before }),
        _ => Err(io::Errno::PERM),
    };
    let result = taken.map_err(E::from).and_then(|()| work());
    set_file_uid(old_uid);
    set_file_gid(old_gid);
    set_capabilities(None, before)?;
    result
}

/// setfsuid(2), which answers the id before and tells of no error: asking again shows whether it holds.
fn set_file_uid(uid: u32) -> u32 {
    // SAFETY: takes an integer and changes the thread's credentials only.
    unsafe { libc::syscall(libc::SYS_setfsuid, uid) as u32 }
}

/// setfsgid(2); see [`set_file_uid`].
fn set_file_gid(gid: u32) -> u32 {
    // SAFETY: takes an integer and changes the thread's credentials only.
    unsafe { libc::syscall(libc::SYS_setfsgid, gid) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn work_as_oneself_is_plain_work() {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let done: io::Result<u8> = as_file_owner((uid, gid), || Ok(7));
        assert_eq!(done, Ok(7));
    }

    #[test]
    #[ignore = "needs root"]
    fn privileged_files_belong_to_the_owner_and_rights_stay() {
        let path = std::env::temp_dir().join(format!("mica-sys-owner-{}", std::process::id()));
        let before = capabilities(None).unwrap();
        let made: std::io::Result<()> = as_file_owner((100_000, 100_001), || {
            assert_eq!(capabilities(None).unwrap(), before);
            std::fs::write(&path, "")
        });
        made.unwrap();
        let status = std::fs::metadata(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((status.uid(), status.gid()), (100_000, 100_001));
        assert_eq!(capabilities(None).unwrap(), before);
        std::fs::write(&path, "").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), 0);
        std::fs::remove_file(&path).unwrap();
    }
}
