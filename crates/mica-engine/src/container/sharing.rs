//! Which namespaces a container has for itself, and which it shares: `--pid`, `--ipc`, `--uts`, `--cgroupns`.
//!
//! Another container's namespace is joined by a descriptor of it, opened while its process is known to live, never
//! by a process number.

use crate::Local;
use crate::container::record::Record;
use crate::container::stop::is_restarting;
use crate::error::{Error, Result};
use mica_api::types::container::ContainerConfig;
use mica_api::types::host_config::HostConfig;
use mica_runtime::{JoinedNamespace, NamespaceKind};
use std::path::{Component, Path};

/// The mode that shares with the host.
pub(crate) const HOST: &str = "host";

/// What names another container in a mode.
const CONTAINER: &str = "container:";

impl Local {
    /// Refuses modes that are none, in docker's words, and names other containers by their ids.
    pub(crate) fn check_sharing(&self, host: &mut HostConfig) -> Result<()> {
        let refuse = |what: &str, mode: &str| Err(Error::invalid(format!("invalid {what} mode: {mode}")));
        if let Some(other) = host.pid_mode.strip_prefix(CONTAINER) {
            host.pid_mode = format!("{CONTAINER}{}", Record::find(&self.database(), other)?.id);
        } else if !["", HOST].contains(&host.pid_mode.as_str()) {
            return refuse("PID", &host.pid_mode);
        }
        if host.ipc_mode.is_empty() {
            "private".clone_into(&mut host.ipc_mode);
        }
        if let Some(other) = joined(&host.ipc_mode) {
            host.ipc_mode = format!("{CONTAINER}{}", Record::find(&self.database(), other)?.id);
        } else if !["none", "private", "shareable", HOST].contains(&host.ipc_mode.as_str()) {
            return refuse("IPC", &host.ipc_mode);
        }
        if !["", HOST].contains(&host.uts_mode.as_str()) {
            return refuse("UTS", &host.uts_mode);
        }
        if host.cgroupns_mode.is_empty() {
            "private".clone_into(&mut host.cgroupns_mode);
        }
        if !["private", HOST].contains(&host.cgroupns_mode.as_str()) {
            return refuse("cgroup namespace", &host.cgroupns_mode);
        }
        check_cgroup_parent(&host.resources.cgroup_parent)
    }

    /// The namespaces of other containers, which must run; and the mounts of the one that lends its `/dev/shm`.
    pub(crate) fn shared_namespaces(
        &self,
        host: &HostConfig,
    ) -> Result<(Vec<JoinedNamespace>, Option<JoinedNamespace>)> {
        let mut lender = None;
        let mut namespaces = Vec::new();
        if let Some(other) = joined(&host.pid_mode) {
            let other = Record::find(&self.database(), other)?;
            namespaces.push(self.namespace_of(&other, NamespaceKind::Pid)?);
        }
        if let Some(other) = joined(&host.ipc_mode) {
            let other = Record::find(&self.database(), other)?;
            let mode = other.definition(&self.database())?.host_config.ipc_mode;
            if !is_shareable(&mode) {
                return Err(Error::invalid(format!(
                    "can't join IPC of container {}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)",
                    other.id
                )));
            }
            namespaces.push(self.namespace_of(&other, NamespaceKind::Ipc)?);
            lender = Some(self.namespace_of(&other, NamespaceKind::Mount)?);
        }
        Ok((namespaces, lender))
    }

    pub(crate) fn namespace_of(&self, other: &Record, kind: NamespaceKind) -> Result<JoinedNamespace> {
        let disk = self.disk.container(&other.id);
        let observed = other.observe(&disk);
        if observed.status == "restarting" {
            return Err(is_restarting(other));
        }
        if !observed.has_process() {
            return Err(Error::state(format!("container {} is not running", other.id)));
        }
        Ok(JoinedNamespace { kind, descriptor: mica_runtime::namespace(disk.run(), kind)? })
    }
}

/// The container that a mode names.
pub(crate) fn joined(mode: &str) -> Option<&str> {
    mode.strip_prefix(CONTAINER)
}

/// Whether others may join the IPC namespace of a container with that mode.
fn is_shareable(mode: &str) -> bool {
    mode == "shareable" || mode == HOST || joined(mode).is_some()
}

/// Refuses names that could not be the container's own.
pub(crate) fn check_names(config: &ContainerConfig, host: &HostConfig) -> Result<()> {
    if host.uts_mode == HOST && !config.hostname.is_empty() {
        return Err(Error::invalid("conflicting options: hostname and the UTS mode"));
    }
    if host.uts_mode == HOST && !config.domainname.is_empty() {
        return Err(Error::invalid("conflicting options: domainname and the UTS mode"));
    }
    Ok(())
}

/// Below the root of each hierarchy, and nowhere else.
fn check_cgroup_parent(parent: &str) -> Result<()> {
    let plain = |part| matches!(part, Component::Normal(_) | Component::RootDir);
    if Path::new(parent).components().all(plain) && !parent.contains('\0') {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid cgroup parent: {parent:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_stays_below_the_root() {
        for parent in ["", "/", "/a/b", "a", "machine.slice"] {
            check_cgroup_parent(parent).unwrap();
        }
        for parent in ["..", "/a/../../b", "a\0"] {
            assert!(check_cgroup_parent(parent).is_err(), "{parent:?}");
        }
    }

    #[test]
    fn the_name_of_the_host_cannot_be_chosen() {
        let host = HostConfig { uts_mode: HOST.to_owned(), ..Default::default() };
        check_names(&ContainerConfig::default(), &host).unwrap();
        let config = ContainerConfig { hostname: "a".to_owned(), ..Default::default() };
        assert!(check_names(&config, &host).is_err());
    }
}
