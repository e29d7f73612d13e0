//! Volumes: directories that outlive containers, found by name.
//!
//! A volume is its directory: one that lies in the store without a record, because a power cut took
//! the record's transaction, is a volume like any other. Directories are made and renamed away inside the
//! transaction that says so, so that the database's own lock keeps makers and removers apart.

mod create;
mod fill;
mod list;
mod options;
mod record;
mod remove;

pub(crate) use create::made_up_name;
pub(crate) use options::{VolumeSource, check_driver, check_options};
pub(crate) use record::{check_name, forget_mounts, mounted_images, mounts_by_container, record_mounts};

/// Marks a volume that nobody named, as docker does.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";
