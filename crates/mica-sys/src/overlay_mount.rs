//! Overlay file systems that are mounted without a place: the caller gets a descriptor and decides
//! in which mount namespace, if any, it is attached.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many lower directories we stack. The kernel's own limit is 500, but docker's images are
/// limited to 127 layers; below them lies one of mount points, and an export reads the writable
/// layer as a further one.
pub const MOST_LOWERS: usize = 129;

/// The longest text that fsconfig(2) takes as a value, without its terminating zero.
const LONGEST_VALUE: usize = 255;

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
/// `E2BIG` for more than [`MOST_LOWERS`] lower directories (or, on a kernel before 6.5, more than
/// fit a legacy option string); what open(2), fsopen(2), fsconfig(2) and fsmount(2) say otherwise.
pub fn overlay(layers: &OverlayLayers<'_>) -> io::Result<OwnedFd> {
    if layers.lowers.len() > MOST_LOWERS {
        return Err(rustix::io::Errno::TOOBIG.into());
    }
    match configure(layers, set_lowers_one_by_one) {
        // A kernel before 6.5 does not know the key `lowerdir+`.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            configure(layers, set_lowers_as_list).map_err(|second| {
                if second.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) {
                    error
                } else {
                    second
                }
            })
        }
        other => other,
    }
}

type SetLowers = fn(&OwnedFd, &[&Path], &mut Vec<OwnedFd>) -> io::Result<()>;

fn configure(layers: &OverlayLayers<'_>, set_lowers: SetLowers) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Held until the superblock exists, because the names below /proc/self/fd refer to them.
    let mut held = Vec::new();
    fsconfig_set_string(&context, "source", "overlay")?;
    // The kernel refuses to stack a single tree on nothing, so nothing becomes an empty tree.
    let empty = match (layers.upper, layers.lowers) {
        (None, [_]) => Some(empty_tree(&mut held)?),
        _ => None,
    };
    let lowers: Vec<&Path> = layers.lowers.iter().copied().chain(empty.as_deref()).collect();
    set_lowers(&context, &lowers, &mut held)?;
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
        Err(rustix::io::Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

fn set_lowers_one_by_one(context: &OwnedFd, lowers: &[&Path], held: &mut Vec<OwnedFd>) -> io::Result<()> {
    for lower in lowers {
        fsconfig_set_string(context, "lowerdir+", value(lower, held)?)?;
    }
    Ok(())
}

fn set_lowers_as_list(context: &OwnedFd, lowers: &[&Path], held: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut list = Vec::new();
    for lower in lowers {
        if !list.is_empty() {
            list.push(b':');
        }
        list.extend_from_slice(&value(lower, held)?);
    }
    if list.len() > LONGEST_VALUE {
        list.clear();
        for lower in lowers {
            if !list.is_empty() {
                list.push(b':');
            }
            list.extend_from_slice(&by_descriptor(lower, held)?);
        }
    }
    if list.len() > LONGEST_VALUE {
        return Err(rustix::io::Errno::TOOBIG.into());
    }
    Ok(fsconfig_set_string(context, "lowerdir", list)?)
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
    let directory =
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
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
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::TOOBIG.raw_os_error()));
    }

    #[test]
    #[ignore = "needs root"]
    fn privileged_stacks_127_layers_with_odd_names() {
        let root = scratch("deep");
        let paths: Vec<_> = (0..127).map(|i| root.join(format!("{}:,\\{i}", "n".repeat(200)))).collect();
        for (index, path) in paths.iter().enumerate() {
            std::fs::create_dir_all(path).unwrap();
            std::fs::write(path.join("shared"), index.to_string()).unwrap();
            std::fs::write(path.join(format!("own{index}")), "").unwrap();
        }
        let (upper, work) = (root.join("upper"), root.join("work"));
        std::fs::create_dir_all(&upper).unwrap();
        std::fs::create_dir_all(&work).unwrap();
        let lowers: Vec<&Path> = paths.iter().map(std::path::PathBuf::as_path).collect();
        let layers = OverlayLayers {
            lowers: &lowers,
            upper: Some(&upper),
            work: Some(&work),
            volatile: true,
            read_only: false,
        };
        let mount = overlay(&layers).unwrap();
        let file = rustix::fs::openat(&mount, "shared", OFlags::RDONLY, Mode::empty()).unwrap();
        let mut content = [0; 8];
        let read = rustix::io::read(&file, &mut content).unwrap();
        assert_eq!(&content[..read], b"0", "the first lower is on top");
        assert!(
            rustix::fs::accessat(&mount, "own126", rustix::fs::Access::EXISTS, rustix::fs::AtFlags::empty())
                .is_ok()
        );
        drop((file, mount));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
