//! A directory for what a build brings here and needs no longer than itself.

use crate::Local;
use crate::disk::{make_directory, make_layer_directory};
use crate::error::Result;
use mica_model::ContainerId;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory like that of a container without a record, which is what a killed build leaves of it.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
    count: AtomicU32,
    _lock: File,
}

impl Scratch {
    pub(super) fn new(local: &Local) -> Result<Self> {
        let id = ContainerId::from_random(crate::system::random());
        let disk = local.disk.container(&id);
        let lock = crate::container::create::lock_new_directory(&disk, &id)?;
        Ok(Self { directory: disk.directory().to_owned(), count: AtomicU32::new(0), _lock: lock })
    }

    /// A new directory in it, as closed as its own.
    pub(super) fn directory(&self) -> Result<PathBuf> {
        let path = self.next();
        make_directory(&path)?;
        Ok(path)
    }

    /// A new directory in it that looks as the root of an image does.
    pub(super) fn tree(&self) -> Result<PathBuf> {
        let path = self.next();
        make_layer_directory(&path)?;
        Ok(path)
    }

    fn next(&self) -> PathBuf {
        self.directory.join(format!("brought-{}", self.count.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is a leftover like any other.
        let _ = mica_snapshot::remove_tree(&self.directory);
    }
}
