//! `update`: other limits, for the next start and at once if it runs.

use crate::container::record::Record;
use crate::container::{block_devices, limits, restart, spec};
use crate::error::{Error, Result};
use crate::{Local, events, lock};
use mica_api::types::container::UpdateRequest;
use mica_api::types::host_config::Resources;

impl Local {
    /// Changes limits; answers warnings.
    pub(crate) fn update(&self, reference: &str, request: &UpdateRequest) -> Result<Vec<String>> {
        let wanted = request.restart_policy.as_ref().filter(|policy| !policy.name.is_empty());
        let policy = wanted.map(restart::check).transpose()?;
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        let _lock = lock::container(&disk, &record.id)?;
        let mut definition = record.definition(&self.database())?;
        if let Some(wanted) = wanted {
            if definition.host_config.auto_remove {
                return Err(Error::invalid(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                ));
            }
            definition.host_config.restart_policy = wanted.clone();
        }
        let changed = &mut definition.host_config.resources;
        check_against(changed, &request.resources)
            .map_err(|reason| Error::invalid(format!("Cannot update container {}: {reason}", record.id)))?;
        merge(changed, &request.resources);
        let mut warnings = limits::check(changed)?;
        if record.observe(&disk).is_running() {
            let mut document = spec::resources(changed)
                .map_err(|source| Error::invalid(format!("the limits are not valid: {source}")))?;
            document.set_block_io(block_devices::limits(changed)?);
            let (resources, unapplied) = mica_runtime::Resources::from_oci(&document);
            warnings.extend(unapplied);
            warnings.extend(mica_runtime::update_resources(disk.run(), &resources)?);
            if let Some(policy) = policy {
                mica_runtime::set_restart_policy(disk.run(), policy)?;
            }
        }
        self.database().write(|transaction| record.save_definition(transaction, &definition))?;
        self.events.append(&events::container(&record, "update", &[]));
        Ok(warnings)
    }
}

/// What contradicts the limits that the container has already.
fn check_against(limits: &Resources, wanted: &Resources) -> std::result::Result<(), &'static str> {
    if limits.nano_cpus > 0 && wanted.cpu_quota > 0 {
        return Err("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set");
    }
    if limits.nano_cpus > 0 && wanted.cpu_period > 0 {
        return Err("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set");
    }
    if limits.cpu_quota > 0 && wanted.nano_cpus > 0 {
        return Err("Conflicting options: NanoCPUs cannot be updated as CPU Quota has already been set");
    }
    if limits.cpu_period > 0 && wanted.nano_cpus > 0 {
        return Err("Conflicting options: NanoCPUs cannot be updated as CPU Period has already been set");
    }
    if limits.memory_swap > 0 && wanted.memory_swap == 0 && wanted.memory > limits.memory_swap {
        return Err("Memory limit should be smaller than already set memoryswap limit, \
                    update the memoryswap at the same time");
    }
    Ok(())
}

/// What is zero or empty in the request stays as it is.
fn merge(limits: &mut Resources, wanted: &Resources) {
    fn number<T: Copy + Default + PartialEq>(target: &mut T, wanted: T) {
        if wanted != T::default() {
            *target = wanted;
        }
    }
    fn text(target: &mut String, wanted: &str) {
        if !wanted.is_empty() {
            wanted.clone_into(target);
        }
    }
    number(&mut limits.cpu_shares, wanted.cpu_shares);
    number(&mut limits.memory, wanted.memory);
    number(&mut limits.memory_swap, wanted.memory_swap);
    number(&mut limits.memory_reservation, wanted.memory_reservation);
    number(&mut limits.cpu_period, wanted.cpu_period);
    number(&mut limits.cpu_quota, wanted.cpu_quota);
    number(&mut limits.nano_cpus, wanted.nano_cpus);
    number(&mut limits.blkio_weight, wanted.blkio_weight);
    number(&mut limits.cpu_realtime_period, wanted.cpu_realtime_period);
    number(&mut limits.cpu_realtime_runtime, wanted.cpu_realtime_runtime);
    text(&mut limits.cpuset_cpus, &wanted.cpuset_cpus);
    text(&mut limits.cpuset_mems, &wanted.cpuset_mems);
    limits.pids_limit = wanted.pids_limit.or(limits.pids_limit);
    limits.memory_swappiness = wanted.memory_swappiness.or(limits.memory_swappiness);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let mut limits = Resources { memory: 64 << 20, cpu_shares: 512, ..Default::default() };
        merge(&mut limits, &Resources { nano_cpus: 500_000_000, ..Default::default() });
        assert_eq!((limits.memory, limits.cpu_shares), (64 << 20, 512));
        assert_eq!(limits.nano_cpus, 500_000_000);
    }

    #[test]
    fn what_contradicts_is_refused() {
        let limits = Resources { memory_swap: 64 << 20, nano_cpus: 1, ..Default::default() };
        let more = Resources { memory: 128 << 20, ..Default::default() };
        assert!(check_against(&limits, &more).is_err());
        assert!(check_against(&limits, &Resources { memory_swap: 256 << 20, ..more }).is_ok());
        assert!(check_against(&limits, &Resources { cpu_quota: 1000, ..Default::default() }).is_err());
        assert!(check_against(&limits, &Resources { nano_cpus: 2, ..Default::default() }).is_ok());
    }
}
