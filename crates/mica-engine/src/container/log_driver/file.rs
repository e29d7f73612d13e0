//! Logs in files: docker's `json-file` and `local`, and the copy of what goes elsewhere.

use super::{Kind, Options, Target, refused, switch};
use crate::disk::ContainerDisk;
use crate::error::Result;
use mica_model::size;
use mica_runtime::{LogDriver, LogFilePlan};
use std::path::PathBuf;

/// A log that can be read back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readable {
    /// In the `json-file` format.
    JsonFile,
    /// In the `local` format.
    Local,
}

impl Readable {
    /// The current file.
    pub(crate) fn path(self, disk: &ContainerDisk) -> PathBuf {
        match self {
            Self::JsonFile => disk.log(),
            Self::Local => disk.local_log(),
        }
    }
}

/// The `json-file` driver.
pub(super) const JSON_FILE: Kind = Kind {
    name: "json-file",
    options: &["compress", "env", "env-regex", "labels", "labels-regex", "max-file", "max-size", "tag"],
    unknown: |option| format!("unknown log opt '{option}' for json-file log driver"),
    plan: json_file,
    readable: Some(Readable::JsonFile),
};

/// The `local` driver.
pub(super) const LOCAL: Kind = Kind {
    name: "local",
    options: &["compress", "max-file", "max-size"],
    unknown: |option| format!("unknown log opt '{option}' for log driver local"),
    plan: |options, target| local(options, "", target.disk).map(Some),
    readable: Some(Readable::Local),
};

/// A `json-file` log is begun anew after this many bytes: five of them hold what 50 MB of short
/// lines become.
const JSON_SIZE_MAX_BYTES: u64 = 30_000_000;

/// A `local` log is begun anew after this many bytes (docker's value).
const LOCAL_SIZE_MAX_BYTES: u64 = 20_000_000;

/// How many files a log has at the most.
const FILE_COUNT_MAX: u32 = 5;

fn json_file(options: &Options, target: &Target<'_>) -> Result<Option<LogDriver>> {
    let unlimited = options.get("max-size").is_some_and(|typed| typed == "-1");
    let max_size_bytes = match options.get("max-size") {
        Some(_) if unlimited => None,
        Some(typed) => Some(positive(size::parse_decimal(typed).map_err(refused)?)?),
        None => Some(JSON_SIZE_MAX_BYTES),
    };
    let max_file_count = match options.get("max-file") {
        Some(typed) => count(typed)?,
        None if unlimited => 1,
        None => FILE_COUNT_MAX,
    };
    if max_file_count < 1 {
        return Err(refused("max-file cannot be less than 1"));
    }
    let compress = switch(options, "compress", false)?;
    if compress && (max_file_count < 2 || unlimited) {
        return Err(refused("compress cannot be true when max-file is less than 2 or max-size is not set"));
    }
    let file = LogFilePlan { path: target.disk.log(), max_size_bytes, max_file_count, compress };
    Ok(Some(LogDriver::JsonFile { file, attributes: target.identity.attributes_as_json() }))
}

/// The log that `logs` reads when the driver's own cannot be read.
pub(super) fn cache(options: &Options, disk: &ContainerDisk) -> Result<LogDriver> {
    local(options, "cache-", disk)
}

fn local(options: &Options, prefix: &str, disk: &ContainerDisk) -> Result<LogDriver> {
    let option = |name: &str| options.get(&format!("{prefix}{name}"));
    let max_size = match option("max-size") {
        None => LOCAL_SIZE_MAX_BYTES,
        Some(typed) => {
            let wrong = |error| refused(format!("invalid value for max-size: {typed}: {error}"));
            positive(size::parse_decimal(typed).map_err(wrong)?)?
        }
    };
    let max_file_count = option("max-file").map_or(Ok(FILE_COUNT_MAX), |typed| count(typed))?;
    let compress = switch(options, &format!("{prefix}compress"), true)?;
    if compress && max_file_count < 2 {
        return Err(refused("compression cannot be enabled when max file count is 1"));
    }
    let path = Readable::Local.path(disk);
    let max_file_count = max_file_count.max(1);
    let file = LogFilePlan { path, max_size_bytes: Some(max_size), max_file_count, compress };
    Ok(LogDriver::Local { file })
}

fn positive(bytes: i64) -> Result<u64> {
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| refused("max-size must be a positive number"))
}

fn count(typed: &str) -> Result<u32> {
    let number: i64 =
        typed.parse().map_err(|_| refused(format!("strconv.Atoi: parsing {typed:?}: invalid syntax")))?;
    Ok(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}
