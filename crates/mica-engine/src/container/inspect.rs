//! `inspect` of a container.

use crate::Local;
use crate::container::health;
use crate::container::record::{Definition, Record};
use crate::container::spec::{MASKED_PATHS, READONLY_PATHS};
use crate::disk::ContainerDisk;
use crate::error::Result;
use crate::mount::shown;
use mica_api::types::container::{ContainerInspect, GraphDriver};
use mica_model::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;

impl Local {
    /// Everything about one container.
    pub(crate) fn inspect(&self, reference: &str, size: bool) -> Result<ContainerInspect> {
        let record = Record::find(&self.database(), reference)?;
        let definition = record.definition(&self.database())?;
        let disk = self.disk.container(&record.id);
        let observed = record.observe(&disk);
        let mut state = record.state(&observed);
        state.health =
            health::is_probed(&definition).then(|| health::of(&disk, &observed).map(health::shown)).flatten();
        let mut restart_count = observed.restarts;
        if observed.status == "exited"
            && let Some(exit) = mica_runtime::last_exit(&disk.exit(), disk.run())
        {
            restart_count = exit.restart_count;
            if restart_count > 0 {
                // The record knows when the first of its lives began.
                state.started_at = Timestamp::from_nanoseconds(exit.started_at);
            }
            if state.error.is_empty() {
                state.error = exit.error;
            }
        }
        let (size_rw, size_root_fs) = if size { self.sizes(&record)? } else { (None, None) };
        let mut host_config = definition.host_config.clone();
        host_config.masked_paths.get_or_insert_with(|| MASKED_PATHS.map(str::to_owned).to_vec());
        host_config.readonly_paths.get_or_insert_with(|| READONLY_PATHS.map(str::to_owned).to_vec());
        let mut words = definition.command.iter().cloned();
        Ok(ContainerInspect {
            id: record.id.to_string(),
            created: record.created,
            path: words.next().unwrap_or_default(),
            args: words.collect(),
            state,
            image: record.image_id.clone(),
            resolv_conf_path: text(&disk.resolv_conf()),
            hostname_path: text(&disk.hostname()),
            hosts_path: text(&disk.hosts()),
            log_path: log_path(&definition, &disk),
            name: format!("/{}", record.name),
            restart_count: i64::from(restart_count),
            driver: "overlay2".to_owned(),
            platform: "linux".to_owned(),
            mount_label: String::new(),
            process_label: String::new(),
            app_armor_profile: String::new(),
            exec_ids: None,
            host_config,
            graph_driver: graph_driver(&definition, &disk, observed.pid),
            size_rw,
            size_root_fs,
            mounts: definition.mounts.iter().map(|mount| shown(mount, &self.disk)).collect(),
            config: definition.config.clone(),
            network_settings: self.network_settings(&record, &definition, observed.pid)?,
        })
    }
}

/// docker tells where a log is only if its format is for everybody.
fn log_path(definition: &Definition, disk: &ContainerDisk) -> String {
    let is_public = definition.host_config.log_config.driver == "json-file";
    if is_public { text(&disk.log()) } else { String::new() }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn graph_driver(definition: &Definition, disk: &ContainerDisk, pid: i64) -> GraphDriver {
    let lowers: Vec<String> = definition.layers.iter().rev().map(|layer| text(layer)).collect();
    let mut data = BTreeMap::from([
        ("LowerDir".to_owned(), lowers.join(":")),
        ("UpperDir".to_owned(), text(&disk.upper())),
        ("WorkDir".to_owned(), text(&disk.work())),
    ]);
    if pid > 0 {
        // The overlay is mounted in the container's own mount namespace only.
        data.insert("MergedDir".to_owned(), format!("/proc/{pid}/root"));
    }
    GraphDriver { data, name: "overlay2".to_owned() }
}
