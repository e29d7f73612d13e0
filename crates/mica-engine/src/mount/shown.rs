//! Mounts as `inspect` and `ps` show them.

use super::{MountRecord, MountSource};
use crate::disk::Disk;
use mica_api::types::container::MountPoint;

/// One mount, in docker's shape.
pub(crate) fn shown(record: &MountRecord, disk: &Disk) -> MountPoint {
    let (kind, name, source, driver) = match &record.source {
        MountSource::Bind { path, .. } => ("bind", String::new(), path.clone(), ""),
        MountSource::Volume(volume) => {
            let data = disk.volume(&volume.name).data();
            ("volume", volume.name.clone(), data.to_string_lossy().into_owned(), "local")
        }
        MountSource::Tmpfs { .. } => ("tmpfs", String::new(), String::new(), ""),
        MountSource::Image { reference, .. } => ("image", String::new(), reference.clone(), ""),
    };
    MountPoint {
        kind: kind.to_owned(),
        name,
        source,
        destination: record.destination.clone(),
        driver: driver.to_owned(),
        mode: record.mode.clone(),
        read_write: !record.read_only,
        propagation: record.propagation.clone(),
    }
}
