//! What is mounted into containers: wishes checked and recorded, and made part of the specification.

mod bind;
mod check;
mod plan;
mod propagation;
mod resolve;
mod shown;
mod tmpfs;

pub(crate) use plan::{UserMount, combined, in_order_of, take_lenders};
pub(crate) use shown::shown;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Something mounted into a container, as its record has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    /// Absolute, without `.`, `..` and needless slashes.
    pub(crate) destination: String,
    pub(crate) source: MountSource,
    /// The mode as it was typed after the second colon of `-v`.
    pub(crate) mode: String,
    pub(crate) read_only: bool,
    /// One of docker's six words; empty where it means nothing.
    pub(crate) propagation: String,
    /// Without the mounts below the source.
    pub(crate) is_shallow: bool,
    /// How far `read_only` reaches.
    pub(crate) read_only_reach: ReadOnlyReach,
}

/// What appears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MountSource {
    /// A file or directory of the host.
    Bind {
        path: String,
        /// Whether a directory is made of it if there is nothing.
        is_made: bool,
    },
    Volume(VolumeMount),
    /// A new file system in memory.
    Tmpfs {
        options: Vec<String>,
    },
    /// The files of an image.
    Image {
        /// As it was typed.
        reference: String,
        id: String,
        /// Base first.
        layers: Vec<PathBuf>,
        subpath: String,
    },
}

/// A volume of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct VolumeMount {
    pub(crate) name: String,
    /// It was made for this mount, nobody chose its name, and it goes with the container.
    pub(crate) is_anonymous: bool,
    /// Whether an empty volume gets what the image has at the destination.
    pub(crate) is_filled: bool,
    pub(crate) subpath: String,
    /// What a volume gets that is made on this occasion.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(crate) labels: std::collections::BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub(crate) options: std::collections::BTreeMap<String, String>,
}

/// How far a mount is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum ReadOnlyReach {
    /// With the mounts below it.
    #[default]
    Below,
    /// Only itself.
    One,
}

impl MountRecord {
    /// A mount with nothing special about it.
    pub(crate) fn new(destination: String, source: MountSource) -> Self {
        Self {
            destination,
            source,
            mode: String::new(),
            read_only: false,
            propagation: String::new(),
            is_shallow: false,
            read_only_reach: ReadOnlyReach::Below,
        }
    }

    /// The layers of an image that it shows.
    pub(crate) fn into_layers(self) -> Vec<PathBuf> {
        match self.source {
            MountSource::Image { layers, .. } => layers,
            _ => Vec::new(),
        }
    }

    /// The volume, if it is one.
    pub(crate) fn volume(&self) -> Option<&VolumeMount> {
        match &self.source {
            MountSource::Volume(volume) => Some(volume),
            _ => None,
        }
    }
}
