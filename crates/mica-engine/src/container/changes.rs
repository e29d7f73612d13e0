//! `diff`: what a container changed in its file system.

use crate::Local;
use crate::container::record::{Definition, Record};
use crate::error::Result;
use mica_api::types::container::FilesystemChange;
use mica_snapshot::{Change, ChangeKind};
use std::path::PathBuf;

impl Local {
    /// All changes, by path.
    pub(crate) fn changes(&self, reference: &str) -> Result<Vec<FilesystemChange>> {
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        let upper = self.disk.container(&record.id).upper();
        let changes = mica_snapshot::changes(&upper, &top_first(&definition))?;
        Ok(changes.iter().map(change).collect())
    }
}

/// The read-only layers of a container as an overlay wants them.
pub(crate) fn top_first(definition: &Definition) -> Vec<PathBuf> {
    definition.layers.iter().rev().cloned().collect()
}

fn change(change: &Change) -> FilesystemChange {
    FilesystemChange {
        path: change.path.to_string_lossy().into_owned(),
        kind: match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        },
    }
}
