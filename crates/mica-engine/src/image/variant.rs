//! Names that stand for images of several platforms: which those are. The name itself means that of this machine.
//!
//! They come with a build for several platforms and go with the name: whoever gives the name to another image, or
//! takes it away, need not know of them.

use crate::Local;
use crate::database::{Database, query};
use crate::error::{Error, Result};
use crate::image::load::wanted_platform;
use crate::image::pull::platform_of;
use crate::image::record::ImageRecord;
use mica_model::Digest;
use rusqlite::{Transaction, params};
use std::collections::HashSet;

/// The step of the database's format that brings the table.
pub(crate) const TABLES: &str = "
CREATE TABLE image_variant (
    reference TEXT NOT NULL,
    position INTEGER NOT NULL,
    image_id TEXT NOT NULL,
    PRIMARY KEY (reference, position)
) WITHOUT ROWID;
CREATE TRIGGER name_given AFTER INSERT ON name BEGIN
    DELETE FROM image_variant WHERE reference = NEW.reference;
END;
CREATE TRIGGER name_taken AFTER DELETE ON name BEGIN
    DELETE FROM image_variant WHERE reference = OLD.reference;
END;
CREATE TRIGGER image_gone AFTER DELETE ON image BEGIN
    DELETE FROM image_variant WHERE image_id = OLD.id;
END;
";

/// The images that a canonical name stands for, in the order of the build; none where it is only one.
pub(crate) fn of_name(database: &Database, name: &str) -> Result<Vec<Digest>> {
    database.read(|connection| {
        let sql = "SELECT image_id FROM image_variant WHERE reference = ?1 ORDER BY position";
        let mut statement = connection.prepare(sql)?;
        let ids = statement.query_map([name], |row| row.get::<_, String>(0))?;
        ids.filter_map(|id| id.map(|id| id.parse().ok()).transpose()).collect()
    })
}

/// All images that belong to a name of several platforms.
pub(crate) fn all(database: &Database) -> Result<HashSet<Digest>> {
    database.read(|connection| {
        let mut statement = connection.prepare("SELECT DISTINCT image_id FROM image_variant")?;
        let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
        ids.filter_map(|id| id.map(|id| id.parse().ok()).transpose()).collect()
    })
}

/// Has a canonical name stand for several images, or for its own again.
pub(crate) fn give(transaction: &Transaction<'_>, name: &str, images: &[Digest]) -> Result<()> {
    transaction.execute("DELETE FROM image_variant WHERE reference = ?1", [name]).map_err(query)?;
    for (position, image) in (0_i64..).zip(images) {
        transaction
            .execute(
                "INSERT INTO image_variant (reference, position, image_id) VALUES (?1, ?2, ?3)",
                params![name, position, image.to_string()],
            )
            .map_err(query)?;
    }
    Ok(())
}

impl Local {
    /// The image that is meant by a reference and a platform, which may be left empty.
    pub(crate) fn image_for(&self, reference: &str, platform: &str) -> Result<ImageRecord> {
        let (record, name) = ImageRecord::find_with_name(&self.database(), reference)?;
        if platform.is_empty() {
            return Ok(record);
        }
        let wanted = wanted_platform(platform)?;
        let own = platform_of(&self.image_config(&record)?);
        if wanted.suits(&own) {
            return Ok(record);
        }
        let others = name.map(|name| of_name(&self.database(), &name)).transpose()?.unwrap_or_default();
        for id in others {
            let Some(other) = ImageRecord::by_id(&self.database(), &id)? else { continue };
            if wanted.suits(&platform_of(&self.image_config(&other)?)) {
                return Ok(other);
            }
        }
        Err(Error::NoSuchImage { reference: format!("{reference} for platform {wanted} (it is for {own})") })
    }
}
