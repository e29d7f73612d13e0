//! What the layer store keeps on disk, drawn once.
//!
//! ```text
//! ROOT
//! ├── sha256/
//! │   ├── <diffID>/                 a layer; complete, because it was renamed to here
//! │   │   ├── diff/                 its files as overlayfs wants them: whiteouts are char 0:0
//! │   │   ├── displaced/            files that later entries of its archive replaced (mostly absent)
//! │   │   ├── recipe.zst            how to write its archive again (format: recipe.rs)
//! │   │   ├── layer.json            LayerRecord
//! │   │   └── unsynced              the boot in which it was made, until it is durable (unsynced.rs)
//! │   └── <diffID>-<chain>/         the same, for a layer whose files depend on the layers below
//! ├── ingest/
//! │   ├── <random>.lock             flock: its owner lives; made before and removed after
//! │   └── <random>/                 a layer in the making, as above
//! └── trash/                        renamed to here, then deleted; safe to delete at any time
//! ```
//!
//! Nothing is valid before its rename, and the rename comes after syncfs(2): a power cut leaves
//! either a whole layer or none.

use crate::error::{Error, Result};
use crate::recipe::Displaced;
use mica_model::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};

/// Version of the layout above and of [`LayerRecord`].
pub(crate) const FORMAT: u32 = 1;

/// Which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerKey {
    /// Digest of its archive, uncompressed.
    pub diff_id: Digest,
    /// Digest of the chain of layers below, if its files depend on them.
    pub chain: Option<Digest>,
}

impl LayerKey {
    /// The digest of a chain of layers, the lowest first, as the OCI image specification defines
    /// the `ChainID`. `None` for no layers.
    pub fn chain_of(diff_ids: &[Digest]) -> Option<Digest> {
        let (first, rest) = diff_ids.split_first()?;
        Some(rest.iter().fold(*first, |chain, diff_id| {
            Digest::from_bytes(Sha256::digest(format!("{chain} {diff_id}")).into())
        }))
    }
}

impl fmt::Display for LayerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.diff_id.hex())?;
        match self.chain {
            Some(chain) => write!(formatter, "-{}", &chain.hex()[..16]),
            None => Ok(()),
        }
    }
}

/// What is known about a layer without looking at its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Version of the format.
    pub(crate) version: u32,
    /// Digest of its archive, uncompressed.
    pub diff_id: Digest,
    /// Bytes of its archive, uncompressed.
    pub archive_size: u64,
    /// Bytes of content of its regular files.
    pub size: u64,
    /// How many entries of its archive made files; whiteouts are not counted.
    pub entries: u64,
    /// The chain below it, if its files depend on that.
    pub chain: Option<Digest>,
    /// Files that the recipe means by a name that now is another file's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) displaced: Vec<Displaced>,
}

/// Paths within one layer's directory, registered or not.
#[derive(Debug, Clone)]
pub(crate) struct LayerDirectory(pub(crate) PathBuf);

impl LayerDirectory {
    pub(crate) fn diff(&self) -> PathBuf {
        self.0.join("diff")
    }

    pub(crate) fn displaced(&self) -> PathBuf {
        self.0.join("displaced")
    }

    pub(crate) fn recipe(&self) -> PathBuf {
        self.0.join("recipe.zst")
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("layer.json")
    }

    pub(crate) fn unsynced(&self) -> PathBuf {
        self.0.join("unsynced")
    }

    /// Whether its parts are there and its record can be read; its files are not looked at.
    pub(crate) fn is_sound(&self) -> bool {
        self.diff().is_dir()
            && self.recipe().is_file()
            && crate::unsynced::is_trusted(self)
            && self.read_record().is_ok()
    }

    pub(crate) fn read_record(&self) -> Result<LayerRecord> {
        let path = self.record();
        let text = std::fs::read(&path).map_err(io_at("read", &path))?;
        let record: LayerRecord =
            serde_json::from_slice(&text).map_err(|source| Error::Record { path: path.clone(), source })?;
        if record.version == FORMAT {
            Ok(record)
        } else {
            let source = serde::de::Error::custom(format!("unknown format {}", record.version));
            Err(Error::Record { path, source })
        }
    }

    pub(crate) fn write_record(&self, record: &LayerRecord) -> Result<()> {
        let path = self.record();
        let text =
            serde_json::to_vec(record).map_err(|source| Error::Record { path: path.clone(), source })?;
        std::fs::write(&path, text).map_err(io_at("write", &path))
    }
}

/// As [`Error::io`], for paths of ours.
pub(crate) fn io_at(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_those_of_the_specification() {
        let (a, b) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        assert_eq!(LayerKey::chain_of(&[]), None);
        assert_eq!(LayerKey::chain_of(&[a]), Some(a));
        let both = Digest::from_bytes(Sha256::digest(format!("{a} {b}")).into());
        assert_eq!(LayerKey::chain_of(&[a, b]), Some(both));
        let key = LayerKey { diff_id: a, chain: Some(b) };
        assert_eq!(key.to_string(), format!("{}-0202020202020202", a.hex()));
    }
}
