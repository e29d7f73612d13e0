//! `volume rm` and `volume prune`: data goes only when no container has it.

use super::ANONYMOUS_LABEL;
use super::record::{VolumeRecord, check_name, holders};
use crate::container::list::prune_labels;
use crate::database::query;
use crate::error::{Error, Result};
use crate::{Local, events, system};
use mica_api::types::volume::VolumePruneResponse;
use mica_model::Filters;
use std::path::PathBuf;

const PRUNE_FILTERS: &[&str] = &["all", "label", "label!"];

impl Local {
    /// Removes a volume that no container has.
    pub(crate) fn remove_volume(&self, name: &str, is_forced: bool) -> Result<()> {
        match self.find_volume(name) {
            Ok(_) => self.remove_known_volume(name),
            Err(Error::NoSuchVolume { .. }) if is_forced => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove_known_volume(&self, name: &str) -> Result<()> {
        // What is looked for on the disk must not lead out of the store.
        check_name(name)?;
        let trash = self.trashed_volume(name);
        let attempt = || {
            self.database().write(|transaction| {
                let holders = holders(transaction, name).map_err(query)?;
                if !holders.is_empty() {
                    return Err(Error::state(format!(
                        "remove {name}: volume is in use - [{}]",
                        holders.join(", ")
                    )));
                }
                self.trash_volume(name, &trash)?;
                VolumeRecord::delete(transaction, name)
            })
        };
        // All of it: this is about room.
        self.make_room_for(attempt, || drop(mica_snapshot::remove_tree(&trash)))?;
        self.events.append(&events::volume("destroy", name, &[]));
        let _ = mica_snapshot::remove_tree_within(&trash, &self.effort);
        Ok(())
    }

    /// Renames the directory away; there may be none if somebody deleted it.
    fn trash_volume(&self, name: &str, trash: &PathBuf) -> Result<()> {
        crate::disk::make_directory(&self.disk.trash())?;
        let directory = self.disk.volume(name).directory().to_owned();
        match std::fs::rename(&directory, trash) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &directory, source))
            }
            _ => Ok(()),
        }
    }

    fn trashed_volume(&self, name: &str) -> PathBuf {
        let unique = u64::from_le_bytes(system::random());
        // A name may be as long as a file's already.
        let name: String = name.chars().take(100).collect();
        self.disk.trash().join(format!("volume-{name}-{unique:016x}"))
    }

    /// Removes volumes that went with their container, if no other has them.
    pub(crate) fn remove_unnamed_volumes(&self, names: &[String]) {
        for name in names {
            // One that another container has stays until that goes; one that cannot be removed now
            // is found by `volume prune`.
            let _ = self.remove_volume(name, true);
        }
    }

    /// Removes volumes that no container has: those that nobody named, or with `all` every one.
    pub(crate) fn prune_volumes(&self, filters: &Filters) -> Result<VolumePruneResponse> {
        filters.validate(PRUNE_FILTERS).map_err(|error| Error::invalid(error.to_string()))?;
        let all = filters.boolean("all", Some(false)).map_err(|error| Error::invalid(error.to_string()))?;
        let mut answer = VolumePruneResponse::default();
        for record in self.volume_records()? {
            let is_wanted = all == Some(true) || record.labels.contains_key(ANONYMOUS_LABEL);
            if !is_wanted || !prune_labels(filters, &record.labels) {
                continue;
            }
            let size = self.volume_size(&record);
            match self.remove_volume(&record.name, false) {
                Ok(()) => {
                    answer.deleted.push(record.name);
                    answer.space_reclaimed = answer.space_reclaimed.saturating_add(size);
                }
                // Used, or removed by somebody else meanwhile.
                Err(Error::State { .. } | Error::NoSuchVolume { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.empty_trash();
        self.events.append(&events::pruned("volume", answer.space_reclaimed));
        Ok(answer)
    }
}
