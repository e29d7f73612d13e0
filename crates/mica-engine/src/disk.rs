//! Every path that the engine owns, drawn once.
//!
//! ```text
//! ROOT (default /var/lib/mica, 0710)
//! ├── mica.db, mica.db-wal, mica.db-shm   names, images, layers, containers (format: database.rs)
//! ├── reserve                             room for removals on a full disk, see [`Disk::make_reserve`]
//! ├── image.lock                          flock: shared to record images, exclusive to delete layers
//! ├── image/                              blobs by digest            (mica-image)
//! ├── layer/                              layers by diffID           (mica-snapshot)
//! ├── mountpoints/                        an all but empty layer below every image, see [`Disk::mountpoints`]
//! ├── container/<id>/
//! │   ├── lock                            flock: who changes this container
//! │   ├── upper/  work/                   the writable layer; upper/ is what people look into
//! │   ├── hostname  hosts  resolv.conf    bound into the container
//! │   ├── container.log                   its output, json-file format
//! │   ├── local.log                       its output, local format
//! │   └── exit.json                       how the last run ended, written by its monitor
//! ├── volume/<name>/
//! │   ├── _data/                          what containers see
//! │   └── filling                         there while an image's files are copied into it
//! ├── seccomp/                            compiled profiles of the user's own; safe to delete at any time
//! ├── build/
//! │   ├── memory/                      digests of the files of contexts (mica-snapshot); safe to delete
//! │   └── cache/<id>/data              what `RUN --mount=type=cache` shows
//! ├── events/                             what happened, in order, bounded (format: events.rs)
//! └── trash/                              renamed here, then deleted; safe to delete at any time
//!
//! RUN (default /run/mica, empty after a reboot)
//! ├── build-secret/<random>/              secrets of steps that run
//! ├── container/<id>.<root>/              lock, state and socket of the monitor (mica-runtime); the file
//! │                                       number of the root, for several may share one RUN
//! └── network/                            who is called what on which network (mica-network)
//! ```

use crate::error::{Error, Result};
use mica_model::ContainerId;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The two directories that everything lies under.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    run: PathBuf,
    /// What tells this root's runs from those of others.
    mark: String,
}

impl Disk {
    /// Opens the directories, making what is missing.
    pub(crate) fn open(root: &Path, run: &Path) -> Result<Self> {
        let mut disk = Self { root: root.to_owned(), run: run.to_owned(), mark: String::new() };
        if !disk.database().exists() {
            for parent in [root.parent(), run.parent()].into_iter().flatten() {
                // Those that are not ours are made as everybody makes them.
                fs::create_dir_all(parent).map_err(|source| Error::io("create directory", parent, source))?;
            }
            for directory in [disk.root(), &disk.containers(), &disk.trash(), &disk.events()] {
                make_directory(directory)?;
            }
            disk.make_mountpoints()?;
            disk.make_reserve();
        }
        let found = fs::metadata(root).map_err(|source| Error::io("examine", root, source))?;
        disk.mark = format!(".{:x}-{:x}", found.dev(), found.ino());
        Ok(disk)
    }

    /// Room that a removal on a full disk gives up, to write in what it has removed.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Sets room aside, as much as there is up to what several removals need. Without it they
    /// depend on the room that their own containers leave.
    pub(crate) fn make_reserve(&self) {
        let path = self.reserve();
        let Ok(file) = fs::File::create_new(&path) else { return };
        let allocate = |size| fallocate(&file, FallocateFlags::empty(), 0, size).is_ok();
        if !RESERVE_SIZES_BYTES.into_iter().any(allocate) {
            let _ = fs::remove_file(&path);
        }
    }

    /// Whether the disk is so full that what is deleted should be gone at once.
    pub(crate) fn has_little_room(&self) -> bool {
        rustix::fs::statvfs(&self.root).is_ok_and(|disk| {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            free < ROOM_BYTES || disk.f_bavail < disk.f_blocks / ROOM_DIVISOR
        })
    }

    /// The lowest layer of every container: empty files and directories where the engine mounts
    /// something. Being lowest it changes nothing of an image that has them; for one that has not,
    /// it keeps them out of the container's own layer, and so out of `diff` and `commit`.
    pub(crate) fn mountpoints(&self) -> PathBuf {
        self.root.join("mountpoints")
    }

    fn make_mountpoints(&self) -> Result<()> {
        let top = self.mountpoints();
        for directory in ["etc", "dev", "proc", "sys"] {
            make_layer_directory(&top.join(directory))?;
        }
        for file in ["hostname", "hosts", "resolv.conf"] {
            write_file(&top.join("etc").join(file), b"")?;
        }
        Ok(())
    }

    /// The state root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The root of what a reboot forgets.
    pub(crate) fn run_root(&self) -> &Path {
        &self.run
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("mica.db")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("image")
    }

    /// Shared by those who record images, exclusive to those who delete layers, so that nobody
    /// deletes a layer between another one's finding and recording it.
    pub(crate) fn image_lock(&self) -> PathBuf {
        self.root.join("image.lock")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layer")
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.root.join("events")
    }

    /// What is known of the files of contexts.
    pub(crate) fn build_memory(&self) -> PathBuf {
        self.root.join("build/memory")
    }

    /// The directories that steps of builds keep.
    pub(crate) fn build_caches(&self) -> PathBuf {
        self.root.join("build/cache")
    }

    /// Records and logs of the last builds.
    pub(crate) fn build_history(&self) -> PathBuf {
        self.root.join("build/history")
    }

    /// Secrets of the steps that run.
    pub(crate) fn build_secrets(&self) -> PathBuf {
        self.run.join("build-secret")
    }

    /// Compiled profiles, see `container/security.rs`.
    pub(crate) fn seccomp(&self) -> PathBuf {
        self.root.join("seccomp")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volume")
    }

    pub(crate) fn volume(&self, name: &str) -> VolumeDisk {
        VolumeDisk { directory: self.volumes().join(name) }
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// Scratch space for archives that cannot be read in place.
    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("container")
    }

    /// The containers of this root that have a run directory.
    pub(crate) fn run_ids(&self) -> Vec<ContainerId> {
        let entries = fs::read_dir(self.run.join("container")).into_iter().flatten().flatten();
        let id = |name: &str| name.strip_suffix(&self.mark)?.parse().ok();
        entries.filter_map(|entry| id(entry.file_name().to_str()?)).collect()
    }

    pub(crate) fn container(&self, id: &ContainerId) -> ContainerDisk {
        ContainerDisk {
            directory: self.containers().join(id.as_str()),
            run: self.run.join("container").join(format!("{id}{}", self.mark)),
        }
    }
}

/// A disk has little room when less than this many bytes are free, ...
const ROOM_BYTES: u64 = 2 << 30;

/// ... or less than one part in so many.
const ROOM_DIVISOR: u64 = 10;

/// A removal needs about 40 KiB for its transaction.
const RESERVE_SIZES_BYTES: [u64; 3] = [256 << 10, 128 << 10, 64 << 10];

/// The lock file of a container, within its directory.
pub(crate) const LOCK_NAME: &str = "lock";

/// The paths of one container.
#[derive(Debug, Clone)]
pub(crate) struct ContainerDisk {
    directory: PathBuf,
    run: PathBuf,
}

impl ContainerDisk {
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of its monitor; exists only while it runs.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.directory.join(LOCK_NAME)
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// Lets a writable layer be mounted again whose last mount was volatile: the kernel leaves a mark
    /// that refuses it. What was written is whole unless the host itself went down, and then a
    /// container with such a layer, being one of `--rm`, is removed.
    pub(crate) fn forget_volatile(&self) {
        // Where it cannot be removed the mount fails and tells why.
        let _ = mica_snapshot::remove_tree(&self.work().join("work/incompat"));
    }

    pub(crate) fn hostname(&self) -> PathBuf {
        self.directory.join("hostname")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.directory.join("hosts")
    }

    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.directory.join("resolv.conf")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("container.log")
    }

    pub(crate) fn local_log(&self) -> PathBuf {
        self.directory.join("local.log")
    }

    pub(crate) fn exit(&self) -> PathBuf {
        self.directory.join("exit.json")
    }

    /// What was last known of its health.
    pub(crate) fn health(&self) -> PathBuf {
        self.directory.join("health.json")
    }

    /// There when somebody has ended the container, so that it is not started again.
    pub(crate) fn stop_mark(&self) -> PathBuf {
        self.directory.join("stopped")
    }
}

/// The paths of one volume.
#[derive(Debug, Clone)]
pub(crate) struct VolumeDisk {
    directory: PathBuf,
}

impl VolumeDisk {
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("_data")
    }

    pub(crate) fn filling(&self) -> PathBuf {
        self.directory.join("filling")
    }

    /// Makes the directories where they are missing.
    pub(crate) fn make(&self) -> Result<()> {
        let data = self.data();
        if data.is_dir() {
            return Ok(());
        }
        make_directory(&self.directory)?;
        make_layer_directory(&data)
    }

    /// Takes the directories away if nothing is in them.
    pub(crate) fn discard_if_empty(&self) {
        if fs::remove_dir(self.data()).is_ok() {
            let _ = fs::remove_dir(&self.directory);
        }
    }
}

/// Makes a directory and its parents with mode 0710: containers' users cannot enter the store.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(path)
        .map_err(|source| Error::io("create directory", path, source))
}

/// Makes a directory that containers see, with its parents: mode 0755 whatever the umask.
pub(crate) fn make_layer_directory(path: &Path) -> Result<()> {
    let fail = |source| Error::io("create directory", path, source);
    fs::DirBuilder::new().recursive(true).create(path).map_err(fail)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(fail)
}

/// Writes a small file anew that containers see: mode 0644 whatever the umask.
pub(crate) fn write_shown_file(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = fs::File::create(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.write_all(content)
    };
    write().map_err(|source| Error::io("write", path, source))
}

/// Writes a small file anew.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|source| Error::io("write", path, source))
}
