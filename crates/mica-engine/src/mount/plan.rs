//! Records as mounts of the OCI runtime specification, in the order in which they are made.

use super::{MountRecord, MountSource, ReadOnlyReach, VolumeMount, check, tmpfs};
use crate::Local;
use crate::container::record::{Definition, Record};
use crate::error::{Error, Result};
use crate::lock;
use crate::volume::{self, VolumeSource};
use mica_runtime::{JoinedNamespace, NamespaceKind, OF_CONTAINER};
use oci_spec::runtime::{Mount, MountBuilder, Spec};
use std::collections::{BTreeSet, HashMap};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// A mount that the container's user asked for.
#[derive(Debug)]
pub(crate) struct UserMount {
    destination: String,
    mount: Mount,
    /// Another container that has it already, in memory.
    lender: Option<JoinedNamespace>,
}

/// Takes from mounts what lends them to this container, by the place of the mount.
pub(crate) fn take_lenders(mounts: &mut [UserMount]) -> HashMap<String, JoinedNamespace> {
    let lender = |mount: &mut UserMount| Some((mount.destination.clone(), mount.lender.take()?));
    mounts.iter_mut().filter_map(lender).collect()
}

/// Lenders in the order of the mounts of a document; `memory` lends what no user asked for.
pub(crate) fn in_order_of(
    spec: &Spec,
    mut lenders: HashMap<String, JoinedNamespace>,
    mut memory: Option<JoinedNamespace>,
) -> Vec<JoinedNamespace> {
    let is_lent = |mount: &&Mount| mount.typ().as_deref() == Some(OF_CONTAINER);
    let lent = spec.mounts().iter().flatten().filter(is_lent);
    lent.filter_map(|mount| lenders.remove(mount.destination().to_str()?).or_else(|| memory.take())).collect()
}

impl Local {
    /// What the user wants mounted, the places nearest to the root first; what has to be there for
    /// it is made. What other containers have in memory is theirs too, if they `may_borrow`.
    pub(crate) fn user_mounts(&self, definition: &Definition, may_borrow: bool) -> Result<Vec<UserMount>> {
        let memory = definition.host_config.tmpfs.as_ref();
        if definition.mounts.is_empty() && memory.is_none() {
            return Ok(Vec::new());
        }
        make_sources(&definition.mounts)?;
        super::propagation::check_sources(&definition.mounts)?;
        let mut mounts = Vec::with_capacity(definition.mounts.len());
        for record in &definition.mounts {
            let borrowed = if may_borrow { self.borrowed(record)? } else { None };
            mounts.push(borrowed.map_or_else(|| self.user_mount(record), Ok)?);
        }
        for (place, options) in memory.into_iter().flatten() {
            let destination = check::destination("tmpfs", place)?;
            mounts.push(user_mount(destination, "tmpfs", "tmpfs", tmpfs::of_words(options)?)?);
        }
        mounts.sort_by_key(|mount| mount.destination.matches('/').count());
        Ok(mounts)
    }

    /// What of that outlives a run, for one who looks at a container that does not run.
    pub(crate) fn kept_mounts(&self, definition: &Definition) -> Result<Vec<Mount>> {
        let is_kept = |record: &&MountRecord| !matches!(record.source, MountSource::Tmpfs { .. });
        let mut mounts = Vec::new();
        for record in definition.mounts.iter().filter(is_kept) {
            mounts.push(self.user_mount(record)?);
        }
        mounts.sort_by_key(|mount| mount.destination.matches('/').count());
        Ok(mounts.into_iter().map(|mount| mount.mount).collect())
    }

    /// Locks of the volumes in memory that a container is about to have. Two that start at once would each find
    /// nobody who has it already: whoever comes second waits until the first one has, and borrows from that.
    pub(crate) fn lock_volumes_in_memory(&self, definition: &Definition) -> Result<Vec<File>> {
        let mut names = BTreeSet::new();
        for volume in definition.mounts.iter().filter_map(MountRecord::volume) {
            if self.is_in_memory(volume)? {
                names.insert(&volume.name);
            }
        }
        // By name, so that two who want the same two do not wait for each other.
        let locks =
            names.into_iter().map(|name| lock::exclusive_directory(self.disk.volume(name).directory()));
        locks.filter_map(Result::transpose).collect()
    }

    fn is_in_memory(&self, volume: &VolumeMount) -> Result<bool> {
        let source = self.volume_source(&volume.name)?;
        Ok(matches!(source, VolumeSource::FileSystem { kind, .. } if kind == "tmpfs"))
    }

    /// A volume in memory that a running container has: as long as one does, all have the same.
    fn borrowed(&self, record: &MountRecord) -> Result<Option<UserMount>> {
        let Some(volume) = record.volume() else { return Ok(None) };
        if !self.is_in_memory(volume)? {
            return Ok(None);
        }
        // The database is let go of before each of them is looked up in it.
        let all = volume::mounts_by_container(&self.database())?;
        for (id, mounts) in all {
            let Some(own) = mounts.iter().find(|mount| mount.name == volume.name) else { continue };
            let Ok(other) = Record::find(&self.database(), &id) else { continue };
            let other_definition = other.definition(&self.database())?;
            let is_whole = other_definition.mounts.iter().all(|mount| {
                mount.volume().is_none_or(|other| other.name != volume.name || other.subpath.is_empty())
            });
            // One that ends meanwhile has nothing to lend any more.
            let Ok(lender) = self.namespace_of(&other, NamespaceKind::Mount) else { continue };
            if is_whole {
                let options = if record.read_only { vec!["ro".to_owned()] } else { Vec::new() };
                let place = format!("{}/{}", own.destination, volume.subpath);
                let place = place.trim_end_matches('/');
                let mount = user_mount(record.destination.clone(), OF_CONTAINER, place, options)?;
                return Ok(Some(UserMount { lender: Some(lender), ..mount }));
            }
        }
        Ok(None)
    }

    fn user_mount(&self, record: &MountRecord) -> Result<UserMount> {
        let destination = record.destination.clone();
        match &record.source {
            MountSource::Bind { path, .. } => user_mount(destination, "bind", path, bind_options(record)),
            MountSource::Volume(volume) => self.volume_mount(record, volume),
            MountSource::Tmpfs { options } => user_mount(destination, "tmpfs", "tmpfs", options.clone()),
            MountSource::Image { layers, subpath, .. } => {
                let top_first: Vec<_> = layers.iter().rev().cloned().collect();
                let mut options = vec!["ro".to_owned()];
                for layer in mica_snapshot::visible_lowers(&top_first)? {
                    options.push(format!("lowerdir+={}", layer.display()));
                }
                options.extend(part(subpath));
                user_mount(destination, "overlay", "overlay", options)
            }
        }
    }

    fn volume_mount(&self, record: &MountRecord, volume: &VolumeMount) -> Result<UserMount> {
        let destination = record.destination.clone();
        match self.volume_source(&volume.name)? {
            VolumeSource::Directory { path, is_read_only } => {
                let mut record = record.clone();
                record.read_only |= is_read_only;
                let mut options = bind_options(&record);
                options.extend(part(&volume.subpath));
                user_mount(destination, "bind", &path.to_string_lossy(), options)
            }
            VolumeSource::FileSystem { kind, device, mut options } => {
                if record.read_only {
                    options.push("ro".to_owned());
                }
                options.extend(part(&volume.subpath));
                user_mount(destination, &kind, &device, options)
            }
        }
    }
}

/// Makes directories of the sources of `-v` that are not there.
fn make_sources(records: &[MountRecord]) -> Result<()> {
    for record in records {
        let MountSource::Bind { path, is_made: true } = &record.source else { continue };
        let path = Path::new(path);
        if std::fs::symlink_metadata(path).is_err() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(path)
                .map_err(|source| Error::io("create the mount source", path, source))?;
        }
    }
    Ok(())
}

fn bind_options(record: &MountRecord) -> Vec<String> {
    let mut options = vec![if record.is_shallow { "bind" } else { "rbind" }];
    match (record.read_only, record.read_only_reach) {
        (true, ReadOnlyReach::Below) => options.push("rro"),
        (true, ReadOnlyReach::One) => options.push("ro"),
        (false, _) => {}
    }
    options.push(if record.propagation.is_empty() { "rprivate" } else { &record.propagation });
    options.into_iter().map(str::to_owned).collect()
}

/// The part of its source that a mount shows; an option that is for us and not for the kernel, as
/// mount(8) has them.
fn part(subpath: &str) -> Option<String> {
    (!subpath.is_empty()).then(|| format!("{}{subpath}", mica_runtime::SUBPATH_OPTION))
}

fn user_mount(destination: String, kind: &str, source: &str, options: Vec<String>) -> Result<UserMount> {
    let mount = MountBuilder::default()
        .destination(&destination)
        .typ(kind)
        .source(source)
        .options(options)
        .build()
        .map_err(|source| Error::invalid(format!("the mount on {destination} is not valid: {source}")))?;
    Ok(UserMount { destination, mount, lender: None })
}

/// The engine's own mounts with the user's among them: the kernel's file systems, what the user
/// wants, and the files that tell the container its name. What the user mounts on the same place wins,
/// but for `/proc`, where the runtime refuses it.
pub(crate) fn combined(kernel: Vec<Mount>, user: Vec<UserMount>, files: Vec<Mount>) -> Vec<Mount> {
    if user.is_empty() {
        return kernel.into_iter().chain(files).collect();
    }
    let is_user = |place: &Path| user.iter().any(|mount| Path::new(&mount.destination) == place);
    let has_devices = is_user(Path::new("/dev"));
    let is_own = |mount: &Mount| {
        let place = mount.destination();
        let is_replaced = is_user(place) && place != Path::new("/proc");
        !(is_replaced || has_devices && place.starts_with("/dev"))
    };
    let kernel: Vec<Mount> = kernel.into_iter().filter(is_own).collect();
    let files: Vec<Mount> = files.into_iter().filter(is_own).collect();
    kernel.into_iter().chain(user.into_iter().map(|mount| mount.mount)).chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(place: &str) -> Mount {
        MountBuilder::default().destination(place).build().unwrap()
    }

    fn places(kernel: &[&str], user: &[&str], files: &[&str]) -> Vec<String> {
        let own = |places: &[&str]| places.iter().map(|place| own(place)).collect();
        let user =
            user.iter().map(|place| user_mount((*place).to_owned(), "bind", "/source", Vec::new()).unwrap());
        combined(own(kernel), user.collect(), own(files))
            .iter()
            .map(|mount| mount.destination().display().to_string())
            .collect()
    }

    #[test]
    fn what_the_user_mounts_replaces_what_every_container_has() {
        let kernel = ["/proc", "/dev", "/dev/shm", "/sys"];
        assert_eq!(
            places(&kernel, &["/dev/shm", "/etc/hosts"], &["/etc/hosts", "/etc/hostname"]),
            ["/proc", "/dev", "/sys", "/dev/shm", "/etc/hosts", "/etc/hostname"]
        );
        assert_eq!(places(&kernel, &["/dev"], &[]), ["/proc", "/sys", "/dev"]);
        assert_eq!(places(&kernel, &["/proc"], &[]), ["/proc", "/dev", "/dev/shm", "/sys", "/proc"]);
    }

    #[test]
    fn read_only_reaches_as_far_as_it_was_asked_to() {
        let source = || MountSource::Bind { path: "/s".to_owned(), is_made: false };
        let record = MountRecord::new("/d".to_owned(), source());
        assert_eq!(bind_options(&record), ["rbind", "rprivate"]);
        let mut record = MountRecord { read_only: true, ..record };
        assert_eq!(bind_options(&record), ["rbind", "rro", "rprivate"]);
        record.read_only_reach = ReadOnlyReach::One;
        record.is_shallow = true;
        record.propagation = "rslave".to_owned();
        assert_eq!(bind_options(&record), ["bind", "ro", "rslave"]);
    }
}
