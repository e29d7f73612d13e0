//! Which bytes and names do we have? Blobs, manifests, configs, archives.
//!
//! This room knows what an image is made of and how it travels in files. It doesn't know where
//! layers are unpacked: their content goes in and out as [`std::io::Read`] and [`std::io::Write`].

pub mod archive;
pub mod blob;
pub mod chain;
pub mod config;
pub mod document;
pub mod error;
pub mod layer;
mod layout;
mod layout_writer;
pub mod manifest;
mod manifest_list;
pub mod media_type;
pub mod pack;
pub mod partial;
pub mod platform;
pub mod save;

pub use archive::compression::WindowLimit;
pub use archive::{ArchiveImage, ArchiveLayer, ArchiveOptions, Layout, decompress, read_archive};
pub use blob::{Blob, BlobStore, BlobWriter, Verified};
pub use chain::chain_ids;
pub use config::change::{apply_change, apply_changes};
pub use config::{Config, Healthcheck, History, ImageConfig, NewImage, build_cache};
pub use document::{DOCUMENT_SIZE_MAX, Document, digest_of};
pub use error::{Error, Result};
pub use layer::{DigestReader, LayerReader, Promise, PromisedReader};
pub use layout::{AnnotatedImage, Annotations, write_layout};
pub use layout_writer::{LayoutArchive, LayoutDirectory, LayoutTop};
pub use manifest::{
    Descriptor, Index, Manifest, ManifestDocument, media_type_of, parse_manifest, parse_parcel,
};
pub use manifest_list::{ListedManifest, write_manifest_list};
pub use pack::{PackFormat, PackWriter, Packers, Packing};
pub use partial::Claim;
pub use platform::Platform;
pub use save::{
    LayerSource, SavedImage, WriteLayer, write_annotated_manifest, write_archive, write_manifest,
};
