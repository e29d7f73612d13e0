//! The state database: SQLite in WAL mode, opened by many processes at once.
//!
//! Writers begin with `BEGIN IMMEDIATE` and a long busy time-out, so that nobody ever sees
//! "database is locked". Commits do not wait for the disk (`synchronous=NORMAL` in WAL mode):
//! after a power cut the last moments may be missing, the rest is whole. What must be durable
//! (images) is followed by [`Database::make_durable`].
//!
//! The write-ahead log is folded back by a process of its own, never on the way of a command: the
//! folding waits for the disk. It has to happen often, for whoever opens the database while nobody
//! else has it open reads the whole log once (SQLite, "WAL-mode File Format", 2.2).

mod shared_memory;

use crate::disk::Disk;
use crate::error::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// What each version of the store adds to the one before it, the first one to nothing. A step that
/// was in a release is never changed: what comes later is a step of its own at the end.
const STEPS: &[&str] = &[
    TABLES,
    VOLUMES,
    crate::build::TABLES,
    ID_RANGES,
    NETWORKS,
    REGISTRY_TABLES,
    INDEX_TABLES,
    crate::image::variant::TABLES,
];

/// Version of a store after all steps; a store with a higher one is refused.
const FORMAT_VERSION: i64 = STEPS.len() as i64;

/// Length of the write-ahead log after which it is worth folding back: reading this much takes
/// about 0.2 ms, and a run writes about 40 KiB of it.
const FOLD_AFTER_BYTES: u64 = 256 << 10;

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens the database of a store, making it when it is new.
    pub(crate) fn open(disk: &Disk) -> Result<Self> {
        let path = disk.database();
        shared_memory::secure(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .map_err(|source| Error::database("open", &path, source))?;
        let mut database = Self { connection, path };
        database.configure().map_err(|source| Error::database("open", &database.path, source))?;
        database.prepare_format()?;
        Ok(database)
    }

    fn configure(&self) -> rusqlite::Result<()> {
        let connection = &self.connection;
        connection.busy_timeout(Duration::from_secs(120))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection
            .execute_batch("PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=OFF;")
    }

    fn prepare_format(&mut self) -> Result<()> {
        match self.format_version()? {
            FORMAT_VERSION => Ok(()),
            found @ 0..FORMAT_VERSION => self.upgrade(found),
            found => Err(Error::FormatVersion { path: self.path.clone(), found, known: FORMAT_VERSION }),
        }
    }

    fn format_version(&self) -> Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|source| Error::database("read the format of", &self.path, source))
    }

    /// Takes the steps that the store has not seen; another process may be doing the same.
    fn upgrade(&mut self, found: i64) -> Result<()> {
        let path = self.path.clone();
        let failed = |source| Error::database("prepare", &path, source);
        let _turn = self.take_turn()?;
        if found == 0 && self.format_version()? == 0 {
            self.connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        }
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let version: i64 =
            transaction.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        for step in STEPS.iter().skip(usize::try_from(version).unwrap_or(0)) {
            transaction.execute_batch(step).map_err(failed)?;
        }
        if version < FORMAT_VERSION {
            transaction.pragma_update(None, "user_version", FORMAT_VERSION).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// One process at a time makes or changes the tables: for some of that SQLite does not wait, but
    /// says that the database is locked. The lock is that of the directory; a descriptor of the
    /// database itself would, when it is closed, free SQLite's own locks.
    fn take_turn(&self) -> Result<File> {
        let directory = self.path.parent().unwrap_or(&self.path);
        let failed = |source: std::io::Error| Error::io("lock", directory, source);
        let file = File::open(directory).map_err(failed)?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| failed(errno.into()))?;
        Ok(file)
    }

    /// Reads.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection).map_err(|source| Error::database("read", &self.path, source))
    }

    /// Changes something in one transaction; an error undoes all of it.
    pub(crate) fn write<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let path = &self.path;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| Error::database("change", path, source))?;
        let answer = work(&transaction)?;
        transaction.commit().map_err(|source| Error::database("change", path, source))?;
        Ok(answer)
    }

    /// Waits until everything committed so far is on the disk.
    pub(crate) fn make_durable(&self) -> Result<()> {
        let log = self.log_path();
        match File::open(&log) {
            Ok(file) => file.sync_data().map_err(|source| Error::io("sync", &log, source)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::io("open", &log, source)),
        }
    }

    /// Whether the write-ahead log has grown enough to be folded back.
    pub(crate) fn wants_folding(&self) -> bool {
        std::fs::metadata(self.log_path()).is_ok_and(|log| log.len() > FOLD_AFTER_BYTES)
    }

    /// Folds the write-ahead log back and cuts it short, or as much of that as other processes
    /// leave room for; the next one goes on.
    pub(crate) fn fold(&mut self) -> Result<()> {
        self.read(|connection| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))?;
        // Who writes first to an empty log waits for the disk: SQLite syncs its head. So the first is written here,
        // where nobody waits, and not by the next start.
        self.write(|transaction| {
            transaction.pragma_update(None, "user_version", FORMAT_VERSION).map_err(query)
        })
    }

    fn log_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        path.into()
    }
}

/// The rows that can be understood: one that somebody has damaged must not hide the others.
pub(crate) fn sound<T>(rows: impl Iterator<Item = rusqlite::Result<T>>) -> rusqlite::Result<Vec<T>> {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnName, InvalidColumnType,
    };
    let is_sound = |row: &rusqlite::Result<T>| {
        !matches!(
            row,
            Err(FromSqlConversionFailure(..)
                | IntegralValueOutOfRange(..)
                | InvalidColumnName(_)
                | InvalidColumnType(..))
        )
    };
    rows.filter(is_sound).collect()
}

/// Lifts a database error out of a transaction with the same words everywhere.
pub(crate) fn query(source: rusqlite::Error) -> Error {
    Error::Query { source }
}

const TABLES: &str = "
CREATE TABLE container (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image TEXT NOT NULL,
    image_id TEXT NOT NULL,
    command TEXT NOT NULL,
    created INTEGER NOT NULL,
    labels TEXT NOT NULL,
    network_mode TEXT NOT NULL,
    auto_remove INTEGER NOT NULL,
    status TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    exit_code INTEGER NOT NULL,
    oom_killed INTEGER NOT NULL,
    error TEXT NOT NULL,
    definition TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX container_image ON container (image_id);
CREATE TABLE image (
    id TEXT PRIMARY KEY,
    parent TEXT NOT NULL,
    created INTEGER NOT NULL,
    size INTEGER NOT NULL,
    last_tagged INTEGER NOT NULL,
    labels TEXT NOT NULL,
    layers TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX image_parent ON image (parent);
CREATE TABLE name (
    reference TEXT PRIMARY KEY,
    image_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX name_image ON name (image_id);
CREATE TABLE layer (
    directory TEXT PRIMARY KEY,
    diff_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    entry_count INTEGER NOT NULL
) WITHOUT ROWID;
";

/// `shown` is the mount as lists show it; `volume` and `image_id` are empty where none is mounted.
const VOLUMES: &str = "
CREATE TABLE volume (
    name TEXT PRIMARY KEY,
    created INTEGER NOT NULL,
    labels TEXT NOT NULL,
    options TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE mount (
    container TEXT NOT NULL,
    place INTEGER NOT NULL,
    volume TEXT NOT NULL,
    image_id TEXT NOT NULL,
    is_anonymous INTEGER NOT NULL,
    shown TEXT NOT NULL,
    PRIMARY KEY (container, place)
) WITHOUT ROWID;
CREATE INDEX mount_volume ON mount (volume);
";

/// Host ids that containers have to themselves, see `container/user_namespace.rs`.
const ID_RANGES: &str = "
CREATE TABLE id_range (
    container_id TEXT PRIMARY KEY,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER container_ids AFTER DELETE ON container BEGIN
    DELETE FROM id_range WHERE container_id = OLD.id;
END;
";

/// A container's place in a network is there as long as both are; its addresses only while it runs.
const NETWORKS: &str = "
CREATE TABLE network (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created INTEGER NOT NULL,
    definition TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE endpoint (
    container TEXT NOT NULL,
    network TEXT NOT NULL,
    position INTEGER NOT NULL,
    settings TEXT NOT NULL,
    address4 TEXT,
    address6 TEXT,
    place TEXT,
    PRIMARY KEY (container, network)
) WITHOUT ROWID;
CREATE UNIQUE INDEX endpoint_address4 ON endpoint (network, address4);
CREATE UNIQUE INDEX endpoint_address6 ON endpoint (network, address6);
";

/// Where images came from and went to: which manifest they have in which repository, and as which
/// blobs their layers lie there.
const REGISTRY_TABLES: &str = "
CREATE TABLE manifest (
    digest TEXT NOT NULL,
    repository TEXT NOT NULL,
    image_id TEXT NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (digest, repository)
) WITHOUT ROWID;
CREATE INDEX manifest_image ON manifest (image_id);
CREATE TABLE layer_blob (
    diff_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    repository TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (diff_id, digest, repository)
) WITHOUT ROWID;
";

/// The indexes that names stand for, with the repositories that have them; and the lists of manifests that
/// `manifest create` puts together, with docker's order.
const INDEX_TABLES: &str = "
ALTER TABLE name ADD COLUMN index_digest TEXT NOT NULL DEFAULT '';
CREATE TABLE image_index (
    digest TEXT NOT NULL,
    repository TEXT NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (digest, repository)
) WITHOUT ROWID;
CREATE TABLE manifest_list (
    list TEXT NOT NULL,
    reference TEXT NOT NULL,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    platform TEXT NOT NULL,
    manifest BLOB NOT NULL,
    PRIMARY KEY (list, reference)
) WITHOUT ROWID;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_row_hides_no_other_and_a_damaged_table_is_an_error() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (1), ('x'), (NULL), (4)").unwrap();
        let mut statement = connection.prepare("SELECT n FROM t ORDER BY rowid").unwrap();
        let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(sound(rows).unwrap(), [1, 4]);
        let broken = std::iter::once(Err::<i64, _>(rusqlite::Error::QueryReturnedNoRows));
        assert!(sound(broken).is_err());
    }
}
