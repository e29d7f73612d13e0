//! `volume ls` and `volume inspect`.

use super::record::{VolumeRecord, check_name, holder_counts};
use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::volume::{Volume, VolumeUsage};
use mica_model::Filters;
use std::collections::{BTreeMap, HashMap, HashSet};

const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

impl Local {
    /// The volumes that pass the filters, by name.
    pub(crate) fn list_volumes(&self, filters: &Filters) -> Result<Vec<Volume>> {
        filters.validate(FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let dangling =
            filters.boolean("dangling", None).map_err(|error| Error::invalid(error.to_string()))?;
        let held = if dangling.is_some() { holder_counts(&self.database())? } else { HashMap::new() };
        let wanted = |record: &VolumeRecord| {
            dangling.is_none_or(|dangling| held.contains_key(&record.name) != dangling)
                && filters.exact_match("driver", "local")
                && filters.pattern_match("name", &record.name)
                && filters.match_kv_list("label", |key| record.labels.get(key).map(String::as_str))
        };
        let records = self.volume_records()?;
        Ok(records.iter().filter(|record| wanted(record)).map(|record| self.volume(record)).collect())
    }

    /// All volumes: those with a record, and directories whose record a power cut took.
    pub(super) fn volume_records(&self) -> Result<Vec<VolumeRecord>> {
        let mut records = VolumeRecord::all(&self.database())?;
        let known: HashSet<String> = records.iter().map(|record| record.name.clone()).collect();
        let Ok(entries) = std::fs::read_dir(self.disk.volumes()) else { return Ok(records) };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| !known.contains(name)) {
            records.extend(self.adopt_volume(&name)?);
        }
        records.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(records)
    }

    /// Records a directory that lies among the volumes.
    fn adopt_volume(&self, name: &str) -> Result<Option<VolumeRecord>> {
        let data = self.disk.volume(name).data();
        if check_name(name).is_err() || !data.is_dir() {
            return Ok(None);
        }
        let record = VolumeRecord::new(name, BTreeMap::new(), BTreeMap::new());
        let recorded = self.database().write(|transaction| {
            // Removed since the look: nothing to adopt.
            if data.is_dir() { record.ensure(transaction, &self.disk).map(|_| true) } else { Ok(false) }
        });
        match recorded {
            Ok(false) => Ok(None),
            // What only reads goes on where nothing can be written.
            Ok(true) | Err(_) => Ok(VolumeRecord::find(&self.database(), name)?.or(Some(record))),
        }
    }

    /// Everything about one volume.
    pub(crate) fn inspect_volume(&self, name: &str) -> Result<Volume> {
        Ok(self.volume(&self.find_volume(name)?))
    }

    /// Finds a volume by its whole name.
    pub(super) fn find_volume(&self, name: &str) -> Result<VolumeRecord> {
        let missing = || Error::NoSuchVolume { name: name.to_owned() };
        let found = VolumeRecord::find(&self.database(), name)?;
        match found {
            Some(record) => Ok(record),
            None => self.adopt_volume(name)?.ok_or_else(missing),
        }
    }

    /// All volumes with what they take up.
    pub(crate) fn volumes_with_usage(&self) -> Result<Vec<Volume>> {
        let held = holder_counts(&self.database())?;
        let mut volumes = Vec::new();
        for record in self.volume_records()? {
            let mut volume = self.volume(&record);
            let size = i64::try_from(self.volume_size(&record)).unwrap_or(i64::MAX);
            let ref_count = held.get(&record.name).copied().unwrap_or(0);
            volume.usage_data = Some(VolumeUsage { size, ref_count });
            volumes.push(volume);
        }
        Ok(volumes)
    }

    /// Bytes in the store; none for a volume that lies elsewhere, or that is removed meanwhile.
    pub(super) fn volume_size(&self, record: &VolumeRecord) -> u64 {
        if !record.options.is_empty() {
            return 0;
        }
        mica_snapshot::disk_usage(&self.disk.volume(&record.name).data()).map_or(0, |usage| usage.bytes)
    }

    fn volume(&self, record: &VolumeRecord) -> Volume {
        let unless_empty = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
        Volume {
            created_at: jiff::Timestamp::from_second(record.created.seconds())
                .map(|instant| instant.to_string())
                .unwrap_or_default(),
            driver: "local".to_owned(),
            labels: unless_empty(&record.labels),
            mountpoint: self.disk.volume(&record.name).data().to_string_lossy().into_owned(),
            name: record.name.clone(),
            options: unless_empty(&record.options),
            scope: "local".to_owned(),
            usage_data: None,
        }
    }
}
