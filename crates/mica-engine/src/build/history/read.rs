//! Reading and removing what was recorded.

use super::{Files, Line, all};
use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::build::{BuildLogLine, BuildRecord, BuildStatus};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

impl Local {
    /// The builds that are recorded, the latest first.
    pub(crate) fn build_history(&self) -> Result<Vec<BuildRecord>> {
        let directory = self.disk.build_history();
        // One that was removed in between, or that a crash has damaged, is none.
        Ok(all(&directory).iter().filter_map(|files| read(files, &directory)).collect())
    }

    /// A record by its id, the beginning of it, or `^N` for the Nth before the latest; the latest for an empty one.
    pub(crate) fn build_record(&self, reference: &str) -> Result<BuildRecord> {
        let directory = self.disk.build_history();
        let files = find(&all(&directory), reference)?;
        read(&files, &directory).ok_or_else(|| unknown(reference))
    }

    /// What a build told.
    pub(crate) fn build_log(&self, reference: &str) -> Result<Vec<BuildLogLine>> {
        let directory = self.disk.build_history();
        let path = find(&all(&directory), reference)?.log(&directory);
        let file = File::open(&path).map_err(|source| Error::io("open", &path, source))?;
        // The last line of a build that was killed may not be whole.
        let lines = BufReader::new(file).split(b'\n').map_while(std::result::Result::ok);
        let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(&line).ok());
        Ok(lines.map(|line| BuildLogLine { at: line.at, event: line.event }).collect())
    }

    /// Forgets builds, or all of them; answers their ids.
    pub(crate) fn remove_build_records(
        &self,
        references: &[String],
        all_of_them: bool,
    ) -> Result<Vec<String>> {
        let directory = self.disk.build_history();
        let known = all(&directory);
        let chosen = match all_of_them {
            true => known,
            false => references.iter().map(|one| find(&known, one)).collect::<Result<_>>()?,
        };
        let mut removed = Vec::new();
        for files in chosen {
            let record = files.record(&directory);
            files.remove(&directory).map_err(|source| Error::io("remove", &record, source))?;
            removed.push(files.id().to_owned());
        }
        Ok(removed)
    }
}

fn find(known: &[Files], reference: &str) -> Result<Files> {
    let found = match reference.strip_prefix('^') {
        Some(offset) => {
            let offset: usize =
                offset.parse().map_err(|_| Error::invalid(format!("invalid offset {reference:?}")))?;
            known.get(offset)
        }
        None if reference.is_empty() => known.first(),
        None => {
            let mut matching = known.iter().filter(|files| files.id().starts_with(reference));
            let found = known.iter().find(|files| files.id() == reference).or(matching.next());
            if matching.next().is_some() && found.is_some_and(|found| found.id() != reference) {
                return Err(Error::invalid(format!("several builds have ids that begin with {reference}")));
            }
            found
        }
    };
    found.cloned().ok_or_else(|| unknown(reference))
}

fn unknown(reference: &str) -> Error {
    let reference = if reference.is_empty() { "^0" } else { reference };
    Error::NoSuchBuild { reference: reference.to_owned() }
}

/// A record. One that says that it goes on, and whose log nobody holds, was killed.
fn read(files: &Files, directory: &Path) -> Option<BuildRecord> {
    let bytes = std::fs::read(files.record(directory)).ok()?;
    let mut record: BuildRecord = serde_json::from_slice(&bytes).ok()?;
    if record.status == BuildStatus::Running && !is_held(&files.log(directory)) {
        record.status = BuildStatus::Cancelled;
    }
    Some(record)
}

fn is_held(log: &Path) -> bool {
    let Ok(file) = File::open(log) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(count: i64) -> Vec<Files> {
        let record = |n: i64| BuildRecord { id: format!("id{n}x"), started: n, ..BuildRecord::default() };
        (0..count).rev().map(|n| Files::new(&record(n))).collect()
    }

    #[test]
    fn builds_are_named_by_id_beginning_and_distance() {
        let known = files(12);
        let name = |reference: &str| find(&known, reference).map(|files| files.id().to_owned()).ok();
        assert_eq!(name("").as_deref(), Some("id11x"));
        assert_eq!(name("^0").as_deref(), Some("id11x"));
        assert_eq!(name("^2").as_deref(), Some("id9x"));
        assert_eq!(name("id3").as_deref(), Some("id3x"));
        assert_eq!(name("id1x").as_deref(), Some("id1x"));
        assert_eq!(name("id1"), None);
        assert_eq!((name("^12"), name("^x"), name("none")), (None, None, None));
        assert!(find(&[], "").is_err());
    }
}
