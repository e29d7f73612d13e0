//! What builds keep for the next ones: who uses how much, and what may go.

use super::cache::Row;
use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::{Local, events};
use mica_api::types::build::{BuildCacheRecord, BuildPruneOptions, BuildPruned};
use mica_model::{Digest, Timestamp, size};
use std::collections::HashSet;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Something that is kept, and the layer that makes its size.
struct Kept {
    record: BuildCacheRecord,
    layer: Option<Digest>,
}

impl Local {
    /// All that is kept, what was used last first.
    pub(crate) fn build_cache(&self) -> Result<Vec<BuildCacheRecord>> {
        let mut seen = HashSet::new();
        let records = self.kept()?.into_iter().map(|Kept { mut record, layer }| {
            // Several keys may mean one layer, which takes its room once.
            if layer.is_some_and(|layer| !seen.insert(layer)) {
                record.size = 0;
            }
            record
        });
        Ok(records.collect())
    }

    /// Forgets what the options do not keep, and deletes what nobody needs then.
    pub(crate) fn prune_build_cache(&self, options: &BuildPruneOptions) -> Result<BuildPruned> {
        let now = Timestamp::from(std::time::SystemTime::now()).seconds();
        let mut room = Room::default();
        let mut gone = Vec::new();
        for kept in self.kept()? {
            let record = &kept.record;
            let is_recent = options.keep_seconds.is_some_and(|seconds| now - record.last_used < seconds);
            let fits = options.keep_bytes.is_some_and(|bytes| room.with(&kept) <= bytes);
            // What an image has too would free nothing: it goes only when all is to go.
            let is_spared = record.shared && !options.all;
            if is_recent || fits || is_spared || record.in_use {
                room.take(&kept);
            } else {
                gone.push(kept);
            }
        }
        let mut pruned = BuildPruned::default();
        for kept in &gone {
            pruned.reclaimed += room.with(kept) - room.bytes;
            pruned.ids.push(kept.record.id.clone());
            // It is freed once.
            room.layers.extend(kept.layer);
        }
        self.forget_records(gone)?;
        // Digests of contexts cost nothing to find again.
        if options.all && options.keep_bytes.is_none() && options.keep_seconds.is_none() {
            let _ = mica_snapshot::remove_tree(&self.disk.build_memory());
        }
        self.tidy_containers();
        self.tidy_images();
        self.events.append(&events::pruned("builder", pruned.reclaimed));
        Ok(pruned)
    }

    /// Keeps what builds leave within bounds: what was not used for long goes, and what was used
    /// least recently where it has become too much. What images have too takes no room of its own.
    pub(crate) fn bound_build_cache(&self) -> Result<()> {
        let now = Timestamp::from(std::time::SystemTime::now()).seconds();
        let (bound, seconds) = self.build_cache_bounds()?;
        let mut room = Room::default();
        let mut gone = Vec::new();
        for kept in self.kept()? {
            let is_old = now - kept.record.last_used > seconds;
            if !kept.record.in_use && (is_old || room.with(&kept) > bound && !kept.record.shared) {
                gone.push(kept);
            } else {
                room.take(&kept);
            }
        }
        if gone.is_empty() { Ok(()) } else { self.forget_records(gone) }
    }

    /// All that is kept, each with its whole size, what was used last first.
    fn kept(&self) -> Result<Vec<Kept>> {
        let images = self.image_layers()?;
        let steps = self.cached_steps()?;
        let mut kept: Vec<Kept> = steps.iter().map(|row| kept_step(row, &images)).collect();
        kept.extend(self.cache_mounts().into_iter().map(|record| Kept { record, layer: None }));
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.record.last_used));
        Ok(kept)
    }

    /// How many bytes builds may leave, and for how many seconds unused. Unless the machine's settings say otherwise: a
    /// tenth of the disk, and not less than what a few builds need; sixty days.
    pub(super) fn build_cache_bounds(&self) -> Result<(u64, i64)> {
        let config = &self.config()?.build;
        let bytes = match &config.cache_size_max {
            Some(typed) => {
                let wrong = |error| Error::invalid(format!("cache_size_max: {error}"));
                size::parse_decimal(typed).map(i64::unsigned_abs).map_err(wrong)?
            }
            None => {
                let disk = rustix::fs::statvfs(self.disk.root());
                disk.map_or(0, |disk| disk.f_blocks * disk.f_frsize / 10).max(CACHE_BYTES_MIN)
            }
        };
        let days = config.cache_days_max.map_or(UNUSED_DAYS_MAX, i64::from);
        Ok((bytes, days * 24 * 3600))
    }

    fn forget_records(&self, gone: Vec<Kept>) -> Result<()> {
        let records = gone.into_iter().map(|kept| kept.record);
        let (mounts, steps): (Vec<_>, Vec<_>) = records.partition(|record| record.kind == MOUNT);
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

/// For how many days a step may be unused.
const UNUSED_DAYS_MAX: i64 = 60;

/// What builds may leave in any case: ten gibibytes.
const CACHE_BYTES_MIN: u64 = 10 << 30;

/// The kind of a directory that steps keep, in docker's word.
const MOUNT: &str = "exec.cachemount";

/// The room that is taken by what stays.
#[derive(Default)]
struct Room {
    bytes: u64,
    layers: HashSet<Digest>,
}

impl Room {
    /// How much it is with one thing more.
    fn with(&self, kept: &Kept) -> u64 {
        let is_there = kept.layer.is_some_and(|layer| self.layers.contains(&layer));
        self.bytes + if is_there || kept.record.shared { 0 } else { kept.record.size }
    }

    fn take(&mut self, kept: &Kept) {
        self.bytes = self.with(kept);
        self.layers.extend(kept.layer);
    }
}

fn kept_step(row: &Row, images: &HashSet<Digest>) -> Kept {
    let layer = row.layer.as_ref();
    let record = BuildCacheRecord {
        id: row.key.clone(),
        description: row.description.clone(),
        kind: "regular".to_owned(),
        size: layer.map_or(0, |layer| layer.size),
        created: row.created.seconds(),
        last_used: row.last_used.seconds(),
        uses: row.uses,
        in_use: false,
        shared: layer.is_some_and(|layer| images.contains(&layer.diff_id)),
    };
    Kept { record, layer: layer.map(|layer| layer.diff_id) }
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
