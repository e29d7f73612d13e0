//! What was done before: the steps' keys with the layers that they made.
//!
//! A row is written as soon as its layer can be found, so that a killed build leaves what it has done
//! to the next one. A layer that a crash of the host has taken counts as absent (mica-snapshot).

use crate::Local;
use crate::database::query;
use crate::error::Result;
use crate::image::record::LayerRecord;
use mica_model::{Digest, Timestamp};
use rusqlite::{OptionalExtension, params};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// The step of the database's format that brings the table.
pub(crate) const TABLES: &str = "
CREATE TABLE build_cache (
    key TEXT PRIMARY KEY,
    layer TEXT NOT NULL,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    description TEXT NOT NULL
) WITHOUT ROWID;
";

/// A step that was done.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Nothing if there was nothing to do.
    pub(crate) layer: Option<LayerRecord>,
    pub(crate) created: Timestamp,
    pub(crate) last_used: Timestamp,
    pub(crate) uses: u64,
    pub(crate) description: String,
}

const COLUMNS: &str = "key, layer, created, last_used, uses, description";

fn from_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let layer: String = row.get(1)?;
    let layer = match layer.as_str() {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(|_| rusqlite::Error::InvalidColumnName(layer))?),
    };
    Ok(Row {
        key: row.get(0)?,
        layer,
        created: Timestamp::from_nanoseconds(row.get(2)?),
        last_used: Timestamp::from_nanoseconds(row.get(3)?),
        uses: u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0),
        description: row.get(5)?,
    })
}

impl Local {
    /// The row of a key, if its layer is there.
    pub(super) fn cached_step(&self, key: &Digest) -> Result<Option<Row>> {
        let row = self.database().read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM build_cache WHERE key = ?1");
            connection.prepare_cached(&sql)?.query_row([key.to_string()], from_row).optional()
        })?;
        let Some(row) = row else { return Ok(None) };
        let is_there = match &row.layer {
            None => true,
            Some(layer) => layer.chain.is_none() && self.layers.find(&layer.diff_id, &[])?.is_some(),
        };
        Ok(Some(row).filter(|_| is_there))
    }

    /// Writes a row, in the place of an older one.
    pub(super) fn keep_step(&self, row: &Row) -> Result<()> {
        let layer = match &row.layer {
            Some(layer) => serde_json::to_string(layer).unwrap_or_default(),
            None => String::new(),
        };
        self.has_built.store(true, Ordering::Relaxed);
        self.database().write(|transaction| {
            transaction
                .execute(
                    &format!("INSERT OR REPLACE INTO build_cache ({COLUMNS}) VALUES (?1,?2,?3,?4,?5,?6)"),
                    params![
                        row.key,
                        layer,
                        row.created.nanoseconds(),
                        row.last_used.nanoseconds(),
                        i64::try_from(row.uses).unwrap_or(i64::MAX),
                        row.description
                    ],
                )
                .map_err(query)?;
            Ok(())
        })
    }

    /// Notes that steps were used.
    pub(super) fn used_steps(&self, keys: &[Digest]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let now = Timestamp::from(std::time::SystemTime::now());
        self.database().write(|transaction| {
            for key in keys {
                transaction
                    .execute(
                        "UPDATE build_cache SET last_used=?2, uses=uses+1 WHERE key=?1",
                        params![key.to_string(), now.nanoseconds()],
                    )
                    .map_err(query)?;
            }
            Ok(())
        })
    }

    /// All rows, those used last first.
    pub(super) fn cached_steps(&self) -> Result<Vec<Row>> {
        self.database().read(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM build_cache ORDER BY last_used DESC, key");
            connection.prepare(&sql)?.query_map([], from_row)?.collect()
        })
    }

    /// Where the layers lie that the cache holds.
    pub(crate) fn cached_layers(&self) -> Result<Vec<PathBuf>> {
        let rows = self.cached_steps()?;
        Ok(rows
            .iter()
            .filter_map(|row| row.layer.as_ref())
            .map(|layer| self.layer_directory(layer))
            .collect())
    }

    /// Forgets rows.
    pub(super) fn forget_steps(&self, keys: &[String]) -> Result<()> {
        self.database().write(|transaction| {
            for key in keys {
                transaction.execute("DELETE FROM build_cache WHERE key=?1", [key]).map_err(query)?;
            }
            Ok(())
        })
    }
}
