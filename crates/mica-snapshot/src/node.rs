//! Files by the descriptor of their directory and a single name: the only way in which this room
//! touches what came from an archive or from inside a container.

use crate::error::{Error, Result};
use crate::tar::{EntryKind, Metadata, Time};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The attribute by which overlayfs knows a directory that hides those below it.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Opens a directory without following a link.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Whether a directory shows the kernel's own state: it is then an empty mount point to `cp`, as
/// it is in the container's layers. Reading on would never end, or tell about the reader itself.
pub(crate) fn shows_the_kernel(directory: BorrowedFd<'_>) -> bool {
    // The magic numbers of statfs(2): proc, sysfs, devpts, mqueue, cgroup, cgroup2.
    const MAGIC: [i64; 6] = [0x9fa0, 0x6265_6572, 0x1cd1, 0x1980_0202, 0x0027_e0eb, 0x6367_7270];
    rustix::fs::fstatfs(directory).is_ok_and(|status| MAGIC.contains(&status.f_type))
}

/// Status of what is there, links not followed; `None` if nothing is.
pub(crate) fn stat(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The type bits of a status.
pub(crate) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlayfs' mark of a deleted name: a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Names in a directory in the order of their bytes, without `.` and `..`.
pub(crate) fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    // A fresh descriptor, because a directory's read position belongs to the open file.
    let fresh = open_directory(directory, c".")?;
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(fresh, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A path for the calls that take no directory descriptor. The last component is never followed by
/// the `l...xattr` calls, and the one before is a descriptor, so nothing can be swapped.
fn via_descriptor(parent: BorrowedFd<'_>, name: &CStr) -> CString {
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).unwrap_or_default()
}

/// Sets an attribute on the node itself.
pub(crate) fn set_xattr(
    parent: BorrowedFd<'_>,
    name: &CStr,
    key: &[u8],
    value: &[u8],
) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(via_descriptor(parent, name), key, value, XattrFlags::empty())
}

/// Removes an attribute of the node itself.
pub(crate) fn remove_xattr(parent: BorrowedFd<'_>, name: &CStr, key: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::lremovexattr(via_descriptor(parent, name), key)
}

/// All attributes of the node itself, sorted by name; none where the file system has none.
pub(crate) fn xattrs(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Attributes> {
    let path = via_descriptor(parent, name);
    all_xattrs(
        |list| rustix::fs::llistxattr(&path, list),
        |key, value| rustix::fs::lgetxattr(&path, key, value),
    )
}

/// The same of an open file, which takes a quarter of the time.
pub(crate) fn xattrs_of(file: BorrowedFd<'_>) -> rustix::io::Result<Attributes> {
    all_xattrs(
        |list| rustix::fs::flistxattr(file, list),
        |key, value| rustix::fs::fgetxattr(file, key, value),
    )
}

/// Names and values of attributes.
type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

fn all_xattrs(
    list_into: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    read_into: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Attributes> {
    let mut list = vec![0; 1024];
    let length = loop {
        match list_into(&mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(64 << 10, 0),
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    };
    let mut found = Vec::new();
    for key in list[..length].split(|&b| b == 0).filter(|key| !key.is_empty()) {
        let mut value = vec![0; 64 << 10];
        match read_into(key, &mut value[..]) {
            Ok(length) => found.push((key.to_vec(), value[..length].to_vec())),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether an attribute is overlayfs' own note about where a node came from, which would be wrong on another stack.
pub(crate) fn is_overlay_note(key: &[u8]) -> bool {
    key.starts_with(b"trusted.overlay.") && key != OPAQUE
}

/// Whether a directory hides those of the same name in lower layers.
pub(crate) fn is_opaque(directory: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an attribute may travel in an archive. Those of overlayfs would change what the kernel
/// shows, and labels of security modules belong to the host.
pub(crate) fn is_portable_xattr(key: &[u8]) -> bool {
    key == b"security.capability"
        || key.starts_with(b"system.posix_acl_")
        || (key.starts_with(b"user.") && !key.starts_with(b"user.overlay."))
}

/// Time of last modification of a status.
pub(crate) fn mtime(stat: &Stat) -> Time {
    Time { seconds: stat.st_mtime, nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) }
}

/// Both times as utimensat(2) takes them.
pub(crate) fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Metadata and kind of an existing node; `None` for a socket, which no archive can hold.
pub(crate) fn describe(
    parent: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
) -> rustix::io::Result<Option<(EntryKind, Metadata)>> {
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match file_type(stat) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => {
            EntryKind::Symlink { target: rustix::fs::readlinkat(parent, name, Vec::new())?.into_bytes() }
        }
        FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
        FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
        FileType::Fifo => EntryKind::Fifo,
        _ => return Ok(None),
    };
    Ok(Some((kind, metadata(stat, xattrs(parent, name)?))))
}

/// Metadata from a status and from attributes, of which those stay that may travel.
pub(crate) fn metadata(stat: &Stat, mut xattrs: Attributes) -> Metadata {
    xattrs.retain(|(key, _)| is_portable_xattr(key));
    let (uid, gid) = (stat.st_uid, stat.st_gid);
    Metadata { mode: stat.st_mode & 0o7777, uid, gid, mtime: mtime(stat), xattrs }
}

/// Gives a node its owner, attributes, permissions and time, in the order in which none undoes
/// another: chown clears set-id bits and capabilities.
pub(crate) fn apply_metadata(
    parent: BorrowedFd<'_>,
    name: &CStr,
    metadata: &Metadata,
    is_symlink: bool,
) -> Result<()> {
    let owner = (rustix::fs::Uid::from_raw(metadata.uid), rustix::fs::Gid::from_raw(metadata.gid));
    let error = |action| Error::io::<Errno>(action, name.to_bytes());
    rustix::fs::chownat(parent, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(error("change the owner of"))?;
    for (key, value) in &metadata.xattrs {
        // user.* cannot be on a symbolic link; the kernel says so with EPERM.
        if !is_portable_xattr(key) || (is_symlink && key.starts_with(b"user.")) {
            continue;
        }
        match set_xattr(parent, name, key, value) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(Errno::PERM) if key.starts_with(b"user.") => {}
            Err(other) => return Err(error("set an attribute of")(other)),
        }
    }
    if !is_symlink {
        // The caller just made or checked this node, and fchmodat(2) on a link would follow it:
        // the descriptor road below cannot.
        change_mode(parent, name, metadata.mode).map_err(error("change the mode of"))?;
    }
    rustix::fs::utimensat(parent, name, &timestamps(metadata.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(error("set the time of"))
}

/// Gives a new regular file its owner, attributes, permissions and time, as far as it has others: of tens of thousands of
/// files most have the right owner and mode from the beginning, and asking costs a tenth of changing.
pub(crate) fn finish_file(file: &OwnedFd, path: &[u8], metadata: &Metadata) -> Result<()> {
    let error = |action| Error::io::<Errno>(action, path);
    let made = rustix::fs::fstat(file).map_err(error("examine"))?;
    if (made.st_uid, made.st_gid) != (metadata.uid, metadata.gid) {
        let (owner, group) =
            (rustix::fs::Uid::from_raw(metadata.uid), rustix::fs::Gid::from_raw(metadata.gid));
        rustix::fs::fchown(file, Some(owner), Some(group)).map_err(error("change the owner of"))?;
    }
    for (key, value) in metadata.xattrs.iter().filter(|(key, _)| is_portable_xattr(key)) {
        match rustix::fs::fsetxattr(file, &key[..], value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(other) => return Err(error("set an attribute of")(other)),
        }
    }
    // An access control list among the attributes is a mode, too.
    if made.st_mode & 0o7777 != metadata.mode & 0o7777 || !metadata.xattrs.is_empty() {
        rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode)).map_err(error("change the mode of"))?;
    }
    rustix::fs::futimens(file, &timestamps(metadata.mtime)).map_err(error("set the time of"))
}

/// chmod that cannot go through a symbolic link, on kernels without fchmodat2(2) too.
pub(crate) fn change_mode(parent: BorrowedFd<'_>, name: &CStr, mode: u32) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if file_type(&rustix::fs::fstat(&node)?) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let path = format!("/proc/self/fd/{}", node.as_fd().as_raw_fd());
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
}
