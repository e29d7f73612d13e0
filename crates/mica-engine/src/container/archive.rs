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
use mica_model::Timestamp;
use mica_snapshot::OverlayMount;
use mica_snapshot::archive::{self, LastLink, WriteOptions};
use oci_spec::runtime::Mount;
use rustix::fs::{CWD, Mode, OFlags};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A container's tree, the lock that keeps it from starting while it is mounted here, and what its user has
/// mounted into it.
#[derive(Debug)]
struct Tree {
    root: OwnedFd,
    record: Record,
    lock: Option<File>,
    mounts: Vec<Mount>,
}

impl Local {
    /// What is at a path; a link at its end is described itself.
    pub(crate) fn path_stat(&self, reference: &str, path: &str) -> Result<PathStat> {
        let tree = self.tree(reference, Access::Read)?;
        let found = self.visit(&tree, |root| archive::stat_path(root, path.as_bytes()))?;
        found.map(stat).map_err(|error| missing_path(error, reference, path))
    }

    /// Writes what is at a path as an archive.
    pub(crate) fn archive_read(&self, reference: &str, path: &str, out: &mut dyn Write) -> Result<PathStat> {
        let mut tree = self.tree(reference, Access::Read)?;
        // Who takes the archive may take their time; nobody else is to wait for them.
        tree.lock = None;
        let read =
            self.visit(&tree, |root| archive::read_path(root, path.as_bytes(), LastLink::Keep, out))?;
        let read = read.map(stat).map_err(|error| missing_path(error, reference, path))?;
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
        self.check_writable(reference, &put.path)?;
        let is_live = {
            let record = Record::find(&self.database(), reference)?;
            record.observe(&self.disk.container(&record.id)).has_process()
        };
        // Who sends the archive may take their time, and nobody is to wait for them: a container that does not run
        // is kept from starting only when all of it is here.
        let mut held = if is_live { None } else { Some(self.held_archive(archive)?) };
        let archive: &mut dyn Read = match &mut held {
            Some(held) => held,
            None => archive,
        };
        let tree = self.tree(reference, Access::Write)?;
        let options = WriteOptions {
            keep_kinds: put.no_overwrite_directory_with_file,
            owner: (!put.copy_uid_gid).then_some((0, 0)),
        };
        let written =
            self.visit(&tree, |root| archive::write_archive(root, put.path.as_bytes(), archive, options))?;
        written.map_err(|error| missing_path(error, reference, &put.path))?;
        self.events.append(&events::container(&tree.record, "extract-to-dir", &[]));
        Ok(())
    }

    /// Refuses what docker refuses without looking at the disk.
    fn check_writable(&self, reference: &str, path: &str) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        let holder = definition.mounts.iter().find(|mount| Path::new(path).starts_with(&mount.destination));
        match holder {
            Some(mount) if mount.read_only => Err(Error::state("mounted volume is marked read-only")),
            None if definition.host_config.readonly_rootfs => {
                Err(Error::state("container rootfs is marked read-only"))
            }
            _ => Ok(()),
        }
    }

    /// Does something with a tree in which everything is mounted that the container would see.
    fn visit<T>(&self, tree: &Tree, work: impl FnOnce(BorrowedFd<'_>) -> T) -> Result<T> {
        if tree.mounts.is_empty() {
            return Ok(work(tree.root.as_fd()));
        }
        let place = self.disk.container(&tree.record.id).work();
        Ok(mica_runtime::visit(tree.root.as_fd(), &place, &tree.mounts, work)?)
    }

    fn tree(&self, reference: &str, access: Access) -> Result<Tree> {
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
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
            let root = mica_runtime::root(disk.run())?;
            return Ok(Tree { root, record, lock: None, mounts: Vec::new() });
        }
        let mounts = self.kept_mounts(&definition)?;
        let mut lowers = top_first(&definition);
        if access == Access::Read && !mounts.is_empty() && record.started == Timestamp::NEVER {
            // Before its first start the places of its mounts may be missing. On a read-only disk they stay so.
            disk.forget_volatile();
            let (upper, work) = (Some(disk.upper()), Some(disk.work()));
            let stack = OverlayMount { lowers: lowers.clone(), upper, work, volatile: false };
            let made = stack.mount_detached(false);
            let _ = made.map(|root| mica_runtime::visit(root.as_fd(), &disk.work(), &mounts, |_| ()));
        }
        let stack = if access == Access::Read {
            // Only looked at, the writable layer is one more to read: so a read-only disk will do.
            lowers.insert(0, disk.upper());
            OverlayMount { lowers, upper: None, work: None, volatile: false }
        } else {
            disk.forget_volatile();
            OverlayMount { lowers, upper: Some(disk.upper()), work: Some(disk.work()), volatile: false }
        };
        let root = stack.mount_detached(access == Access::Read)?;
        Ok(Tree { root, record, lock: Some(lock), mounts })
    }
}

/// How much of an archive is held in memory; more of it goes to a file.
const HELD_LENGTH_MAX: u64 = 1 << 20;

impl Local {
    /// An archive that is here as a whole.
    fn held_archive(&self, archive: &mut dyn Read) -> Result<Box<dyn Read>> {
        let failed = |source| Error::io("read", Path::new("the archive"), source);
        let mut head = Vec::new();
        archive.take(HELD_LENGTH_MAX).read_to_end(&mut head).map_err(failed)?;
        if (head.len() as u64) < HELD_LENGTH_MAX {
            return Ok(Box::new(std::io::Cursor::new(head)));
        }
        let spool = self.disk.spool();
        crate::disk::make_directory(&spool)?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &spool, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(|errno| Error::io("make a file in", &spool, errno.into()))?);
        file.write_all(&head).map_err(|source| Error::io("write", &spool, source))?;
        std::io::copy(archive, &mut file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(Box::new(file))
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
