//! From an archive to a registered layer.

use crate::disk::{FORMAT, LayerDirectory, LayerKey, LayerRecord, io_at};
use crate::error::{Error, Result};
use crate::lower::Lowers;
use crate::recipe::{Displaced, RecipeWriter};
use crate::remove::open_root;
use crate::settle::Debts;
use crate::source::{Source, with_hash};
use crate::store::{LayerStore, new_lock, random_name};
use crate::tar::reader::Reader;
use crate::unpack::place::Flavor;
use crate::unpack::{UnpackOptions, Unpacker};
use mica_model::Digest;
use rustix::fs::{CWD, RenameFlags};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A layer that is unpacked but not registered. Dropping it deletes it.
#[derive(Debug)]
pub struct IngestedLayer {
    store: LayerStore,
    workspace: Workspace,
    record: LayerRecord,
    debts: Debts,
}

/// A directory in the making and the lock that says so.
#[derive(Debug)]
pub(crate) struct Workspace {
    store: LayerStore,
    pub(crate) directory: LayerDirectory,
    lock_path: PathBuf,
    _lock: File,
}

/// What one pass over an archive gave.
struct Outcome {
    archive_size: u64,
    size: u64,
    entries: u64,
    displaced: Vec<Displaced>,
    debts: Debts,
}

impl LayerStore {
    /// Unpacks an uncompressed layer archive in one pass. All bytes of `reader` count for its
    /// digest, also those after the end of the archive.
    ///
    /// # Errors
    /// For an archive that is malformed or asks for what no layer may have, and when files cannot be
    /// made; then nothing is left.
    pub fn ingest(&self, reader: impl Read) -> Result<IngestedLayer> {
        let workspace = Workspace::new(self)?;
        make_directory(&workspace.directory.diff())?;
        let (outcome, diff_id) = with_hash(reader, |source| unpack(source, &workspace.directory));
        let Outcome { archive_size, size, entries, displaced, debts } = outcome?;
        let record =
            LayerRecord { version: FORMAT, diff_id, archive_size, size, entries, chain: None, displaced };
        Ok(IngestedLayer::new(workspace, record, debts))
    }
}

impl IngestedLayer {
    pub(crate) fn new(workspace: Workspace, record: LayerRecord, debts: Debts) -> Self {
        Self { store: workspace.store.clone(), workspace, record, debts }
    }

    /// Digest of the archive.
    pub const fn diff_id(&self) -> &Digest {
        &self.record.diff_id
    }

    /// What is known about the layer.
    pub const fn record(&self) -> &LayerRecord {
        &self.record
    }

    /// Whether its files depend on the layers below, so that [`Self::settle`] is needed.
    pub fn has_debts(&self) -> bool {
        !self.debts.is_empty()
    }

    /// Its tree, as long as it is not registered.
    pub fn tree(&self) -> PathBuf {
        self.workspace.directory.diff()
    }

    /// Completes the layer with what it takes from those below: owners and modes of directories
    /// that it does not mention, and files that it only links to. Does nothing to most layers.
    /// `chain_below` are the digests of the layers below, the lowest first; `lowers` their trees,
    /// the topmost first.
    ///
    /// # Errors
    /// [`Error::LinkTarget`], and what the kernel says.
    pub fn settle(&mut self, chain_below: &[Digest], lowers: &[PathBuf]) -> Result<()> {
        if self.debts.is_empty() {
            return Ok(());
        }
        let lowers = Lowers::open(lowers)?;
        self.debts.pay(open_root(&self.tree())?, &lowers)?;
        self.record.chain = LayerKey::chain_of(chain_below);
        Ok(())
    }

    /// Makes the layer findable. If the same one is registered already, that stays and this is
    /// deleted. Call [`LayerStore::sync`] before.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] if `expected` is another digest, [`Error::Unsettled`] if
    /// [`Self::settle`] was due.
    pub fn register(self, expected: Option<&Digest>) -> Result<LayerKey> {
        let key = self.check(expected)?;
        let directory = &self.workspace.directory;
        directory.write_record(&self.record)?;
        sync_file(&directory.record())?;
        self.publish(&key)?;
        sync_file(&self.store.layers())?;
        Ok(key)
    }

    /// Makes the layer findable before it is durable: after a crash of the host it counts as absent,
    /// unless [`LayerStore::make_durable`] was called before.
    ///
    /// # Errors
    /// As [`Self::register`].
    pub fn register_unsynced(self) -> Result<LayerKey> {
        let key = self.check(None)?;
        let directory = &self.workspace.directory;
        directory.write_record(&self.record)?;
        crate::unsynced::mark(directory)?;
        self.publish(&key)?;
        Ok(key)
    }

    fn check(&self, expected: Option<&Digest>) -> Result<LayerKey> {
        let LayerRecord { diff_id, chain, .. } = self.record;
        if let Some(expected) = expected.filter(|expected| **expected != diff_id) {
            return Err(Error::DigestMismatch { expected: *expected, actual: diff_id });
        }
        if !self.debts.is_empty() {
            return Err(Error::Unsettled { diff_id });
        }
        Ok(LayerKey { diff_id, chain })
    }

    /// Puts the layer where it is found; a sound one that is there stays.
    fn publish(&self, key: &LayerKey) -> Result<()> {
        let directory = &self.workspace.directory;
        let target = self.store.directory(key).0;
        match fs::rename(&directory.0, &target) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                if !LayerDirectory(target.clone()).is_sound() {
                    // A damaged one gives way. Both change places at once, so that nobody who has
                    // registered the same layer meanwhile sees it missing; what was there is
                    // deleted with our workspace.
                    let exchange = RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, &directory.0, CWD, &target, exchange)
                        .map_err(|errno| io_at("register", &target)(errno.into()))?;
                }
            }
            Err(error) => return Err(io_at("register", &target)(error)),
        }
        Ok(())
    }
}

impl Workspace {
    pub(crate) fn new(store: &LayerStore) -> Result<Self> {
        let path = store.ingests().join(random_name()?);
        let lock_path = path.with_extension("lock");
        let lock = new_lock(&lock_path)?;
        let workspace =
            Self { store: store.clone(), directory: LayerDirectory(path), lock_path, _lock: lock };
        DirBuilder::new()
            .mode(0o700)
            .create(&workspace.directory.0)
            .map_err(io_at("make directory", &workspace.directory.0))?;
        Ok(workspace)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // What cannot be deleted now is garbage without its lock, and tidied up later.
        let _ = self.store.discard(&self.directory.0);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// The root of a layer as docker makes it, whatever the umask.
fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(io_at("make directory", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(io_at("change the mode of", path))
}

fn sync_file(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io_at("sync", path))
}

fn unpack<R: Read>(source: Source<R>, directory: &LayerDirectory) -> Result<Outcome> {
    let displaced_path = directory.displaced();
    make_directory(&displaced_path)?;
    let recipe_path = directory.recipe();
    let recipe_file = File::create(&recipe_path).map_err(io_at("make", &recipe_path))?;
    let recipe = RecipeWriter::new(BufWriter::new(recipe_file)).map_err(io_at("write", &recipe_path))?;
    let options = UnpackOptions { flavor: Flavor::Layer, keep_kinds: false, owner: None };
    let (root, displaced) = (open_root(&directory.diff())?, open_root(&displaced_path)?);
    let mut unpacker = Unpacker::new(root, Vec::new(), Some(displaced), options);
    let mut reader = Reader::new(source, recipe);
    unpacker.unpack(&mut reader)?;
    let (_, recipe) = reader.into_parts();
    let (writer, archive_size) = recipe.finish().map_err(io_at("write", &recipe_path))?;
    writer.into_inner().map_err(|error| io_at("write", &recipe_path)(error.into_error()))?;
    if unpacker.displaced.is_empty() {
        fs::remove_dir(&displaced_path).map_err(io_at("remove", &displaced_path))?;
    }
    let implied = std::mem::take(&mut unpacker.place.implied);
    let debts = Debts { implied, links: unpacker.links };
    let (size, entries) = (unpacker.bytes, unpacker.entries);
    Ok(Outcome { archive_size, size, entries, displaced: unpacker.displaced, debts })
}
