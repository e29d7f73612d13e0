//! Overlay file systems that are mounted without a place: the caller gets a descriptor and decides
//! in which mount namespace, if any, it is attached.

use crate::attribute;
use crate::seclusion::Seclusion;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount as mount_at, open_tree,
};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many lower directories we stack. The kernel's own limit is 500, but docker's images are
/// limited to 127 layers; below them lies one of mount points, and an export reads the writable
/// layer as a further one.
pub const MOST_LOWERS: usize = 129;

/// The longest text that fsconfig(2) takes as a value, without its terminating zero.
const LONGEST_VALUE: usize = 255;

/// The longest options that mount(2) takes: a page, its terminating zero included.
const OPTIONS_LENGTH_MAX: usize = 4096;

/// The directories of one overlay.
#[derive(Debug, Clone, Copy)]
pub struct OverlayLayers<'a> {
    /// Read-only layers, the topmost first. At least one.
    pub lowers: &'a [&'a Path],
    /// Where changes go. `None` makes the overlay unwritable.
    pub upper: Option<&'a Path>,
    /// An empty directory beside `upper` on the same file system; needed exactly when `upper` is.
    pub work: Option<&'a Path>,
    /// Never sync the upper directory: right for what does not survive a crash anyway.
    pub volatile: bool,
    /// Mount read-only even if there is an `upper`.
    pub read_only: bool,
}

/// Mounts an overlay without attaching it anywhere.
///
/// `index`, `redirect_dir` and `metacopy` are off: then each directory and file of the upper
/// directory is complete in itself and can be turned into a layer.
///
/// # Errors
/// `E2BIG` for more than [`MOST_LOWERS`] lower directories; what open(2), fsopen(2), fsconfig(2) and
/// fsmount(2) say otherwise.
pub fn overlay(layers: &OverlayLayers<'_>) -> io::Result<OwnedFd> {
    if layers.lowers.len() > MOST_LOWERS {
        return Err(Errno::TOOBIG.into());
    }
    match configure(layers) {
        // A kernel before 6.5 does not know the key `lowerdir+`; another reason shows again.
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            by_mount(layers).map_err(|second| {
                if second.raw_os_error() == Some(Errno::INVAL.raw_os_error()) { error } else { second }
            })
        }
        other => other,
    }
}

fn configure(layers: &OverlayLayers<'_>) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Held until the superblock exists, because the names below /proc/self/fd refer to them.
    let mut held = Vec::new();
    fsconfig_set_string(&context, "source", "overlay")?;
    // The kernel refuses to stack a single tree on nothing, so nothing becomes an empty tree.
    let empty = match (layers.upper, layers.lowers) {
        (None, [_]) => Some(empty_tree(&mut held)?),
        _ => None,
    };
    for lower in layers.lowers.iter().copied().chain(empty.as_deref()) {
        fsconfig_set_string(&context, "lowerdir+", value(lower, &mut held)?)?;
    }
    if let (Some(upper), Some(work)) = (layers.upper, layers.work) {
        fsconfig_set_string(&context, "upperdir", value(upper, &mut held)?)?;
        fsconfig_set_string(&context, "workdir", value(work, &mut held)?)?;
        if layers.volatile {
            fsconfig_set_flag(&context, "volatile")?;
        }
    }
    for key in ["index", "redirect_dir", "metacopy"] {
        switch_off(&context, key)?;
    }
    if layers.read_only {
        fsconfig_set_flag(&context, "ro")?;
    }
    fsconfig_create(&context)?;
    let attributes =
        if layers.read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// An empty read-only file system without a place, by the name of its descriptor. Kernels before
/// 6.15 refuse it as a layer; there a single tree cannot be mounted without an upper one.
fn empty_tree(held: &mut Vec<OwnedFd>) -> io::Result<PathBuf> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    let name = format!("/proc/self/fd/{}", mount.as_raw_fd());
    held.push(mount);
    Ok(name.into())
}

/// A kernel built without a feature may not know its key; then it is off already.
fn switch_off(context: &OwnedFd, key: &str) -> io::Result<()> {
    match fsconfig_set_string(context, key, "off") {
        Err(Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// The way of kernels before 6.5, whose fsconfig(2) has no room for many lower directories: mount(2)
/// takes all options in one page, where the names of descriptors are short enough. It needs a place,
/// so that happens in a mount namespace of the thread's own, which is left again: nobody sees it.
fn by_mount(layers: &OverlayLayers<'_>) -> io::Result<OwnedFd> {
    let read_only = |mount: OwnedFd| -> io::Result<OwnedFd> {
        if layers.read_only {
            attribute::set(mount.as_fd(), attribute::RDONLY, 0, attribute::Reach::One)?;
        }
        Ok(mount)
    };
    let &[first, ref rest @ ..] = layers.lowers else { return Err(Errno::INVAL.into()) };
    if rest.is_empty() && layers.upper.is_none() {
        // Such kernels stack a single tree on nothing at all: it is shown as it is.
        return read_only(open_tree(CWD, first, CLONE)?);
    }
    let seclusion = Seclusion::enter()?;
    // Opened only now: what lies in another mount namespace cannot become a layer.
    let mut held = Vec::new();
    let options = CString::new(options(layers, &mut held)?).map_err(|_| Errno::INVAL)?;
    mount_at("overlay", first, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
    let mount = open_tree(CWD, first, CLONE)?;
    drop(held);
    seclusion.leave()?;
    read_only(mount)
}

const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC);

/// All options as mount(2) takes them.
fn options(layers: &OverlayLayers<'_>, held: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut options = b"index=off,redirect_dir=off,metacopy=off".to_vec();
    let mut separator: &[u8] = b",lowerdir=";
    for lower in layers.lowers {
        options.extend_from_slice(separator);
        options.extend(by_descriptor(lower, held)?);
        separator = b":";
    }
    if let (Some(upper), Some(work)) = (layers.upper, layers.work) {
        for (key, path) in [(",upperdir=", upper), (",workdir=", work)] {
            options.extend_from_slice(key.as_bytes());
            options.extend(by_descriptor(path, held)?);
        }
        if layers.volatile {
            options.extend_from_slice(b",volatile");
        }
    }
    if options.len() >= OPTIONS_LENGTH_MAX { Err(Errno::TOOBIG.into()) } else { Ok(options) }
}

/// The path as fsconfig takes it. A long one, and one with characters that some kernel versions
/// treat as separators or escapes, is named by a descriptor instead.
fn value(path: &Path, held: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= LONGEST_VALUE && !bytes.iter().any(|byte| matches!(byte, b':' | b'\\' | b',')) {
        return Ok(bytes.to_vec());
    }
    by_descriptor(path, held)
}

fn by_descriptor(path: &Path, held: &mut Vec<OwnedFd>) -> io::Result<Vec<u8>> {
    let directory = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
    held.push(directory);
    Ok(name.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("mica-sys-overlay-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn refuses_too_many_layers_before_asking_the_kernel() {
        let lowers = vec![Path::new("/"); MOST_LOWERS + 1];
        let layers =
            OverlayLayers { lowers: &lowers, upper: None, work: None, volatile: false, read_only: true };
        let error = overlay(&layers).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::TOOBIG.raw_os_error()));
    }

    /// 127 trees of two files each, the names full of what options could trip over.
    fn stack(root: &Path) -> Vec<PathBuf> {
        let paths: Vec<_> = (0..127).map(|i| root.join(format!("{}:,\\{i}", "n".repeat(200)))).collect();
        for (index, path) in paths.iter().enumerate() {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("shared"), index.to_string()).unwrap();
            std::fs::write(path.join(format!("own{index}")), "").unwrap();
        }
        paths
    }

    fn read(mount: &OwnedFd, name: &str) -> Option<Vec<u8>> {
        let file = openat(mount, name, OFlags::RDONLY, Mode::empty()).ok()?;
        let mut content = [0; 8];
        let length = rustix::io::read(&file, &mut content).unwrap();
        Some(content[..length].to_vec())
    }

    type Way = fn(&OverlayLayers<'_>) -> io::Result<OwnedFd>;

    /// What every kernel version's way must do alike.
    const WAYS: [(&str, Way); 2] = [("new", configure), ("old", by_mount)];

    #[test]
    #[ignore = "needs root"]
    fn privileged_stacks_127_layers_with_odd_names() {
        for (name, way) in WAYS {
            let root = scratch(name);
            let paths = stack(&root);
            let (upper, work) = (root.join("upper"), root.join("work"));
            std::fs::create_dir_all(&upper).unwrap();
            std::fs::create_dir_all(&work).unwrap();
            let lowers: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            let (upper, work) = (Some(upper.as_path()), Some(work.as_path()));
            let layers = OverlayLayers { lowers: &lowers, upper, work, volatile: true, read_only: false };
            let mount = way(&layers).unwrap();
            assert_eq!(read(&mount, "shared").unwrap(), b"0", "{name}: the first lower is on top");
            assert!(read(&mount, "own126").is_some(), "{name}");
            let flags = OFlags::CREATE | OFlags::WRONLY;
            openat(&mount, "new", flags, Mode::RWXU).unwrap();
            assert!(root.join("upper/new").exists(), "{name}");
            drop(mount);
            std::fs::remove_dir_all(&root).unwrap();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn privileged_trees_are_shown_read_only_without_an_upper_one() {
        for (name, way) in WAYS {
            let root = scratch(&format!("read-only-{name}"));
            let paths = stack(&root);
            for count in [1, 2, 127] {
                let lowers: Vec<&Path> = paths.iter().take(count).map(PathBuf::as_path).collect();
                let layers = OverlayLayers {
                    lowers: &lowers,
                    upper: None,
                    work: None,
                    volatile: false,
                    read_only: true,
                };
                let mount = way(&layers).unwrap();
                assert_eq!(read(&mount, "shared").unwrap(), b"0", "{name}, {count}");
                assert!(read(&mount, &format!("own{}", count - 1)).is_some(), "{name}, {count}");
                let made = openat(&mount, "new", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU);
                assert_eq!(made.unwrap_err(), Errno::ROFS, "{name}, {count}");
            }
            std::fs::remove_dir_all(&root).unwrap();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn privileged_the_old_way_leaves_the_thread_where_it_was() {
        let root = scratch("seclusion");
        let paths = stack(&root);
        let mounts = || std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let namespace = || std::fs::read_link("/proc/thread-self/ns/mnt").unwrap();
        let (before, home) = ((mounts(), namespace()), std::env::current_dir().unwrap());
        let lowers = [paths[0].as_path(), paths[1].as_path()];
        let layers =
            OverlayLayers { lowers: &lowers, upper: None, work: None, volatile: false, read_only: true };
        let mount = by_mount(&layers).unwrap();
        let missing = root.join("missing");
        let broken = OverlayLayers { lowers: &[&missing, &missing], ..layers };
        assert_eq!(by_mount(&broken).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((mounts(), namespace()), before);
        assert_eq!(std::env::current_dir().unwrap(), home);
        drop(mount);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
