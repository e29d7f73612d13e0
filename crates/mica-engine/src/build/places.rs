//! Where a step writes: a directory of its own, as containers have one, that is locked while it is used.

use super::worker::Builder;
use crate::container::create::{lock_new_directory, take_root_attributes};
use crate::disk::{ContainerDisk, make_layer_directory};
use crate::error::Result;
use crate::system;
use mica_model::ContainerId;
use mica_snapshot::OverlayMount;
use mica_snapshot::archive::open_tree_root;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A directory for a step. Dropping it deletes it; what a killed build leaves is found without a
/// record and without a lock, and deleted like the leftovers of containers.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: ContainerId,
    pub(super) disk: ContainerDisk,
    pub(super) lock: File,
}

impl Place {
    /// A place on top of layers, base first.
    pub(super) fn new(builder: &Builder<'_>, layers: &[PathBuf]) -> Result<Self> {
        Self::with_id(builder, ContainerId::from_random(system::random()), layers)
    }

    /// The same with an id that something else has already.
    pub(super) fn with_id(builder: &Builder<'_>, id: ContainerId, layers: &[PathBuf]) -> Result<Self> {
        let disk = builder.local.disk.container(&id);
        let lock = lock_new_directory(&disk, &id)?;
        let place = Self { id, disk, lock };
        make_layer_directory(&place.disk.upper())?;
        take_root_attributes(&place.disk.upper(), layers.last())?;
        make_layer_directory(&place.disk.work())?;
        Ok(place)
    }

    /// The files as the step sees them. What is changed goes to the upper directory.
    pub(super) fn mount(&self, layers: &[PathBuf]) -> Result<OwnedFd> {
        if layers.is_empty() {
            return Ok(open_tree_root(&self.disk.upper())?);
        }
        let overlay = OverlayMount {
            lowers: layers.iter().rev().cloned().collect(),
            upper: Some(self.disk.upper()),
            work: Some(self.disk.work()),
            volatile: true,
        };
        Ok(overlay.mount_detached(false)?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is a leftover like any other.
        let _ = mica_snapshot::remove_tree(self.disk.directory());
    }
}

/// Files of layers, to be read only.
pub(super) fn read_only(layers: &[PathBuf]) -> Result<OwnedFd> {
    match layers {
        [only] => Ok(open_tree_root(only)?),
        layers => {
            let lowers = layers.iter().rev().cloned().collect();
            Ok(OverlayMount { lowers, ..OverlayMount::default() }.mount_detached(true)?)
        }
    }
}
