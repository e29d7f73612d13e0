//! `rm`: a container and its writable layer go; its image is never touched.
//!
//! Order: the directory is renamed into the trash, the record goes, then the trash is emptied. The
//! removal stands with the rename: killed after it, the next command that opens the store lets the
//! record go, and the next removal or prune empties the trash.

use crate::Local;
use crate::container::record::{Record, Stage};
use crate::disk::LOCK_NAME;
use crate::error::{Error, Result};
use crate::{events, lock};
use mica_api::types::container::RemoveOptions;
use mica_model::{ContainerId, ErrorKind};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How often at most one process looks for leftovers while it removes containers.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);

impl Local {
    /// Removes one container.
    pub(crate) fn remove(&self, reference: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.remove_link(reference);
        }
        let id = Record::find(&self.database(), reference)?.id;
        // It may be started again between our end of its run and our lock.
        let volumes = if options.volumes { RemovedVolumes::Unnamed } else { RemovedVolumes::None };
        while !self.try_remove(&id, options, volumes)? {}
        if !options.after_run && self.is_time_to_tidy() {
            self.tidy_containers();
        }
        Ok(())
    }

    /// Whether leftovers were not looked for just now: that takes longer the more containers there are, too long for
    /// each of many that are removed in a row.
    fn is_time_to_tidy(&self) -> bool {
        let mut last = self.tidied_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = last.is_none_or(|last| last.elapsed() >= TIDY_INTERVAL);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }

    /// Ends its run if that may be and removes it; `false` if it was started meanwhile.
    fn try_remove(&self, id: &ContainerId, options: RemoveOptions, volumes: RemovedVolumes) -> Result<bool> {
        let record = Record::find(&self.database(), id.as_str())?;
        let disk = self.disk.container(id);
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
        let mut record = Record::find(&self.database(), id.as_str())?;
        if record.observe(&disk).is_running() {
            return Ok(false);
        }
        let deleter = if options.after_run { Deleter::Monitor } else { Deleter::Caller };
        self.remove_record_by(deleter, &mut record, volumes)?;
        Ok(true)
    }

    /// Removes a container that does not run and whose lock is held.
    pub(crate) fn remove_record(&self, record: &mut Record, volumes: RemovedVolumes) -> Result<()> {
        self.remove_record_by(Deleter::Caller, record, volumes)
    }

    fn remove_record_by(&self, deleter: Deleter, record: &mut Record, volumes: RemovedVolumes) -> Result<()> {
        let trashed = self.trash_directory(&record.id);
        let Some(unnamed) = self.delete_record(record, trashed.is_ok())? else {
            // Another removal of it was quicker, and announces it.
            return Err(Error::NoSuchContainer { reference: record.id.to_string() });
        };
        self.clean_run_directory(&record.id);
        record.stage = Stage::Removing;
        // The removal itself is done; an event that finds no room must not undo that.
        self.events.append(&events::container(record, "destroy", &[]));
        if deleter == Deleter::Caller || !self.leave_to_monitor(&record.id) {
            self.delete_trashed(&record.id);
        }
        if volumes == RemovedVolumes::Unnamed || record.auto_remove {
            self.remove_unnamed_volumes(&unnamed);
        }
        trashed
    }

    /// Deletes the record; answers as [`Record::delete`] does.
    fn delete_record(&self, record: &Record, is_trashed: bool) -> Result<Option<Vec<String>>> {
        let attempt = || self.database().write(|transaction| record.delete(transaction));
        self.make_room_for(attempt, || {
            if is_trashed {
                // All of it: this is about room.
                let _ = mica_snapshot::remove_tree(&self.trashed(&record.id));
            }
        })
    }

    /// Makes a removal's transaction. A full disk has no room to write that down in, so room is made:
    /// by folding the log back, by giving up the reserve, and by deleting what was just renamed away.
    pub(crate) fn make_room_for<T>(&self, attempt: impl Fn() -> Result<T>, delete: impl Fn()) -> Result<T> {
        let fold = || drop(self.database().fold());
        let give_up_reserve = || drop(std::fs::remove_file(self.disk.reserve()));
        let mut outcome = attempt();
        for make_room in [&fold as &dyn Fn(), &give_up_reserve, &delete] {
            match outcome {
                Err(error) if error.kind() == ErrorKind::Exhausted => make_room(),
                other => return other,
            }
            outcome = attempt();
        }
        outcome
    }

    pub(crate) fn trash_directory(&self, id: &ContainerId) -> Result<()> {
        let from = self.disk.container(id).directory().to_owned();
        let to = self.trashed(id);
        let mut renamed = std::fs::rename(&from, &to);
        if renamed.is_err() && !self.disk.trash().exists() {
            crate::disk::make_directory(&self.disk.trash())?;
            renamed = std::fs::rename(&from, &to);
        }
        if renamed.is_err() && to.exists() {
            // What was taken for a leftover of the same container before it was recorded.
            let _ = std::fs::rename(&to, self.leftover());
            renamed = std::fs::rename(&from, &to);
        }
        match renamed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &from, source))
            }
            _ => Ok(()),
        }
    }

    /// Renames a directory away that has no record. Whoever was about to make the container may go on to do so
    /// with another directory: what is in the trash must not be taken for that of a removed one.
    pub(crate) fn trash_leftover(&self, id: &ContainerId) {
        // What cannot be renamed now is found again next time.
        if crate::disk::make_directory(&self.disk.trash()).is_ok() {
            let _ = std::fs::rename(self.disk.container(id).directory(), self.leftover());
        }
    }

    /// A name in the trash that is of no container.
    fn leftover(&self) -> PathBuf {
        self.disk.trash().join(format!("leftover-{:016x}", u64::from_le_bytes(crate::system::random())))
    }

    /// Undoes a creation that could not be recorded.
    pub(crate) fn discard_directory(&self, id: &ContainerId) {
        // What stays behind has no record and is tidied away by the next removal.
        if self.trash_directory(id).is_ok() {
            self.delete_trashed(id);
        }
    }

    /// Deletes a renamed directory; what cannot be deleted now is tried again with the whole trash.
    fn delete_trashed(&self, id: &ContainerId) {
        let _ = mica_snapshot::remove_tree_within(&self.trashed(id), &self.effort);
    }

    /// Gives a renamed directory whose record is gone the name under which its monitor looks for it. If
    /// the monitor is gone, the directory goes with the rest of the trash.
    fn leave_to_monitor(&self, id: &ContainerId) -> bool {
        std::fs::rename(self.trashed(id), self.left_to_monitor(id)).is_ok()
    }

    /// Where a container's monitor finds what it is to delete.
    pub(crate) fn left_to_monitor(&self, id: &ContainerId) -> PathBuf {
        self.disk.trash().join(format!("removed-{id}"))
    }

    fn trashed(&self, id: &ContainerId) -> PathBuf {
        self.disk.trash().join(format!("{TRASHED_PREFIX}{id}"))
    }

    /// Deletes what lies in the trash; what cannot be deleted now is tried again next time.
    pub(crate) fn empty_trash(&self) {
        self.finish_removals();
        for (path, removed) in self.trash() {
            // One whose remover lives is deleted by that.
            if removed.is_none() || !lock::is_held(&path.join(LOCK_NAME)) {
                let _ = mica_snapshot::remove_tree_within(&path, &self.effort);
            }
        }
    }

    /// Lets the records of containers go whose removal was killed: their directories are gone
    /// already, so that nothing but another removal would work with them.
    pub(crate) fn finish_removals(&self) {
        for (path, removed) in self.trash() {
            let Some(id) = removed else { continue };
            if lock::is_held(&path.join(LOCK_NAME)) {
                continue;
            }
            let Ok(record) = Record::find(&self.database(), &id) else { continue };
            // Looked for after the record, before which it is made: then it is no removed container's.
            if self.disk.container(&record.id).directory().exists() {
                continue;
            }
            // On a full disk the next command tries again.
            let deleted = self.database().write(|transaction| record.delete(transaction));
            if let Ok(Some(unnamed)) = deleted {
                if record.auto_remove {
                    self.remove_unnamed_volumes(&unnamed);
                }
                self.clean_run_directory(&record.id);
                self.events.append(&events::container(&record, "destroy", &[]));
            }
        }
    }

    /// What lies in the trash, and of which container it is, if of one.
    fn trash(&self) -> Vec<(PathBuf, Option<String>)> {
        let Ok(entries) = std::fs::read_dir(self.disk.trash()) else { return Vec::new() };
        let id = |name: &str| name.strip_prefix(TRASHED_PREFIX).map(str::to_owned);
        entries.flatten().map(|entry| (entry.path(), entry.file_name().to_str().and_then(id))).collect()
    }
}

/// Who deletes the files of a removed container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleter {
    /// Whoever removes it, before it answers.
    Caller,
    /// The monitor of the run that has just ended, while the caller goes on.
    Monitor,
}

/// What becomes of the volumes of a removed container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RemovedVolumes {
    /// They stay, but for a container that removes itself.
    None,
    /// Those that nobody named go with it, unless another container has them.
    Unnamed,
}

/// What the name of a container's directory begins with once it is in the trash.
const TRASHED_PREFIX: &str = "container-";

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
