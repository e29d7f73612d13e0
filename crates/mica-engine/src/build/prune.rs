//! What builds keep for the next ones: who uses how much, and what may go.

use super::cache::Row;
use crate::Local;
use crate::error::Result;
use crate::image::record::ImageRecord;
use mica_api::types::build::{BuildCacheRecord, BuildPruneOptions, BuildPruned};
use mica_model::{Digest, Timestamp};
use std::collections::HashSet;
use std::path::Path;
use std::time::UNIX_EPOCH;

impl Local {
    /// All that is kept, what was used last first.
    pub(crate) fn build_cache(&self) -> Result<Vec<BuildCacheRecord>> {
        let images = self.image_layers()?;
        let mut seen = HashSet::new();
        let mut records: Vec<BuildCacheRecord> =
            self.cached_steps()?.iter().map(|row| record(row, &images, &mut seen)).collect();
        records.extend(self.cache_mounts());
        Ok(records)
    }

    /// Forgets what the options do not keep, and deletes what nobody needs then.
    pub(crate) fn prune_build_cache(&self, options: &BuildPruneOptions) -> Result<BuildPruned> {
        let now = Timestamp::from(std::time::SystemTime::now()).seconds();
        let mut kept_bytes = 0;
        let mut pruned = BuildPruned::default();
        let mut gone = Vec::new();
        for record in self.build_cache()? {
            let is_recent = options.keep_seconds.is_some_and(|seconds| now - record.last_used < seconds);
            let fits = options.keep_bytes.is_some_and(|bytes| kept_bytes + record.size <= bytes);
            // What an image has too would free nothing: it goes only when all is to go.
            let is_spared = record.shared && !options.all;
            if is_recent || fits || is_spared || record.in_use {
                kept_bytes += record.size;
            } else {
                pruned.reclaimed += if record.shared { 0 } else { record.size };
                pruned.ids.push(record.id.clone());
                gone.push(record);
            }
        }
        self.forget_records(gone)?;
        // Digests of contexts cost nothing to find again.
        if options.all && options.keep_bytes.is_none() && options.keep_seconds.is_none() {
            let _ = mica_snapshot::remove_tree(&self.disk.build_memory());
        }
        self.tidy_containers();
        self.tidy_images();
        Ok(pruned)
    }

    /// Keeps what builds leave within bounds: what was not used for long goes, and what was used
    /// least recently where it has become too much.
    pub(crate) fn bound_build_cache(&self) -> Result<()> {
        let now = Timestamp::from(std::time::SystemTime::now()).seconds();
        let bound = self.build_cache_bound();
        let mut kept_bytes = 0;
        let mut records = self.build_cache()?;
        records.sort_by_key(|record| std::cmp::Reverse(record.last_used));
        records.retain(|record| {
            kept_bytes += record.size;
            !record.in_use && (kept_bytes > bound || now - record.last_used > UNUSED_SECONDS_MAX)
        });
        if records.is_empty() { Ok(()) } else { self.forget_records(records) }
    }

    /// A tenth of the disk, and not less than what a few builds need.
    fn build_cache_bound(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.disk.root()).map_or(0, |disk| disk.f_blocks * disk.f_frsize);
        (disk / 10).max(CACHE_BYTES_MIN)
    }

    fn forget_records(&self, records: Vec<BuildCacheRecord>) -> Result<()> {
        let (mounts, steps): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.kind == MOUNT);
        self.forget_steps(&steps.into_iter().map(|record| record.id).collect::<Vec<_>>())?;
        for mount in mounts {
            let path = self.disk.build_caches().join(mount.id);
            // A command may have got it since it was looked at.
            if let Some(_lock) = crate::lock::try_exclusive_directory(&path)? {
                mica_snapshot::remove_tree(&path)?;
            }
        }
        Ok(())
    }

    fn image_layers(&self) -> Result<HashSet<Digest>> {
        let images = ImageRecord::all(&self.database())?;
        Ok(images.iter().flat_map(|image| &image.layers).map(|layer| layer.diff_id).collect())
    }

    /// The directories of `RUN --mount=type=cache`.
    fn cache_mounts(&self) -> Vec<BuildCacheRecord> {
        let Ok(entries) = std::fs::read_dir(self.disk.build_caches()) else { return Vec::new() };
        entries.flatten().filter_map(|entry| cache_mount(&entry.path())).collect()
    }
}

/// How long a step may be unused: sixty days.
const UNUSED_SECONDS_MAX: i64 = 60 * 24 * 3600;

/// What builds may leave in any case: ten gibibytes.
const CACHE_BYTES_MIN: u64 = 10 << 30;

/// The kind of a directory that steps keep, in docker's word.
const MOUNT: &str = "exec.cachemount";

fn record(row: &Row, images: &HashSet<Digest>, seen: &mut HashSet<Digest>) -> BuildCacheRecord {
    let layer = row.layer.as_ref();
    BuildCacheRecord {
        id: row.key.clone(),
        description: row.description.clone(),
        kind: "regular".to_owned(),
        // Several keys may mean one layer, which takes its room once.
        size: layer.filter(|layer| seen.insert(layer.diff_id)).map_or(0, |layer| layer.size),
        created: row.created.seconds(),
        last_used: row.last_used.seconds(),
        uses: row.uses,
        in_use: false,
        shared: layer.is_some_and(|layer| images.contains(&layer.diff_id)),
    }
}

fn cache_mount(path: &Path) -> Option<BuildCacheRecord> {
    let id = std::fs::read_to_string(path.join("id")).ok()?;
    let seconds = |time: std::io::Result<std::time::SystemTime>| {
        let elapsed = time.ok()?.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(elapsed.as_secs()).ok()
    };
    let directory = path.metadata().ok()?;
    let last_used = seconds(directory.modified()).unwrap_or(0);
    Some(BuildCacheRecord {
        id: path.file_name()?.to_str()?.to_owned(),
        description: format!("mount of cache {id}"),
        kind: MOUNT.to_owned(),
        size: mica_snapshot::disk_usage(path).map_or(0, |usage| usage.bytes),
        created: path
            .join("id")
            .metadata()
            .ok()
            .and_then(|file| seconds(file.modified()))
            .unwrap_or(last_used),
        last_used,
        uses: 0,
        in_use: matches!(crate::lock::try_exclusive_directory(path), Ok(None)),
        shared: false,
    })
}
