//! Stacking layers into one file system.

use crate::disk::io_at;
use crate::error::{Error, Result};
use crate::node;
use crate::remove::open_root;
use mica_sys::overlay_mount::{MOST_LOWERS, OverlayLayers, overlay};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Layers to be seen as one tree.
#[derive(Debug, Clone, Default)]
pub struct OverlayMount {
    /// Read-only trees, the topmost first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go.
    pub upper: Option<PathBuf>,
    /// An empty directory beside `upper`, needed exactly when that is.
    pub work: Option<PathBuf>,
    /// Never write changes back to disk by order of the file system: for what is thrown away.
    pub volatile: bool,
}

impl OverlayMount {
    /// Mounts the stack without attaching it anywhere: it lives as long as the descriptor, and no
    /// mount table has it.
    ///
    /// # Errors
    /// [`Error::TooManyLayers`], or what the kernel says.
    pub fn mount_detached(&self, read_only: bool) -> Result<OwnedFd> {
        let lowers = visible_lowers(&self.lowers)?;
        if lowers.len() > MOST_LOWERS {
            return Err(Error::TooManyLayers { count: lowers.len(), most: MOST_LOWERS });
        }
        let mut lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        let mut upper = self.upper.as_deref();
        // The kernel wants two trees of a read-only overlay, or a tree below the upper one.
        if lowers.is_empty()
            && let Some(only) = upper.filter(|_| read_only)
        {
            lowers.push(only);
            upper = None;
        }
        let layers = OverlayLayers {
            lowers: &lowers,
            upper,
            work: upper.and(self.work.as_deref()),
            volatile: self.volatile,
            read_only,
        };
        let shown = self.upper.as_deref().or(lowers.first().copied()).unwrap_or(Path::new(""));
        overlay(&layers).map_err(io_at("mount overlay on", shown))
    }
}

/// The layers that can be seen: those down to the first whose root hides what is below. Overlayfs
/// itself ignores that mark on a root, so every user of layer paths must go through this.
///
/// # Errors
/// When a tree cannot be opened.
pub fn visible_lowers(lowers: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut visible = Vec::with_capacity(lowers.len());
    for lower in lowers {
        visible.push(lower.clone());
        let root = open_root(lower)?;
        if node::is_opaque(root.as_fd()).map_err(|error| io_at("examine", lower)(error.into()))? {
            break;
        }
    }
    Ok(visible)
}
