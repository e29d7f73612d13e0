//! What nobody refers to goes: layers, configs, and what killed commands left half done.
//!
//! Layers are registered before the image that has them is recorded, so that a recorded image is
//! always whole; a command killed in between leaves layers that no record knows. Whoever records
//! holds the image lock shared meanwhile, the sweep needs it alone.

use crate::Local;
use crate::container::record::Definition;
use crate::error::Result;
use crate::image::origin;
use crate::image::record::{ImageRecord, LayerRecord};
use crate::lock;
use crate::mount::MountRecord;
use mica_snapshot::LayerKey;
use std::collections::HashSet;
use std::path::PathBuf;

impl Local {
    /// Deletes what nobody refers to, unless somebody is recording an image just now: then the
    /// next command does it. A failure is no reason to fail what was asked for.
    pub(crate) fn tidy_images(&self) {
        let path = self.disk.image_lock();
        let lock = match lock::try_exclusive(&path) {
            // Another one sweeps, who may have looked before what this command has let go. Those who bring or send
            // images hold the lock together, and for long: the next one sweeps after them.
            Ok(None) if lock::is_held(&path) => lock::exclusive(&path).ok(),
            other => other.ok().flatten(),
        };
        if let Some(_lock) = lock {
            let _ = self.sweep();
        }
    }

    fn sweep(&self) -> Result<()> {
        self.layers.tidy()?;
        self.blobs.tidy()?;
        let images = ImageRecord::all(&self.database())?;
        let used = self.used_layers(&images)?;
        let unused: Vec<LayerKey> =
            self.layers.list()?.into_iter().filter(|key| !used.contains(&self.layers.tree(key))).collect();
        let mut ids: HashSet<_> = images.iter().map(|image| image.id).collect();
        ids.extend(origin::manifests(&self.database())?);
        let diff_ids: Vec<_> =
            images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id).collect();
        ids.extend(origin::layer_blobs(&self.database(), &diff_ids)?);
        let blobs: Vec<_> =
            self.blobs.list()?.into_iter().filter(|blob| !ids.contains(&blob.digest)).collect();
        if unused.is_empty() && blobs.is_empty() {
            return Ok(());
        }
        // A deletion that a power cut undoes in the database must not find its layers gone.
        self.database().make_durable()?;
        for key in &unused {
            self.layers.remove(key)?;
        }
        self.database().write(|transaction| origin::forget(transaction, &diff_ids))?;
        for blob in &blobs {
            self.blobs.remove(&blob.digest)?;
        }
        Ok(())
    }

    /// Those of `layers` that no image and no container has.
    pub(crate) fn unused_layers(&self, layers: &[LayerRecord]) -> Result<Vec<LayerRecord>> {
        let images = ImageRecord::all(&self.database())?;
        let used = self.used_layers(&images)?;
        Ok(layers.iter().filter(|layer| !used.contains(&self.layer_directory(layer))).cloned().collect())
    }

    fn used_layers(&self, images: &[ImageRecord]) -> Result<HashSet<PathBuf>> {
        let mut used: HashSet<PathBuf> =
            images.iter().flat_map(|image| &image.layers).map(|layer| self.layer_directory(layer)).collect();
        // Containers whose image was removed by force still stand on its layers.
        let orphans: Vec<String> = self.database().read(|connection| {
            connection
                .prepare(
                    "SELECT definition FROM container WHERE image_id NOT IN (SELECT id FROM image) \
                     OR id IN (SELECT container FROM mount WHERE image_id <> '' \
                               AND image_id NOT IN (SELECT id FROM image))",
                )?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        for text in orphans {
            let definition: Definition = serde_json::from_str(&text).map_err(|source| {
                crate::error::Error::Record { what: "a container whose image is gone".to_owned(), source }
            })?;
            used.extend(definition.layers);
            used.extend(definition.mounts.into_iter().flat_map(MountRecord::into_layers));
        }
        used.extend(self.cached_layers()?);
        Ok(used)
    }
}
