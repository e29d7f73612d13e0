//! From all the places where a container's mounts are wished for to one list of records.

use super::{MountRecord, MountSource, VolumeMount, bind, check, tmpfs};
use crate::container::record::Record;
use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::{Local, volume};
use mica_api::types::container::ContainerConfig;
use mica_api::types::host_config::HostConfig;
use std::collections::HashSet;

impl Local {
    /// The mounts of a new container: those of other containers, those of `-v` and `--mount`, and a
    /// volume for each place that the image wants one at and nothing else is.
    pub(crate) fn resolve_mounts(
        &self,
        config: &ContainerConfig,
        host: &HostConfig,
    ) -> Result<Vec<MountRecord>> {
        volume::check_driver(&host.volume_driver)?;
        let mut taken = HashSet::new();
        for (place, options) in host.tmpfs.iter().flatten() {
            tmpfs::of_words(options)?;
            taken.insert(check::destination("tmpfs", place)?);
        }
        let mut records = self.mounts_of_others(host)?;
        let own = host.binds.iter().flatten().map(|typed| bind::parse(typed));
        let own = own.chain(host.mounts.iter().flatten().map(check::mount));
        for record in own {
            let record = record?;
            if !taken.insert(record.destination.clone()) {
                return Err(Error::invalid(format!("Duplicate mount point: {}", record.destination)));
            }
            // What is asked for by itself wins over what another container happens to have there.
            records.retain(|other| other.destination != record.destination);
            records.push(record);
        }
        for place in config.volumes.iter().flatten().map(|(place, _)| place) {
            let destination = check::destination("volume", place)?;
            let is_taken = records.iter().any(|record| record.destination == destination);
            if !is_taken && taken.insert(destination.clone()) {
                records.push(unnamed(destination));
            }
        }
        for record in &mut records {
            self.complete(record)?;
        }
        Ok(records)
    }

    /// `--volumes-from`: the later of two containers wins where both have something.
    fn mounts_of_others(&self, host: &HostConfig) -> Result<Vec<MountRecord>> {
        let mut records: Vec<MountRecord> = Vec::new();
        for typed in host.volumes_from.iter().flatten() {
            let (container, is_read_only) = bind::parse_volumes_from(typed)?;
            let other = Record::find(&self.database(), container)?;
            for mut record in other.definition(&self.database())?.mounts {
                record.read_only |= is_read_only;
                if let MountSource::Volume(volume) = &mut record.source {
                    volume.is_filled = false;
                }
                records.retain(|known| known.destination != record.destination);
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Fills in what only the store knows: names for volumes without one, the layers of an image.
    fn complete(&self, record: &mut MountRecord) -> Result<()> {
        match &mut record.source {
            MountSource::Volume(volume) if volume.name.is_empty() => volume.name = volume::made_up_name(),
            MountSource::Image { reference, id, layers, .. } if id.is_empty() => {
                let image = ImageRecord::find(&self.database(), reference)?;
                *id = image.id.to_string();
                *layers = self.layer_directories(&image)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn unnamed(destination: String) -> MountRecord {
    let volume = VolumeMount { is_anonymous: true, is_filled: true, ..VolumeMount::default() };
    MountRecord::new(destination, MountSource::Volume(volume))
}
