//! Layers that are findable and not durable yet.
//!
//! A build makes many layers, and each would wait for the disk. It waits once, at its end: until
//! then each layer is marked with the boot in which it was made, and counts as absent in any other.
//! So a killed build leaves layers that the next one uses, and a crash of the host leaves none that
//! is not whole.

use crate::disk::{LayerDirectory, LayerKey, io_at};
use crate::error::Result;
use crate::store::LayerStore;
use std::sync::OnceLock;

/// Where the kernel tells which boot this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// This boot; empty where the kernel does not tell.
fn boot() -> &'static str {
    static THIS: OnceLock<String> = OnceLock::new();
    THIS.get_or_init(|| std::fs::read_to_string(BOOT).unwrap_or_default())
}

/// Marks a layer that is about to become findable.
pub(crate) fn mark(directory: &LayerDirectory) -> Result<()> {
    let path = directory.unsynced();
    std::fs::write(&path, boot()).map_err(io_at("write", &path))
}

/// Whether a layer is durable, or was made since the host came up.
pub(crate) fn is_trusted(directory: &LayerDirectory) -> bool {
    match std::fs::read_to_string(directory.unsynced()) {
        Ok(made_in) => !made_in.is_empty() && made_in == boot(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

impl LayerStore {
    /// Makes those of `keys` durable that are not; nothing happens where all are.
    ///
    /// # Errors
    /// What syncfs(2) says: data was lost, nothing may rely on the layers.
    pub fn make_durable(&self, keys: &[LayerKey]) -> Result<()> {
        let marks = keys.iter().map(|key| self.directory(key).unsynced());
        let marks: Vec<_> = marks.filter(|mark| mark.exists()).collect();
        if marks.is_empty() {
            return Ok(());
        }
        self.sync()?;
        for mark in &marks {
            match std::fs::remove_file(mark) {
                // Another process does the same.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(io_at("remove", mark))?,
            }
        }
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use crate::UpperSource;
    use crate::store::LayerStore;

    #[test]
    fn a_layer_of_another_boot_counts_as_absent_until_it_is_durable() {
        let directory = tempfile::tempdir().unwrap();
        let store = LayerStore::open(&directory.path().join("layers")).unwrap();
        let upper = |name: &str| {
            let upper = directory.path().join(name);
            std::fs::create_dir(&upper).unwrap();
            std::fs::write(upper.join("file"), name).unwrap();
            store.ingest_upper(&upper, UpperSource::Consume).unwrap().register_unsynced().unwrap()
        };
        let (one, two) = (upper("one"), upper("two"));
        let is_there = |key: &crate::LayerKey| store.find(&key.diff_id, &[]).unwrap().is_some();
        assert!(is_there(&one) && is_there(&two));
        store.make_durable(&[one]).unwrap();
        let mark = store.directory(&two).unsynced();
        assert!(mark.exists() && !store.directory(&one).unsynced().exists());
        std::fs::write(&mark, "another").unwrap();
        assert!(is_there(&one) && !is_there(&two));
    }
}
