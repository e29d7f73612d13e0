//! The layers that are there: finding, writing out, deleting, tidying up.

use crate::disk::{LayerDirectory, LayerKey, LayerRecord, io_at};
use crate::error::{Error, Result};
use crate::recipe::{Displaced, RecipeReader, Step};
use crate::remove::{Effort, open_root, remove_tree_within};
use crate::source::{Output, with_written_hash};
use crate::unpack::name::{components, join};
use crate::unpack::place::{Flavor, Missing, Place};
use mica_model::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory of unpacked layers, shared by any number of processes.
#[derive(Debug, Clone)]
pub struct LayerStore {
    root: PathBuf,
    effort: Arc<Effort>,
}

impl LayerStore {
    /// Opens the store in `root`, making what is missing.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned(), effort: Arc::new(Effort::unlimited()) };
        let is_new = !store.ingests().exists();
        for directory in [store.layers(), store.ingests(), store.trash()] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(io_at("make directory", &directory))?;
        }
        if is_new {
            spread_children(&store.ingests());
        }
        Ok(store)
    }

    /// The same store, whose deletions stop when `effort` is spent; what is left lies in the trash.
    #[must_use]
    pub fn with_effort(self, effort: Arc<Effort>) -> Self {
        Self { effort, ..self }
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("sha256")
    }

    pub(crate) fn ingests(&self) -> PathBuf {
        self.root.join("ingest")
    }

    fn trash(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(crate) fn directory(&self, key: &LayerKey) -> LayerDirectory {
        LayerDirectory(self.layers().join(key.to_string()))
    }

    /// The registered layer of this digest, when its chain of layers, the lowest first, is
    /// `chain_below`. One that is visibly damaged counts as absent, so that ingesting it mends it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, diff_id: &Digest, chain_below: &[Digest]) -> Result<Option<LayerKey>> {
        for chain in [None, LayerKey::chain_of(chain_below)] {
            let key = LayerKey { diff_id: *diff_id, chain };
            let directory = self.directory(&key);
            if directory.0.try_exists().map_err(io_at("examine", &directory.0))? && directory.is_sound() {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The tree of a layer, to be mounted.
    pub fn tree(&self, key: &LayerKey) -> PathBuf {
        self.directory(key).diff()
    }

    /// What is known of a layer.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], [`Error::Record`].
    pub fn record(&self, key: &LayerKey) -> Result<LayerRecord> {
        self.directory(key).read_record().map_err(|error| unknown_if_absent(error, key))
    }

    /// All registered layers, in no particular order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(&self) -> Result<Vec<LayerKey>> {
        let mut keys = Vec::new();
        for entry in list(&self.layers())? {
            let directory = LayerDirectory(entry);
            match directory.read_record() {
                Ok(record) => keys.push(LayerKey { diff_id: record.diff_id, chain: record.chain }),
                // Deleted meanwhile.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                // Damaged: whoever uses it is told, and nobody else is to suffer from it.
                Err(Error::Record { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(keys)
    }

    /// Makes all unpacked files durable. Once per image, before its layers are registered.
    ///
    /// # Errors
    /// What syncfs(2) says: data was lost, nothing may be registered.
    pub fn sync(&self) -> Result<()> {
        let root = open_root(&self.root)?;
        rustix::fs::syncfs(&root).map_err(|error| io_at("sync", &self.root)(error.into()))
    }

    /// Deletes a layer. It is no error if it does not exist.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub fn remove(&self, key: &LayerKey) -> Result<()> {
        self.discard(&self.directory(key).0)
    }

    /// Moves anything on the same file system out of the way at once, then deletes it.
    ///
    /// # Errors
    /// When it cannot be moved; what cannot be deleted stays for [`Self::tidy`].
    pub fn discard(&self, path: &Path) -> Result<()> {
        let trash = self.trash().join(random_name()?);
        match fs::rename(path, &trash) {
            Ok(()) => remove_tree_within(&trash, &self.effort),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_at("remove", path)(error)),
        }
    }

    /// Deletes what crashes left: the trash, and layers in the making whose maker is gone.
    ///
    /// # Errors
    /// The first failure; the rest is tried nevertheless.
    pub fn tidy(&self) -> Result<()> {
        let mut outcome = Ok(());
        for path in list(&self.trash())? {
            outcome = outcome.and(remove_tree_within(&path, &self.effort));
        }
        for path in list(&self.ingests())? {
            let is_lock = path.extension().is_some_and(|extension| extension == "lock");
            let lock_path = if is_lock { path.clone() } else { path.with_extension("lock") };
            if is_dead(&lock_path)? {
                // The tree first: a lock without a tree is garbage to everybody, a tree without
                // a lock too.
                outcome = outcome.and(self.discard(&lock_path.with_extension("")));
                let _ = fs::remove_file(&lock_path);
            }
        }
        outcome
    }

    /// Writes the archive of a layer, byte for byte as it was ingested, and checks that it is.
    ///
    /// # Errors
    /// [`Error::Damaged`] if files were changed since; then what was written is not the archive.
    pub fn write_tar(&self, key: &LayerKey, out: impl Write) -> Result<()> {
        let directory = self.directory(key);
        let record = self.record(key)?;
        let (restored, actual) = with_written_hash(out, |output| {
            TarRestorer::new(&directory, &record.displaced, output)?.run(&directory)
        })
        .map_err(Error::io("write", b"the archive"))?;
        restored.map_err(|error| damaged_if_absent(error, key))?;
        if actual == record.diff_id {
            return Ok(());
        }
        Err(Error::Damaged { name: key.to_string(), problem: format!("its archive now has digest {actual}") })
    }
}

/// Tells ext4 that the directories in this one have nothing to do with each other (`chattr +T`), so
/// that each layer gets a block group of its own: unpackers do not wait for each other's bitmaps, and
/// new files do not search among the inodes of a layer that was just deleted, which ext4 does not
/// use again for a while and looks at one by one. Other file systems need no such hint.
fn spread_children(directory: &Path) {
    let Ok(directory) = open_root(directory) else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&directory) {
        // Only a hint: without it all works, slower.
        let _ = rustix::fs::ioctl_setflags(&directory, flags | rustix::fs::IFlags::TOPDIR);
    }
}

/// A name that nobody else uses, now or later.
pub(crate) fn random_name() -> Result<String> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(Error::io("read random bytes for", b"a name"))?;
    Ok(mica_model::digest::hex(&bytes))
}

/// Makes and holds a lock file, against a concurrent [`LayerStore::tidy`].
pub(crate) fn new_lock(path: &Path) -> Result<File> {
    loop {
        let lock = File::create(path).map_err(io_at("make", path))?;
        lock.lock().map_err(io_at("lock", path))?;
        // A tidier that came between the two calls took it for a dead one's and removed it.
        if lock.metadata().map_err(io_at("examine", path))?.nlink() > 0 {
            return Ok(lock);
        }
    }
}

fn is_dead(lock_path: &Path) -> Result<bool> {
    match File::open(lock_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(io_at("open", lock_path)(error)),
        Ok(lock) => match lock.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(io_at("lock", lock_path)(error)),
        },
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).map_err(io_at("read", directory))?;
    entries.map(|entry| entry.map(|e| e.path()).map_err(io_at("read", directory))).collect()
}

fn unknown_if_absent(error: Error, key: &LayerKey) -> Error {
    match error {
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Error::UnknownLayer { name: key.to_string() }
        }
        other => other,
    }
}

fn damaged_if_absent(error: Error, key: &LayerKey) -> Error {
    match error {
        Error::Io { action: "open" | "read", path, source } => {
            Error::Damaged { name: key.to_string(), problem: format!("{}: {source}", path.display()) }
        }
        other => other,
    }
}

/// Follows a recipe.
struct TarRestorer<'a> {
    place: Place,
    displaced: &'a [Displaced],
    displaced_place: Option<Place>,
    last: Option<(Vec<u8>, OwnedFd)>,
    out: Output,
}

impl<'a> TarRestorer<'a> {
    fn new(directory: &LayerDirectory, displaced: &'a [Displaced], out: Output) -> Result<Self> {
        let place = Place::new(open_root(&directory.diff())?, Flavor::Plain);
        let displaced_place = if displaced.is_empty() {
            None
        } else {
            Some(Place::new(open_root(&directory.displaced())?, Flavor::Plain))
        };
        Ok(Self { place, displaced, displaced_place, last: None, out })
    }

    fn run(mut self, directory: &LayerDirectory) -> Result<()> {
        let path = directory.recipe();
        let file = File::open(&path).map_err(io_at("open", &path))?;
        let mut recipe = RecipeReader::new(file).map_err(io_at("read", &path))?;
        while let Some(step) = recipe.step().map_err(io_at("read", &path))? {
            match step {
                Step::Literal(bytes) => self.write(&bytes)?,
                Step::Reference { number, path, offset, length } => {
                    self.copy(number, &path, (offset, length))?
                }
            }
        }
        self.out.finish().map_err(Error::io("write", b"the archive"))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(Error::io("write", b"the archive"))
    }

    fn copy(&mut self, number: u64, path: &[u8], (mut offset, mut left): (u64, u64)) -> Result<()> {
        let file = self.open(number, path)?;
        while left > 0 {
            let mut failure = None;
            let read = self.out.fill(left, |space| match rustix::io::pread(&file, space, offset) {
                Ok(read) => Ok(read),
                Err(errno) => {
                    failure = Some(errno);
                    Ok(0)
                }
            });
            if let Some(errno) = failure {
                return Err(Error::io("read", path)(errno));
            }
            let read = read.map_err(Error::io("write", b"the archive"))?;
            if read == 0 {
                return Err(Error::io("read", path)(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
            offset += read as u64;
            left -= read as u64;
        }
        self.last = Some((path.to_vec(), file));
        Ok(())
    }

    /// The file that a reference means; the pieces of a sparse file come one after another.
    fn open(&mut self, number: u64, path: &[u8]) -> Result<OwnedFd> {
        if self.displaced.is_empty()
            && let Some((last, file)) = self.last.take()
            && last == path
        {
            return Ok(file);
        }
        let moved = self.displaced.iter().find_map(|displaced| {
            let rest = path.strip_prefix(&displaced.path[..])?;
            let is_in = rest.is_empty() || rest[0] == b'/';
            (number < displaced.before && is_in).then(|| [displaced.name.as_bytes(), rest].concat())
        });
        let (place, path) = match (moved, &mut self.displaced_place) {
            (Some(path), Some(place)) => (place, path),
            _ => (&mut self.place, path.to_vec()),
        };
        let components = components(&path)?;
        let absent = || Error::io("open", &path)(Errno::NOENT);
        let (name, parents) = components.split_last().ok_or_else(absent)?;
        if !place.enter(parents, Missing::Report)? {
            return Err(Error::io("open", &join(&components))(Errno::NOENT));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(place.directory().as_fd(), name, flags, Mode::empty())
            .map_err(Error::io("open", &path))
    }
}
