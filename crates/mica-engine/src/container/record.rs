//! The record of a container: what is stored, how it is found, what state it is in.
//!
//! The stored state says what this host was told; [`Record::observe`] asks the monitor's traces
//! what is true now. A run leaves `exit.json` behind, so an exit is never lost, whoever lived to
//! see it: the next command that looks folds it into the database.

use crate::container::log_driver::Subject;
use crate::database::{Database, query, sound};
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use crate::lock;
use crate::mount::MountRecord;
use mica_api::types::container::{ContainerConfig, ContainerState};
use mica_api::types::host_config::HostConfig;
use mica_model::{ContainerId, Timestamp};
use mica_runtime::{ExitRecord, Status as Liveness};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Where in its life a container is, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Never started, or a start that failed.
    Created,
    /// Started; whether it still runs is asked of the monitor.
    Running,
    /// Its run has ended and was recorded.
    Exited,
    /// Its removal has begun; only a removal may touch it.
    Removing,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }

    fn from_str(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "exited" => Self::Exited,
            "removing" => Self::Removing,
            _ => Self::Created,
        }
    }
}

/// What does not change while a container lives (limits apart): the heavy part of its record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) version: u32,
    /// With the image's defaults filled in.
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Directories of the read-only layers, base first.
    pub(crate) layers: Vec<std::path::PathBuf>,
    /// What the user wants mounted; file systems of `--tmpfs` are in the host's part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<MountRecord>,
}

/// A container as the database has it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    /// As it was given.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// As `ps` shows it.
    pub(crate) command: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) network_mode: String,
    pub(crate) auto_remove: bool,
    pub(crate) stage: Stage,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    pub(crate) exit_code: i64,
    pub(crate) oom_killed: bool,
    pub(crate) error: String,
}

/// What is true of a container now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observed {
    /// `created`, `running`, `paused`, `restarting`, `exited` or `removing`.
    pub(crate) status: &'static str,
    /// Process id of its first process; 0 where it does not run.
    pub(crate) pid: i64,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    pub(crate) exit_code: i64,
    pub(crate) oom_killed: bool,
    /// How often its monitor has started it again.
    pub(crate) restarts: u32,
}

impl Observed {
    /// Whether a monitor looks after it, between two lives too.
    pub(crate) fn is_running(&self) -> bool {
        self.has_process() || self.status == "restarting"
    }

    /// Whether it has processes.
    pub(crate) fn has_process(&self) -> bool {
        matches!(self.status, "running" | "paused")
    }
}

const COLUMNS: &str = "id, name, image, image_id, command, created, labels, network_mode, auto_remove, status, \
                       started, finished, exit_code, oom_killed, error";

impl Record {
    /// The container as its log names it.
    pub(crate) fn log_subject<'a>(&'a self, config: &'a ContainerConfig) -> Subject<'a> {
        Subject {
            id: self.id.as_str(),
            name: &self.name,
            image_id: &self.image_id,
            image: &self.image,
            labels: &self.labels,
            environment: config.env.as_deref().unwrap_or_default(),
        }
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let id: String = row.get(0)?;
        let labels: String = row.get(6)?;
        let stage: String = row.get(9)?;
        Ok(Self {
            id: id.parse().map_err(|_| rusqlite::Error::InvalidColumnName(id))?,
            name: row.get(1)?,
            image: row.get(2)?,
            image_id: row.get(3)?,
            command: row.get(4)?,
            created: Timestamp::from_nanoseconds(row.get(5)?),
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            network_mode: row.get(7)?,
            auto_remove: row.get(8)?,
            stage: Stage::from_str(&stage),
            started: Timestamp::from_nanoseconds(row.get(10)?),
            finished: Timestamp::from_nanoseconds(row.get(11)?),
            exit_code: row.get(12)?,
            oom_killed: row.get(13)?,
            error: row.get(14)?,
        })
    }

    /// All containers, newest first; of one whose record is damaged only those learn who ask for it.
    pub(crate) fn all(database: &Database) -> Result<Vec<Self>> {
        database.read(|connection| {
            let mut statement =
                connection.prepare(&format!("SELECT {COLUMNS} FROM container ORDER BY created DESC, id"))?;
            sound(statement.query_map([], Self::from_row)?)
        })
    }

    /// The ids of all containers.
    pub(crate) fn ids(database: &Database) -> Result<HashSet<String>> {
        database.read(|connection| {
            connection.prepare("SELECT id FROM container")?.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Finds by full id, then exact name, then unique prefix of an id. The id comes first: a name
    /// may look like the id of another container, and must never stand for it.
    pub(crate) fn find(database: &Database, reference: &str) -> Result<Self> {
        let wanted = reference.strip_prefix('/').unwrap_or(reference);
        let found = database.read(|connection| {
            let exact = match one(connection, "id = ?1", wanted)? {
                None => one(connection, "name = ?1", wanted)?,
                found => found,
            };
            if exact.is_some() {
                return Ok(exact.into_iter().collect());
            }
            by_prefix(connection, wanted)
        })?;
        match <[Self; 1]>::try_from(found) {
            Ok([record]) => Ok(record),
            Err(found) if found.is_empty() => Err(Error::NoSuchContainer { reference: reference.to_owned() }),
            Err(_) => Err(Error::AmbiguousPrefix { prefix: reference.to_owned() }),
        }
    }

    /// Reads the heavy part.
    pub(crate) fn definition(&self, database: &Database) -> Result<Definition> {
        let text: Option<String> = database.read(|connection| {
            connection
                .query_row("SELECT definition FROM container WHERE id = ?1", [self.id.as_str()], |row| {
                    row.get(0)
                })
                .optional()
        })?;
        let text = text.ok_or_else(|| Error::NoSuchContainer { reference: self.id.to_string() })?;
        serde_json::from_str(&text)
            .map_err(|source| Error::Record { what: format!("container {}", self.id), source })
    }

    /// Stores a new container; its name must be free.
    pub(crate) fn insert(&self, transaction: &Transaction<'_>, definition: &Definition) -> Result<()> {
        check_name_is_free(transaction, &self.name)?;
        let text = encode(definition, &self.id)?;
        let labels = serde_json::to_string(&self.labels).unwrap_or_default();
        transaction
            .execute(
                &format!(
                    "INSERT INTO container ({COLUMNS}, definition) \
                     VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)"
                ),
                params![
                    self.id.as_str(),
                    self.name,
                    self.image,
                    self.image_id,
                    self.command,
                    self.created.nanoseconds(),
                    labels,
                    self.network_mode,
                    self.auto_remove,
                    self.stage.as_str(),
                    self.started.nanoseconds(),
                    self.finished.nanoseconds(),
                    self.exit_code,
                    self.oom_killed,
                    self.error,
                    text,
                ],
            )
            .map_err(query)?;
        Ok(())
    }

    /// Writes the changing columns back.
    pub(crate) fn save_state(&self, transaction: &Transaction<'_>) -> Result<()> {
        transaction
            .execute(
                "UPDATE container SET status=?2, started=?3, finished=?4, exit_code=?5, oom_killed=?6, error=?7 \
                 WHERE id=?1",
                params![
                    self.id.as_str(),
                    self.stage.as_str(),
                    self.started.nanoseconds(),
                    self.finished.nanoseconds(),
                    self.exit_code,
                    self.oom_killed,
                    self.error,
                ],
            )
            .map_err(query)?;
        Ok(())
    }

    /// Records the end of a run, unless it was started again meanwhile.
    pub(crate) fn save_end(&self, transaction: &Transaction<'_>) -> Result<()> {
        let changed = transaction
            .execute(
                "UPDATE container SET status=?2, finished=?3, exit_code=?4, oom_killed=?5 \
                 WHERE id=?1 AND started=?6 AND status='running'",
                params![
                    self.id.as_str(),
                    self.stage.as_str(),
                    self.finished.nanoseconds(),
                    self.exit_code,
                    self.oom_killed,
                    self.started.nanoseconds(),
                ],
            )
            .map_err(query)?;
        if changed > 0 {
            crate::network::endpoint::release(transaction, self.id.as_str())?;
        }
        Ok(())
    }

    /// Writes a changed name back; it must be free.
    pub(crate) fn save_name(&self, transaction: &Transaction<'_>) -> Result<()> {
        check_name_is_free(transaction, &self.name)?;
        transaction
            .execute("UPDATE container SET name=?2 WHERE id=?1", params![self.id.as_str(), self.name])
            .map_err(query)?;
        Ok(())
    }

    /// Writes a changed definition back.
    pub(crate) fn save_definition(
        &self,
        transaction: &Transaction<'_>,
        definition: &Definition,
    ) -> Result<()> {
        let text = encode(definition, &self.id)?;
        transaction
            .execute("UPDATE container SET definition=?2 WHERE id=?1", params![self.id.as_str(), text])
            .map_err(query)?;
        Ok(())
    }

    /// Forgets it; answers the names of its volumes that nobody named, or nothing when somebody else
    /// has forgotten it already.
    pub(crate) fn delete(&self, transaction: &Transaction<'_>) -> Result<Option<Vec<String>>> {
        let deleted = transaction.execute("DELETE FROM container WHERE id=?1", [self.id.as_str()]);
        if deleted.map_err(query)? == 0 {
            return Ok(None);
        }
        crate::network::endpoint::forget(transaction, self.id.as_str())?;
        crate::volume::forget_mounts(transaction, &self.id).map(Some)
    }

    /// What is true now.
    pub(crate) fn observe(&self, disk: &ContainerDisk) -> Observed {
        match self.stage {
            Stage::Created => self.observed("created"),
            Stage::Exited => self.observed("exited"),
            Stage::Removing => self.observed("removing"),
            Stage::Running => self.observe_run(disk),
        }
    }

    fn observe_run(&self, disk: &ContainerDisk) -> Observed {
        // A start takes the last exit record away first, so one that is here belongs to this run:
        // the run has ended even while its monitor still tidies up.
        if let Some(exit) = mica_runtime::last_exit(&disk.exit(), disk.run()) {
            return self.seen_end(&exit);
        }
        match mica_runtime::status(disk.run()) {
            Ok(Liveness::Running { pid, restarts, started_at }) => {
                let paused = mica_runtime::is_paused(disk.run()).unwrap_or(false);
                let started = if restarts > 0 { started_at } else { self.started };
                let observed = self.observed(if paused { "paused" } else { "running" });
                Observed { pid: i64::from(pid), restarts, started, ..observed }
            }
            Ok(Liveness::Restarting { restarts, code, oom_killed, started_at, finished_at }) => Observed {
                restarts,
                oom_killed,
                exit_code: i64::from(code),
                started: started_at,
                finished: finished_at,
                ..self.observed("restarting")
            },
            Ok(Liveness::Ended(exit)) => self.seen_end(&exit),
            // Whoever starts a container holds its lock until the monitor has said that it runs.
            Ok(Liveness::Absent) if lock::is_held(&disk.lock()) => self.observed("created"),
            Ok(Liveness::Absent) => self.observe_absent(disk),
            // Whether it runs cannot be told now; only an end that is certain may be recorded.
            Err(mica_runtime::RuntimeError::File { .. }) => self.observed("running"),
            // Its monitor was killed and it has seen to it that it is not: nobody could wait for it.
            Ok(Liveness::Orphaned { alive: true, .. }) => {
                mica_runtime::end_orphan(disk.run());
                self.unseen_end()
            }
            _ => self.unseen_end(),
        }
    }

    /// Nobody starts it and nothing runs. The start may have come through between those two looks,
    /// so the traces of a run are looked for once more.
    fn observe_absent(&self, disk: &ContainerDisk) -> Observed {
        let has_ended = mica_runtime::last_exit(&disk.exit(), disk.run()).is_some();
        match mica_runtime::status(disk.run()) {
            Ok(Liveness::Absent) if !has_ended => self.unseen_end(),
            _ => self.observe_run(disk),
        }
    }

    fn seen_end(&self, exit: &ExitRecord) -> Observed {
        Observed {
            finished: Timestamp::from_nanoseconds(exit.finished_at),
            exit_code: i64::from(exit.code),
            oom_killed: exit.oom_killed,
            restarts: exit.restart_count,
            ..self.observed("exited")
        }
    }

    /// The monitor was killed or the host went down, and nobody saw the end: docker's code for it.
    fn unseen_end(&self) -> Observed {
        Observed { exit_code: 255, finished: self.started, ..self.observed("exited") }
    }

    fn observed(&self, status: &'static str) -> Observed {
        Observed {
            status,
            pid: 0,
            started: self.started,
            finished: self.finished,
            exit_code: self.exit_code,
            oom_killed: self.oom_killed,
            restarts: 0,
        }
    }

    /// Takes over what was observed; tells whether anything changed that should be stored.
    pub(crate) fn absorb(&mut self, observed: &Observed) -> bool {
        if self.stage != Stage::Running || observed.status != "exited" {
            return false;
        }
        self.stage = Stage::Exited;
        self.finished = observed.finished;
        self.exit_code = observed.exit_code;
        self.oom_killed = observed.oom_killed;
        true
    }

    /// The state as `inspect` shows it.
    pub(crate) fn state(&self, observed: &Observed) -> ContainerState {
        ContainerState {
            status: observed.status.to_owned(),
            running: observed.is_running(),
            paused: observed.status == "paused",
            restarting: observed.status == "restarting",
            oom_killed: observed.oom_killed,
            dead: false,
            pid: observed.pid,
            exit_code: observed.exit_code,
            error: self.error.clone(),
            started_at: observed.started,
            finished_at: if observed.has_process() { Timestamp::NEVER } else { observed.finished },
            health: None,
        }
    }
}

fn check_name_is_free(transaction: &Transaction<'_>, name: &str) -> Result<()> {
    let holder: Option<String> = transaction
        .query_row("SELECT id FROM container WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(query)?;
    match holder {
        Some(holder) => Err(Error::NameInUse { name: name.to_owned(), holder }),
        None => Ok(()),
    }
}

fn encode(definition: &Definition, id: &ContainerId) -> Result<String> {
    serde_json::to_string(definition)
        .map_err(|source| Error::Record { what: format!("container {id}"), source })
}

fn one(connection: &Connection, condition: &str, value: &str) -> rusqlite::Result<Option<Record>> {
    connection
        .query_row(&format!("SELECT {COLUMNS} FROM container WHERE {condition}"), [value], Record::from_row)
        .optional()
}

/// Containers whose id begins with `prefix`; two are enough to know that it is ambiguous.
fn by_prefix(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<Record>> {
    let hexadecimal = !prefix.is_empty() && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hexadecimal {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM container WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2"
    ))?;
    statement.query_map([prefix, &format!("{prefix}g")], Record::from_row)?.collect()
}
