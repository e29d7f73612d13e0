//! What `cp` needs: looking at a path, reading it as an archive, unpacking an archive at it.
//!
//! A running container is entered by the root that its own processes have, so that what is mounted
//! into it is seen; one that does not run is mounted for the moment, without a place.

use crate::container::changes::top_first;
use crate::container::record::Record;
use crate::container::stop::is_restarting;
use crate::error::{Error, Result};
use crate::{Local, events, lock};
use mica_api::types::container::{ArchivePut, PathStat};
use mica_snapshot::OverlayMount;
use mica_snapshot::archive::{self, LastLink, WriteOptions};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

/// A container's tree, and the lock that keeps it from starting while it is mounted here.
#[derive(Debug)]
struct Tree {
    root: OwnedFd,
    record: Record,
    lock: Option<File>,
}

impl Local {
    /// What is at a path; a link at its end is described itself.
    pub(crate) fn path_stat(&self, reference: &str, path: &str) -> Result<PathStat> {
        let tree = self.tree(reference, Access::Read)?;
        archive::stat_path(tree.root.as_fd(), path.as_bytes())
            .map(stat)
            .map_err(|error| missing_path(error, reference, path))
    }

    /// Writes what is at a path as an archive.
    pub(crate) fn archive_read(&self, reference: &str, path: &str, out: &mut dyn Write) -> Result<PathStat> {
        let mut tree = self.tree(reference, Access::Read)?;
        // Who takes the archive may take their time; nobody else is to wait for them.
        tree.lock = None;
        let read = archive::read_path(tree.root.as_fd(), path.as_bytes(), LastLink::Keep, out)
            .map(stat)
            .map_err(|error| missing_path(error, reference, path))?;
        // What was removed meanwhile is not whole.
        Record::find(&self.database(), tree.record.id.as_str())?;
        self.events.append(&events::container(&tree.record, "archive-path", &[]));
        Ok(read)
    }

    /// Unpacks an archive into a directory. Unless the archive's owners are to be kept, all that
    /// is unpacked belongs to root, as docker documents it.
    pub(crate) fn archive_write(
        &self,
        reference: &str,
        put: &ArchivePut,
        archive: &mut dyn Read,
    ) -> Result<()> {
        let tree = self.tree(reference, Access::Write)?;
        let options = WriteOptions {
            keep_kinds: put.no_overwrite_directory_with_file,
            owner: (!put.copy_uid_gid).then_some((0, 0)),
        };
        archive::write_archive(tree.root.as_fd(), put.path.as_bytes(), archive, options)
            .map_err(|error| missing_path(error, reference, &put.path))?;
        self.events.append(&events::container(&tree.record, "extract-to-dir", &[]));
        Ok(())
    }

    fn tree(&self, reference: &str, access: Access) -> Result<Tree> {
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        if access == Access::Write && definition.host_config.readonly_rootfs {
            return Err(Error::state("container rootfs is marked read-only"));
        }
        let disk = self.disk.container(&record.id);
        // Whoever starts or removes it holds the lock too, so what is observed holds.
        let lock = lock::container(&disk, &record.id)?;
        let record = Record::find(&self.database(), record.id.as_str())?;
        let observed = record.observe(&disk);
        if observed.status == "restarting" && access == Access::Write {
            // Its monitor may mount the writable layer at any moment.
            return Err(is_restarting(&record));
        }
        if observed.has_process() {
            return Ok(Tree { root: mica_runtime::root(disk.run())?, record, lock: None });
        }
        let mut lowers = top_first(&definition);
        let stack = if access == Access::Read {
            // Only looked at, the writable layer is one more to read: so a read-only disk will do.
            lowers.insert(0, disk.upper());
            OverlayMount { lowers, upper: None, work: None, volatile: false }
        } else {
            disk.forget_volatile();
            OverlayMount { lowers, upper: Some(disk.upper()), work: Some(disk.work()), volatile: false }
        };
        Ok(Tree { root: stack.mount_detached(access == Access::Read)?, record, lock: Some(lock) })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// docker's words for a path that is not there.
fn missing_path(error: mica_snapshot::Error, reference: &str, path: &str) -> Error {
    match error {
        mica_snapshot::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Error::NoSuchPath { path: path.to_owned(), container: reference.to_owned() }
        }
        other => other.into(),
    }
}

fn stat(stat: archive::PathStat) -> PathStat {
    PathStat {
        name: stat.name,
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: stat.mode,
        mtime: stat.mtime,
        link_target: stat.link_target.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}
