//! `rm`: a container and its writable layer go; its image is never touched.
//!
//! Order: the record says "removing", the directory is renamed into the trash, the record goes,
//! then the trash is emptied. Killed anywhere in between, the next command goes on.

use crate::Local;
use crate::container::record::{Record, Stage};
use crate::error::{Error, Result};
use crate::{events, lock};
use mica_api::types::container::RemoveOptions;
use mica_model::ContainerId;

impl Local {
    /// Removes one container.
    pub(crate) fn remove(&self, reference: &str, options: RemoveOptions) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        if options.link {
            return Err(Error::Unsupported { what: "links come with networks".to_owned() });
        }
        let disk = self.disk.container(&record.id);
        let observed = record.observe(&disk);
        if observed.is_running() {
            if !options.force {
                return Err(running(&record, observed.status));
            }
            self.kill_now(&record, observed.status)?;
        }
        let _lock = match lock::exclusive(&disk.lock()) {
            Ok(lock) => Some(lock),
            // A directory that somebody deleted by hand must not keep the record alive.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut record = Record::find(&self.database(), record.id.as_str())?;
        if record.observe(&disk).is_running() {
            return Err(running(&record, "running"));
        }
        let removed = self.remove_record(&mut record);
        self.tidy_containers();
        removed
    }

    /// Removes a container that does not run and whose lock is held.
    pub(crate) fn remove_record(&self, record: &mut Record) -> Result<()> {
        let trashed = self.trash_directory(&record.id);
        let removed = self.database().write(|transaction| record.delete(transaction));
        if removed.is_err() && trashed.is_ok() {
            // A full disk: what was just renamed away is room to write the deletion in.
            self.empty_trash();
            self.database().write(|transaction| record.delete(transaction))?;
        } else {
            removed?;
        }
        self.clean_run_directory(&record.id);
        record.stage = Stage::Removing;
        // The removal itself is done; an event that finds no room must not undo that.
        self.events.append(&events::container(record, "destroy", &[]));
        self.empty_trash();
        trashed
    }

    pub(crate) fn trash_directory(&self, id: &ContainerId) -> Result<()> {
        let from = self.disk.container(id).directory().to_owned();
        let to = self.disk.trash().join(format!("container-{id}"));
        match std::fs::rename(&from, &to) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &from, source))
            }
            _ => Ok(()),
        }
    }

    /// Undoes a creation that could not be recorded.
    pub(crate) fn discard_directory(&self, id: &ContainerId) {
        // What stays behind has no record and is tidied away by the next removal.
        if self.trash_directory(id).is_ok() {
            self.empty_trash();
        }
    }

    /// Deletes what lies in the trash; what cannot be deleted now is tried again next time.
    pub(crate) fn empty_trash(&self) {
        let Ok(entries) = std::fs::read_dir(self.disk.trash()) else { return };
        for entry in entries.flatten() {
            let _ = mica_snapshot::remove_tree(&entry.path());
        }
    }
}

fn running(record: &Record, status: &str) -> Error {
    let advice = if status == "paused" { "unpause and stop" } else { "stop" };
    Error::State {
        what: format!(
            "cannot remove container \"{}\": container is {status}: {advice} the container before removing or force remove",
            record.name
        ),
        hint: Some("`mica rm -f` kills it first"),
    }
}
