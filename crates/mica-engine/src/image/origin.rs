//! Where images came from and went to: their manifests in repositories, and the blobs of their layers there.
//!
//! With it an image is pushed on with the digests that it came with, and layers that a registry already
//! has are not sent to it again.

use crate::database::{Database, query};
use crate::error::Result;
use mica_image::{Descriptor, Document};
use mica_model::{Digest, Reference};
use rusqlite::{Row, Transaction, params};

/// A layer as it lies in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerBlob {
    pub(crate) diff_id: Digest,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

/// An image's manifest in a repository.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Domain and path, as [`Reference::name`] gives them.
    pub(crate) repository: String,
    pub(crate) manifest: Document,
    pub(crate) media_type: String,
    pub(crate) layers: Vec<LayerBlob>,
    /// The index by which it was asked for, if it was by one.
    pub(crate) index: Option<OriginIndex>,
}

/// An index in a repository.
#[derive(Debug, Clone)]
pub(crate) struct OriginIndex {
    pub(crate) document: Document,
    pub(crate) media_type: String,
}

impl LayerBlob {
    /// The layers that a manifest lists, each with its diffID.
    pub(crate) fn all(layers: &[Descriptor], diff_ids: &[Digest]) -> Result<Vec<Self>> {
        layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| {
                Ok(Self {
                    diff_id: *diff_id,
                    digest: layer.digest()?,
                    size: layer.size,
                    media_type: layer.media_type.clone(),
                })
            })
            .collect()
    }

    /// Takes note that a repository has it.
    pub(crate) fn insert(&self, transaction: &Transaction<'_>, repository: &str) -> Result<()> {
        transaction
            .execute(
                "INSERT OR REPLACE INTO layer_blob (diff_id, digest, repository, media_type, size) \
                 VALUES (?1,?2,?3,?4,?5)",
                params![
                    self.diff_id.to_string(),
                    self.digest.to_string(),
                    repository,
                    self.media_type,
                    i64::try_from(self.size).unwrap_or(i64::MAX)
                ],
            )
            .map(drop)
            .map_err(query)
    }
}

impl Origin {
    pub(crate) fn insert(&self, transaction: &Transaction<'_>, image_id: &Digest) -> Result<()> {
        transaction
            .execute(
                "INSERT OR REPLACE INTO manifest (digest, repository, image_id, media_type) VALUES (?1,?2,?3,?4)",
                params![
                    self.manifest.digest().to_string(),
                    self.repository,
                    image_id.to_string(),
                    self.media_type
                ],
            )
            .map_err(query)?;
        if let Some(index) = &self.index {
            insert_index(transaction, index.document.digest(), &self.repository, &index.media_type)?;
        }
        self.layers.iter().try_for_each(|layer| layer.insert(transaction, &self.repository))
    }
}

/// Takes note that a repository has an index.
pub(crate) fn insert_index(
    transaction: &Transaction<'_>,
    digest: &Digest,
    repository: &str,
    media_type: &str,
) -> Result<()> {
    transaction
        .execute(
            "INSERT OR REPLACE INTO image_index (digest, repository, media_type) VALUES (?1,?2,?3)",
            params![digest.to_string(), repository, media_type],
        )
        .map_err(query)?;
    Ok(())
}

/// A repository that has an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexPlace {
    pub(crate) repository: String,
    pub(crate) media_type: String,
}

/// The repositories that have an index.
pub(crate) fn places_of_index(database: &Database, digest: &Digest) -> Result<Vec<IndexPlace>> {
    database.read(|connection| {
        let sql = "SELECT repository, media_type FROM image_index WHERE digest = ?1 ORDER BY repository";
        let mut statement = connection.prepare(sql)?;
        let place = |row: &Row<'_>| Ok(IndexPlace { repository: row.get(0)?, media_type: row.get(1)? });
        statement.query_map([digest.to_string()], place)?.collect()
    })
}

/// The repositories that have a blob of a layer, as far as is known here.
pub(crate) fn places_of_blob(database: &Database, digest: &Digest) -> Result<Vec<String>> {
    database.read(|connection| {
        let sql = "SELECT DISTINCT repository FROM layer_blob WHERE digest = ?1 ORDER BY repository";
        let mut statement = connection.prepare(sql)?;
        statement.query_map([digest.to_string()], |row| row.get(0))?.collect()
    })
}

/// Whether a registry has an image, as far as is known here.
pub(crate) fn is_pulled(database: &Database, image_id: &Digest) -> Result<bool> {
    database.read(|connection| {
        let sql = "SELECT EXISTS (SELECT 1 FROM manifest WHERE image_id = ?1)";
        connection.query_row(sql, [image_id.to_string()], |row| row.get(0))
    })
}

/// A manifest that an image has in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownManifest {
    pub(crate) digest: Digest,
    pub(crate) repository: String,
    pub(crate) media_type: String,
}

/// The manifests of an image.
pub(crate) fn manifests_of(database: &Database, image_id: &Digest) -> Result<Vec<KnownManifest>> {
    database.read(|connection| {
        let mut statement =
            connection.prepare("SELECT digest, repository, media_type FROM manifest WHERE image_id = ?1")?;
        let rows = statement.query_map([image_id.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })?;
        let known = |(digest, repository, media_type): (String, _, _)| {
            Some(KnownManifest { digest: digest.parse().ok()?, repository, media_type })
        };
        rows.filter_map(|row| row.map(known).transpose()).collect()
    })
}

/// The blobs of a layer, each with a repository that has it.
pub(crate) fn blobs_of(database: &Database, diff_id: &Digest) -> Result<Vec<(LayerBlob, String)>> {
    database.read(|connection| {
        let mut statement = connection
            .prepare("SELECT digest, size, media_type, repository FROM layer_blob WHERE diff_id = ?1")?;
        let rows = statement.query_map([diff_id.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?))
        })?;
        let known = |(digest, size, media_type, repository): (String, i64, _, _)| {
            let size = u64::try_from(size).ok()?;
            Some((
                LayerBlob { diff_id: *diff_id, digest: digest.parse().ok()?, size, media_type },
                repository,
            ))
        };
        rows.filter_map(|row| row.map(known).transpose()).collect()
    })
}

/// Digests of all manifests that belong to an image which is here, and of the indexes that names stand for.
pub(crate) fn manifests(database: &Database) -> Result<Vec<Digest>> {
    database.read(|connection| {
        let mut statement = connection.prepare(
            "SELECT digest FROM manifest WHERE image_id IN (SELECT id FROM image) \
                      UNION SELECT index_digest FROM name WHERE index_digest <> ''",
        )?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.filter_map(|row| row.map(|text| text.parse().ok()).transpose()).collect()
    })
}

/// Digests of the compressed forms, as far as they are known, of layers.
pub(crate) fn layer_blobs(database: &Database, diff_ids: &[Digest]) -> Result<Vec<Digest>> {
    let wanted = serde_json::to_string(diff_ids).unwrap_or_default();
    database.read(|connection| {
        let mut statement = connection.prepare(
            "SELECT DISTINCT digest FROM layer_blob WHERE diff_id IN (SELECT value FROM json_each(?1))",
        )?;
        let rows = statement.query_map([wanted], |row| row.get::<_, String>(0))?;
        rows.filter_map(|row| row.map(|text| text.parse().ok()).transpose()).collect()
    })
}

/// Forgets what was known of images and layers that are gone.
pub(crate) fn forget(transaction: &Transaction<'_>, diff_ids: &[Digest]) -> Result<()> {
    transaction
        .execute("DELETE FROM manifest WHERE image_id NOT IN (SELECT id FROM image)", [])
        .map_err(query)?;
    transaction
        .execute("DELETE FROM image_index WHERE digest NOT IN (SELECT index_digest FROM name)", [])
        .map_err(query)?;
    let kept = serde_json::to_string(diff_ids).unwrap_or_default();
    transaction
        .execute("DELETE FROM layer_blob WHERE diff_id NOT IN (SELECT value FROM json_each(?1))", [kept])
        .map_err(query)?;
    Ok(())
}

/// The path of a repository, if it is in a registry.
pub(crate) fn path_in<'a>(repository: &'a str, domain: &str) -> Option<&'a str> {
    repository.strip_prefix(domain)?.strip_prefix('/')
}

/// The repository of a name, as records have it.
pub(crate) fn repository(name: &Reference) -> String {
    name.name()
}
