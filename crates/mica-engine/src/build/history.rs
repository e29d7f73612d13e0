//! What was built: a record and a log of each of the last builds.
//!
//! Two files a build, named by when it began and its id: the record is a JSON document that is written when the build
//! begins and again when it ends, the log has a line of JSON for each event. A build holds a lock on its log, so that
//! others can tell one that was killed from one that goes on. Nothing of it waits for the disk, and that it cannot be
//! written is no reason for a build to fail.

mod mask;
mod read;
mod recorder;

pub(super) use recorder::Recorder;

use mica_api::types::build::{BuildEvent, BuildRecord};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How many builds are kept.
const BUILDS_MAX: usize = 50;

/// How much of the output of a build is kept, in bytes.
const OUTPUT_SIZE_MAX: usize = 2 << 20;

/// The ends of the two files' names.
const RECORD: &str = ".json";
const LOG: &str = ".log";

/// A line of a log.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    /// Seconds since the build began.
    at: f64,
    event: BuildEvent,
}

/// The files of a build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Files {
    /// When it began, in nanoseconds with all zeros, and its id: sorts by time.
    stem: String,
}

impl Files {
    fn new(record: &BuildRecord) -> Self {
        Self { stem: format!("{:020}-{}", record.started.max(0), record.id) }
    }

    fn id(&self) -> &str {
        self.stem.split_once('-').map_or("", |(_, id)| id)
    }

    fn record(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}{RECORD}", self.stem))
    }

    fn log(&self, directory: &Path) -> PathBuf {
        directory.join(format!("{}{LOG}", self.stem))
    }

    /// Deletes both; the record last, so that nothing is left that no list shows.
    fn remove(&self, directory: &Path) -> std::io::Result<()> {
        for path in [self.log(directory), self.record(directory)] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The builds that are kept, the latest first.
fn all(directory: &Path) -> Vec<Files> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut files: Vec<Files> = names
        .filter_map(|name| Some(Files { stem: name.strip_suffix(RECORD)?.to_owned() }))
        .filter(|files| !files.id().is_empty())
        .collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    files
}
