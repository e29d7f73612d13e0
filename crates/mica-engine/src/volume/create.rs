//! `volume create`, and where a volume's data is.

use super::record::{VolumeRecord, check_name};
use super::{ANONYMOUS_LABEL, VolumeSource, check_driver, check_options, options};
use crate::error::Result;
use crate::{Local, events, system};
use mica_api::types::volume::{Volume, VolumeCreateRequest};

impl Local {
    /// Makes a volume, or finds the one of that name.
    pub(crate) fn create_volume(&self, request: &VolumeCreateRequest) -> Result<Volume> {
        check_driver(&request.driver)?;
        check_options(&request.driver_opts)?;
        let mut labels = request.labels.clone();
        let name = if request.name.is_empty() {
            labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            made_up_name()
        } else {
            check_name(&request.name)?;
            request.name.clone()
        };
        let record = VolumeRecord::new(&name, labels, request.driver_opts.clone());
        let written = self.database().write(|transaction| record.ensure(transaction, &self.disk));
        match written {
            Ok(is_new) => {
                if is_new {
                    self.events.append(&events::volume("create", &name, &[]));
                }
            }
            Err(error) => {
                self.discard_volume(&name);
                return Err(error);
            }
        }
        self.inspect_volume(&name)
    }

    /// Takes away what a creation that could not be recorded has made.
    pub(crate) fn discard_volume(&self, name: &str) {
        if let Ok(None) = VolumeRecord::find(&self.database(), name) {
            self.disk.volume(name).discard_if_empty();
        }
    }

    /// Where the data of a volume is; its directory is made again if somebody deleted it.
    pub(crate) fn volume_source(&self, name: &str) -> Result<VolumeSource> {
        let record = VolumeRecord::find(&self.database(), name)?;
        if let Some(source) = record.map(|record| options::source(&record.options)).transpose()?.flatten() {
            return Ok(source);
        }
        let disk = self.disk.volume(name);
        disk.make()?;
        Ok(VolumeSource::Directory { path: disk.data(), is_read_only: false })
    }
}

/// A name for a volume that nobody names.
pub(crate) fn made_up_name() -> String {
    system::random::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}
