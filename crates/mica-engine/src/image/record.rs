//! The record of an image: its names, its parent, where its layers lie.

use crate::database::{Database, query, sound};
use crate::error::{Error, Result};
use mica_model::{Digest, Reference, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A layer of an image and where it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    /// The chain it is tied to, for the rare layer that cannot stand alone (see mica-snapshot).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) chain: Option<Digest>,
    /// Bytes, unpacked.
    pub(crate) size: u64,
    /// Files, directories and links in it.
    pub(crate) entry_count: u64,
}

/// An image as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageRecord {
    /// Digest of its config.
    pub(crate) id: Digest,
    /// The image it was committed or built from, if that was here.
    pub(crate) parent: Option<Digest>,
    pub(crate) created: Timestamp,
    /// Bytes of all layers, unpacked.
    pub(crate) size: u64,
    pub(crate) last_tagged: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    /// Base first.
    pub(crate) layers: Vec<LayerRecord>,
}

const COLUMNS: &str = "id, parent, created, size, last_tagged, labels, layers";

impl ImageRecord {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let id: String = row.get(0)?;
        let parent: String = row.get(1)?;
        let labels: String = row.get(5)?;
        let layers: String = row.get(6)?;
        Ok(Self {
            id: id.parse().map_err(|_| rusqlite::Error::InvalidColumnName(id))?,
            parent: parent.parse().ok(),
            created: Timestamp::from_nanoseconds(row.get(2)?),
            size: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
            last_tagged: Timestamp::from_nanoseconds(row.get(4)?),
            labels: serde_json::from_str(&labels).unwrap_or_default(),
            layers: serde_json::from_str(&layers).map_err(|_| rusqlite::Error::InvalidColumnName(layers))?,
        })
    }

    /// All images, newest first.
    pub(crate) fn all(database: &Database) -> Result<Vec<Self>> {
        database.read(|connection| {
            let mut statement =
                connection.prepare(&format!("SELECT {COLUMNS} FROM image ORDER BY created DESC, id"))?;
            statement.query_map([], Self::from_row)?.collect()
        })
    }

    /// All images that can be read, newest first. Not for those who decide what may be deleted: they
    /// must know every one.
    pub(crate) fn readable(database: &Database) -> Result<Vec<Self>> {
        database.read(|connection| {
            let mut statement =
                connection.prepare(&format!("SELECT {COLUMNS} FROM image ORDER BY created DESC, id"))?;
            sound(statement.query_map([], Self::from_row)?)
        })
    }

    /// The image with exactly this id.
    pub(crate) fn by_id(database: &Database, id: &Digest) -> Result<Option<Self>> {
        database.read(|connection| by_exact_id(connection, &id.to_string()))
    }

    /// Finds by full id, then by name, then by a unique prefix of an id.
    pub(crate) fn find(database: &Database, reference: &str) -> Result<Self> {
        Ok(Self::find_with_name(database, reference)?.0)
    }

    /// Finds as [`ImageRecord::find`] does and tells by which stored name, if by one.
    pub(crate) fn find_with_name(database: &Database, reference: &str) -> Result<(Self, Option<String>)> {
        let parsed = Reference::parse_normalized(reference);
        // docker tells which tag it looked for.
        let looked_for = parsed.as_ref().map(|parsed| parsed.clone().with_default_tag().familiar());
        let missing =
            || Error::NoSuchImage { reference: looked_for.clone().unwrap_or_else(|_| reference.to_owned()) };
        if let Ok(id) = reference.parse::<Digest>() {
            return Ok((Self::by_id(database, &id)?.ok_or_else(missing)?, None));
        }
        if let Ok(parsed) = &parsed {
            let name = parsed.clone().with_default_tag().to_string();
            if let Some(id) = Self::id_of_name(database, &name)? {
                return Ok((Self::by_id(database, &id)?.ok_or_else(missing)?, Some(name)));
            }
        }
        let prefix = reference.strip_prefix("sha256:").unwrap_or(reference);
        let found = database.read(|connection| by_prefix(connection, prefix))?;
        match <[Self; 1]>::try_from(found) {
            Ok([image]) => Ok((image, None)),
            Err(found) if found.is_empty() => match parsed {
                Ok(_) => Err(missing()),
                Err(error) => Err(Error::invalid(error.to_string())),
            },
            Err(_) => Err(Error::AmbiguousPrefix { prefix: reference.to_owned() }),
        }
    }

    /// The image that has a canonical name.
    pub(crate) fn id_of_name(database: &Database, name: &str) -> Result<Option<Digest>> {
        let text: Option<String> = database.read(|connection| {
            connection
                .query_row("SELECT image_id FROM name WHERE reference = ?1", [name], |row| row.get(0))
                .optional()
        })?;
        Ok(text.and_then(|id| id.parse().ok()))
    }

    /// Whether a canonical name is that of an image.
    pub(crate) fn has_name(transaction: &Transaction<'_>, name: &str, id: &Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM name WHERE reference = ?1 AND image_id = ?2";
        let found = transaction.query_row(sql, [name, &id.to_string()], |_| Ok(())).optional();
        Ok(found.map_err(query)?.is_some())
    }

    /// All names with the image they name, in order.
    pub(crate) fn names(database: &Database) -> Result<Vec<(String, Digest)>> {
        database.read(|connection| {
            let mut statement =
                connection.prepare("SELECT reference, image_id FROM name ORDER BY reference")?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            rows.filter_map(|row| row.map(|(name, id)| Some((name, id.parse().ok()?))).transpose()).collect()
        })
    }

    /// Refuses to go on when it was deleted since it was found.
    pub(crate) fn check_exists(&self, transaction: &Transaction<'_>) -> Result<()> {
        match by_exact_id(transaction, &self.id.to_string()).map_err(query)? {
            Some(_) => Ok(()),
            None => Err(Error::NoSuchImage { reference: self.id.to_string() }),
        }
    }

    /// Stores it; an image that is known already keeps its record.
    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<()> {
        let parent = self.parent.map(|parent| parent.to_string()).unwrap_or_default();
        let labels = serde_json::to_string(&self.labels).unwrap_or_default();
        let layers = serde_json::to_string(&self.layers).unwrap_or_default();
        transaction
            .execute(
                &format!(
                    "INSERT INTO image ({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6,?7) ON CONFLICT DO NOTHING"
                ),
                params![
                    self.id.to_string(),
                    parent,
                    self.created.nanoseconds(),
                    i64::try_from(self.size).unwrap_or(i64::MAX),
                    self.last_tagged.nanoseconds(),
                    labels,
                    layers
                ],
            )
            .map_err(query)?;
        Ok(())
    }

    /// Forgets it; its children lose their parent or get `heir` instead.
    pub(crate) fn delete(&self, transaction: &Transaction<'_>, heir: Option<Digest>) -> Result<()> {
        let id = self.id.to_string();
        let heir = heir.map(|heir| heir.to_string()).unwrap_or_default();
        transaction
            .execute("UPDATE image SET parent=?2 WHERE parent=?1", params![id, heir])
            .map_err(query)?;
        transaction.execute("DELETE FROM name WHERE image_id=?1", [&id]).map_err(query)?;
        transaction.execute("DELETE FROM image WHERE id=?1", [&id]).map_err(query)?;
        Ok(())
    }

    /// Points a canonical name at an image; answers the image that had it before.
    pub(crate) fn give_name(
        transaction: &Transaction<'_>,
        name: &str,
        id: &Digest,
        now: Timestamp,
    ) -> Result<Option<Digest>> {
        let before: Option<String> = transaction
            .query_row("SELECT image_id FROM name WHERE reference=?1", [name], |row| row.get(0))
            .optional()
            .map_err(query)?;
        transaction
            .execute(
                "INSERT OR REPLACE INTO name (reference, image_id) VALUES (?1, ?2)",
                params![name, id.to_string()],
            )
            .map_err(query)?;
        transaction
            .execute(
                "UPDATE image SET last_tagged=?2 WHERE id=?1",
                params![id.to_string(), now.nanoseconds()],
            )
            .map_err(query)?;
        Ok(before.and_then(|id| id.parse().ok()))
    }

    /// The index that a canonical name stands for, if it came as one.
    pub(crate) fn index_of_name(database: &Database, name: &str) -> Result<Option<Digest>> {
        let text: Option<String> = database.read(|connection| {
            connection
                .query_row("SELECT index_digest FROM name WHERE reference = ?1", [name], |row| row.get(0))
                .optional()
        })?;
        Ok(text.and_then(|digest| digest.parse().ok()))
    }

    /// Notes that a canonical name, which was just given, stands for an index.
    pub(crate) fn give_index(transaction: &Transaction<'_>, name: &str, index: &Digest) -> Result<()> {
        transaction
            .execute("UPDATE name SET index_digest=?2 WHERE reference=?1", params![name, index.to_string()])
            .map_err(query)?;
        Ok(())
    }

    /// Takes a canonical name away.
    pub(crate) fn take_name(transaction: &Transaction<'_>, name: &str) -> Result<()> {
        transaction.execute("DELETE FROM name WHERE reference=?1", [name]).map_err(query)?;
        Ok(())
    }
}

fn by_exact_id(connection: &Connection, id: &str) -> rusqlite::Result<Option<ImageRecord>> {
    connection
        .query_row(&format!("SELECT {COLUMNS} FROM image WHERE id = ?1"), [id], ImageRecord::from_row)
        .optional()
}

fn by_prefix(connection: &Connection, prefix: &str) -> rusqlite::Result<Vec<ImageRecord>> {
    let hexadecimal = !prefix.is_empty() && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hexadecimal {
        return Ok(Vec::new());
    }
    let mut statement = connection
        .prepare(&format!("SELECT {COLUMNS} FROM image WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2"))?;
    statement
        .query_map([format!("sha256:{prefix}"), format!("sha256:{prefix}g")], ImageRecord::from_row)?
        .collect()
}
