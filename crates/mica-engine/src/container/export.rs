//! `export`: a container's whole file system as one flat tar archive.

use crate::Local;
use crate::container::changes::top_first;
use crate::container::record::Record;
use crate::error::Result;
use crate::{events, lock};
use mica_snapshot::OverlayMount;
use std::io::Write;
use std::os::fd::AsFd;

impl Local {
    /// Writes the archive; volumes and what is mounted into the container are not in it.
    pub(crate) fn export(&self, reference: &str, out: &mut dyn Write) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        let disk = self.disk.container(&record.id);
        let lock = lock::container(&disk, &record.id)?;
        let mut lowers = vec![disk.upper()];
        lowers.extend(top_first(&definition));
        // The upper directory is only read here, so it may be in use by a running container; its
        // changes made meanwhile may be seen or not.
        let stack = OverlayMount { lowers, upper: None, work: None, volatile: false };
        let root = stack.mount_detached(true)?;
        // Who takes the archive may take their time; nobody else is to wait for them.
        drop(lock);
        mica_snapshot::export_tree(root.as_fd(), out)?;
        // What was removed meanwhile is not whole.
        Record::find(&self.database(), record.id.as_str())?;
        self.events.append(&events::container(&record, "export", &[]));
        Ok(())
    }
}
