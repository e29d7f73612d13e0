//! Leftovers of commands and monitors that were killed.
//!
//! A killed `create` leaves a directory without a record, a killed monitor a run directory and
//! cgroups. Both are found by comparing names and taken away by removals and prunes; a lock tells
//! a leftover from the work of a command that is still at it.

use crate::Local;
use crate::container::record::Record;
use crate::error::Error;
use crate::lock;
use crate::network::record::Network;
use mica_model::ContainerId;
use mica_network::{Names, membership};

impl Local {
    /// Takes leftovers of containers away; what cannot be taken away now is tried again next time.
    pub(crate) fn tidy_containers(&self) {
        self.finish_removals();
        let Ok(known) = Record::ids(&self.database()) else { return };
        for id in ids_in(&self.disk.containers()) {
            if !known.contains(id.as_str()) {
                self.tidy_directory(&id);
            }
        }
        for id in self.disk.run_ids() {
            // A run is recorded before its directory is made: one made since the first look is known now.
            // A step of a build has no record, but a lock, before its directory is made.
            if !known.contains(id.as_str())
                && self.is_unknown(&id)
                && !lock::is_held(&self.disk.container(&id).lock())
                && !mica_runtime::is_attended(self.disk.container(&id).run())
            {
                self.clean_run_directory(&id);
            }
        }
        self.empty_trash();
        self.disk.make_reserve();
    }

    /// Takes cgroups away that were made for containers which were never recorded. Only for the chores: it is rare, and
    /// looking for them takes time.
    pub(crate) fn tidy_groups(&self) {
        if let Ok(known) = Record::ids(&self.database()) {
            // One recorded since is not old enough.
            mica_runtime::remove_stray_groups(|id| known.contains(id));
        }
    }

    /// Forgets the names of networks, and the networks of containers, that are gone without having been forgotten. Only
    /// for the chores.
    pub(crate) fn tidy_names(&self) {
        let run_root = self.disk.run_root();
        // What is written down now was recorded before, so that nothing new is taken for a leftover.
        let (members, networks) = (membership::listed(run_root), Names::networks(run_root));
        if let Ok(known) = self.database().read(Network::all) {
            for id in networks.iter().filter(|id| known.iter().all(|network| network.id != **id)) {
                Names::of(run_root, id).remove_all();
            }
        }
        for id in members.iter().filter_map(|member| member.parse::<ContainerId>().ok()) {
            let disk = self.disk.container(&id);
            // A step of a build has no record, but a lock.
            if self.is_unknown(&id) && !lock::is_held(&disk.lock()) && !mica_runtime::is_attended(disk.run())
            {
                membership::forget(run_root, id.as_str());
            }
        }
    }

    fn tidy_directory(&self, id: &ContainerId) {
        let disk = self.disk.container(id);
        let Ok(Some(_lock)) = lock::try_exclusive(&disk.lock()) else { return };
        // Recorded between our two looks: no leftover.
        if self.is_unknown(id) {
            self.forget_places(id);
            self.trash_leftover(id);
        }
    }

    /// Whether there surely is no such record: a database that cannot be read proves nothing.
    fn is_unknown(&self, id: &ContainerId) -> bool {
        matches!(Record::find(&self.database(), id.as_str()), Err(Error::NoSuchContainer { .. }))
    }

    /// Ends what a killed monitor left of a run; nothing happens while a monitor lives.
    pub(crate) fn clean_run_directory(&self, id: &ContainerId) {
        let run = self.disk.container(id).run().to_owned();
        if mica_runtime::cleanup(&run).is_ok()
            && matches!(mica_runtime::status(&run), Ok(mica_runtime::Status::Absent))
        {
            let _ = std::fs::remove_dir_all(&run);
        }
    }
}

fn ids_in(directory: &std::path::Path) -> Vec<ContainerId> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
