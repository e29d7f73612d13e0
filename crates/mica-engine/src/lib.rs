//! What does the user's wish mean? The only crate that knows more than one room.
//!
//! [`LocalEngine`] answers the requests of [`mica_api::Engine`] in the caller's own process: there
//! is no daemon. State is shared with other mica processes through the database, file locks and
//! the monitors' run directories, so that any of them may be killed at any moment.
//! The engine never prints, never reads arguments or the environment, and makes no system call
//! that the rooms have a word for.

mod build;
mod config;
mod container;
mod database;
mod disk;
mod error;
mod events;
mod host;
mod image;
mod instant;
mod lock;
mod mount;
mod network;
mod road;
mod signal;
mod system;
mod tidy;
mod volume;
mod watch;

pub use container::start::EarlyMonitor;
pub use error::Error;
pub use road::{CHORES_NAME, LocalEngine};

use config::Config;
use database::Database;
use disk::Disk;
use events::Events;
use mica_image::BlobStore;
use mica_registry::Registries;
use mica_snapshot::{Effort, LayerStore};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// Where a store lies.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// State that stays: images, containers, events.
    pub root: PathBuf,
    /// State that a reboot forgets: monitors.
    pub run: PathBuf,
    /// What the machine's administrator has set; the file need not be there.
    pub config: PathBuf,
}

/// The engine behind the road; a verb is a method in the file of its name.
#[derive(Debug)]
struct Local {
    disk: Disk,
    database: Mutex<Database>,
    events: Events,
    layers: LayerStore,
    blobs: BlobStore,
    /// What a command deletes itself; see [`LocalEngine::do_chores`] for the rest.
    effort: Arc<Effort>,
    /// When this engine was opened: what the embedded image measures its start from.
    opened_at: std::time::SystemTime,
    /// Whether a build has kept a step, so that what builds keep may have become too much.
    has_built: AtomicBool,
    config_path: PathBuf,
    config: OnceLock<Config>,
    registries: OnceLock<Registries>,
    early: Mutex<Option<EarlyMonitor>>,
    /// When leftovers were last looked for.
    tidied_at: Mutex<Option<Instant>>,
}

impl Local {
    /// Opens a store for a command that somebody waits for.
    fn open(options: &EngineOptions) -> error::Result<Self> {
        let local = Self::open_for_chores(options)?;
        // Where room is scarce, who removes something wants it to be there afterwards.
        if local.disk.has_little_room() {
            return Ok(local);
        }
        let effort = Arc::new(Effort::of(FILES_DELETED_MAX));
        let layers = local.layers.with_effort(effort.clone());
        Ok(Self { effort, layers, ..local })
    }

    fn open_for_chores(options: &EngineOptions) -> error::Result<Self> {
        let opened_at = std::time::SystemTime::now();
        // Paths are recorded, and handed to monitors, which have a working directory of their own.
        let absolute =
            |path: &Path| std::path::absolute(path).map_err(|source| Error::io("locate", path, source));
        let disk = Disk::open(&absolute(&options.root)?, &absolute(&options.run)?)?;
        let database = Mutex::new(Database::open(&disk)?);
        let events = Events::of(&disk);
        let layers = LayerStore::open(&disk.layers())?;
        let blobs = BlobStore::open(&disk.images())?;
        let local = Self {
            disk,
            database,
            events,
            layers,
            blobs,
            effort: Arc::new(Effort::unlimited()),
            opened_at,
            has_built: AtomicBool::new(false),
            config_path: options.config.clone(),
            config: OnceLock::new(),
            registries: OnceLock::new(),
            early: Mutex::new(None),
            tidied_at: Mutex::new(None),
        };
        local.finish_removals();
        Ok(local)
    }

    /// The machine's settings, read when they are first asked for.
    fn config(&self) -> error::Result<&Config> {
        match self.config.get() {
            Some(config) => Ok(config),
            None => {
                let config = Config::read(&self.config_path)?;
                Ok(self.config.get_or_init(|| config))
            }
        }
    }

    /// The database, for one statement or transaction; never held across a wait.
    fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many files a command deletes before it leaves the rest to the chores: a few milliseconds' worth.
const FILES_DELETED_MAX: usize = 200;
