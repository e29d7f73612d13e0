//! The records of volumes, and of which container has what mounted.

use crate::database::{Database, query};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::mount::{MountRecord, MountSource, shown};
use mica_api::types::container::MountPoint;
use mica_model::{ContainerId, Timestamp};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, HashMap};

/// A volume as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeRecord {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub(crate) options: BTreeMap<String, String>,
}

/// Refuses what cannot be the name of a volume: it is the name of a directory, too.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if name.len() == 1 {
        return Err(Error::invalid(format!(
            "create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )));
    }
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins_well && name.bytes().all(legal) && name.len() <= NAME_LENGTH_MAX {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "create {name}: {name:?} includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// The longest name that a file system takes.
const NAME_LENGTH_MAX: usize = 255;

impl VolumeRecord {
    /// One that is made now.
    pub(crate) fn new(
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Self {
        Self { name: name.to_owned(), created: std::time::SystemTime::now().into(), labels, options }
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (labels, options): (String, String) = (row.get(2)?, row.get(3)?);
        Ok(Self {
            name: row.get(0)?,
            created: Timestamp::from_nanoseconds(row.get(1)?),
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            options: serde_json::from_str(&options).unwrap_or_default(),
        })
    }

    /// All of them, by name.
    pub(crate) fn all(database: &Database) -> Result<Vec<Self>> {
        database.read(|connection| {
            connection
                .prepare("SELECT name, created, labels, options FROM volume ORDER BY name")?
                .query_map([], Self::from_row)?
                .collect()
        })
    }

    pub(crate) fn find(database: &Database, name: &str) -> Result<Option<Self>> {
        database.read(|connection| {
            connection
                .query_row(
                    "SELECT name, created, labels, options FROM volume WHERE name = ?1",
                    [name],
                    Self::from_row,
                )
                .optional()
        })
    }

    /// Records the volume and makes its directory; tells whether it is new.
    pub(crate) fn ensure(&self, transaction: &Transaction<'_>, disk: &Disk) -> Result<bool> {
        let text = |map| {
            serde_json::to_string(map)
                .map_err(|source| Error::Record { what: format!("volume {}", self.name), source })
        };
        let inserted = transaction
            .execute(
                "INSERT OR IGNORE INTO volume (name, created, labels, options) VALUES (?1,?2,?3,?4)",
                params![self.name, self.created.nanoseconds(), text(&self.labels)?, text(&self.options)?],
            )
            .map_err(query)?;
        disk.volume(&self.name).make()?;
        Ok(inserted > 0)
    }

    /// Forgets it.
    pub(crate) fn delete(transaction: &Transaction<'_>, name: &str) -> Result<()> {
        transaction.execute("DELETE FROM volume WHERE name = ?1", [name]).map_err(query)?;
        Ok(())
    }
}

/// Records what a new container has mounted, and makes the volumes that are not there yet; answers
/// the names of those.
pub(crate) fn record_mounts(
    transaction: &Transaction<'_>,
    disk: &Disk,
    id: &ContainerId,
    mounts: &[MountRecord],
) -> Result<Vec<String>> {
    let mut made = Vec::new();
    for (place, mount) in (0_i64..).zip(mounts) {
        let volume = mount.volume();
        if let Some(volume) = volume {
            let mut labels = volume.labels.clone();
            if volume.is_anonymous {
                labels.insert(super::ANONYMOUS_LABEL.to_owned(), String::new());
            }
            if VolumeRecord::new(&volume.name, labels, volume.options.clone()).ensure(transaction, disk)? {
                made.push(volume.name.clone());
            }
        }
        let image_id = match &mount.source {
            MountSource::Image { id, .. } => {
                check_image_exists(transaction, id)?;
                id.as_str()
            }
            _ => "",
        };
        let shown = serde_json::to_string(&shown(mount, disk))
            .map_err(|source| Error::Record { what: format!("container {id}"), source })?;
        transaction
            .execute(
                "INSERT INTO mount (container, place, volume, image_id, is_anonymous, shown) \
                 VALUES (?1,?2,?3,?4,?5,?6)",
                params![
                    id.as_str(),
                    place,
                    volume.map_or("", |volume| volume.name.as_str()),
                    image_id,
                    volume.is_some_and(|volume| volume.is_anonymous),
                    shown
                ],
            )
            .map_err(query)?;
    }
    Ok(made)
}

/// Forgets the mounts of a container; answers the names of its volumes that nobody named.
pub(crate) fn forget_mounts(transaction: &Transaction<'_>, id: &ContainerId) -> Result<Vec<String>> {
    let mut forget = transaction
        .prepare("DELETE FROM mount WHERE container = ?1 RETURNING volume, is_anonymous")
        .map_err(query)?;
    let rows = forget
        .query_map([id.as_str()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .map_err(query)?;
    Ok(rows.into_iter().filter(|(_, is_anonymous)| *is_anonymous).map(|(name, _)| name).collect())
}

/// What each container has mounted, as lists show it.
pub(crate) fn mounts_by_container(database: &Database) -> Result<HashMap<String, Vec<MountPoint>>> {
    let rows: Vec<(String, String)> = database.read(|connection| {
        connection
            .prepare("SELECT container, shown FROM mount ORDER BY container, place")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })?;
    let mut mounts: HashMap<String, Vec<MountPoint>> = HashMap::new();
    for (container, shown) in rows {
        if let Ok(shown) = serde_json::from_str(&shown) {
            mounts.entry(container).or_default().push(shown);
        }
    }
    Ok(mounts)
}

/// The ids of images that containers have mounted.
pub(crate) fn mounted_images(database: &Database) -> Result<Vec<String>> {
    database.read(|connection| {
        connection
            .prepare("SELECT DISTINCT image_id FROM mount WHERE image_id <> ''")?
            .query_map([], |row| row.get(0))?
            .collect()
    })
}

/// An image that was removed since it was found takes its layers along.
fn check_image_exists(transaction: &Transaction<'_>, id: &str) -> Result<()> {
    let found: Option<i64> = transaction
        .query_row("SELECT 1 FROM image WHERE id = ?1", [id], |row| row.get(0))
        .optional()
        .map_err(query)?;
    found.map(drop).ok_or_else(|| Error::NoSuchImage { reference: id.to_owned() })
}

/// The containers that have a volume.
pub(super) fn holders(connection: &rusqlite::Connection, name: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT DISTINCT container FROM mount WHERE volume = ?1 ORDER BY container")?
        .query_map([name], |row| row.get(0))?
        .collect()
}

/// How many containers have each volume.
pub(super) fn holder_counts(database: &Database) -> Result<HashMap<String, i64>> {
    database.read(|connection| {
        connection
            .prepare(
                "SELECT volume, COUNT(DISTINCT container) FROM mount WHERE volume <> '' GROUP BY volume",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_directories() {
        for good in ["ab", "a.b_c-d", "0a", &"a".repeat(255)] {
            check_name(good).unwrap();
        }
        for wrong in ["", ".", "..", "a", "a/b", ".a", "-a", "a b", "a\0", "ä", &"a".repeat(256)] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
