//! How do layers become a file system? Unpack, diff, overlay.
//!
//! A [`LayerStore`] keeps unpacked layers by the digest of their archive; [`OverlayMount`] stacks
//! them; [`changes`] and [`LayerStore::ingest_upper`] turn what a container wrote into a list or
//! into a further layer; [`archive`] reads and writes parts of a container's tree. This room knows
//! no image names, no database and no processes.

pub mod archive;
mod changes;
mod disk;
mod error;
pub mod graft;
mod hashing;
mod ingest;
mod lower;
mod node;
mod overlay;
mod pack;
mod recipe;
mod remove;
mod settle;
mod source;
mod store;
mod tar;
mod unpack;
mod unsynced;
mod upper;
mod walk;

#[cfg(test)]
mod tests;

pub use changes::{Change, ChangeKind, changes};
pub use disk::{LayerKey, LayerRecord};
pub use error::{Error, Result};
pub use ingest::IngestedLayer;
pub use overlay::{OverlayMount, visible_lowers};
pub use pack::export_tree;
pub use remove::{Effort, Usage, disk_usage, remove_tree, remove_tree_within};
pub use store::LayerStore;
pub use tar::TarError;
pub use upper::{UpperSource, tar_of_changes};
