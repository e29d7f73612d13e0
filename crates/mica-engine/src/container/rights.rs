//! Which capabilities a container's processes have: docker's fourteen, `--cap-add`, `--cap-drop`, `--privileged`.

use crate::error::{Error, Result};
use mica_api::types::host_config::HostConfig;
use mica_runtime::{ContainerPlan, ProcessPlan};
use oci_spec::runtime::Capability;

/// The capabilities of a process to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) capabilities: Vec<Capability>,
    /// Whether "all" was asked for, which means all that this host's root has.
    is_all: bool,
}

/// The word for every capability.
const ALL: &str = "ALL";

impl Rights {
    /// Everything there is.
    pub(crate) fn everything() -> Self {
        Self { capabilities: EVERY.to_vec(), is_all: true }
    }

    /// What a container's definition gives, as docker reads it: drops apply to the usual ones, and to all where all
    /// are added; with all dropped only the added ones are left.
    pub(crate) fn of(host: &HostConfig) -> Result<Self> {
        if host.privileged {
            return Ok(Self::everything());
        }
        let (added, dropped) = (named(host.cap_add.as_deref())?, named(host.cap_drop.as_deref())?);
        let without = |base: &[Capability]| -> Vec<Capability> {
            base.iter().filter(|capability| !dropped.list.contains(capability)).copied().collect()
        };
        if added.is_all {
            return Ok(Self { capabilities: without(EVERY), is_all: true });
        }
        let mut capabilities = if dropped.is_all { Vec::new() } else { without(DEFAULT) };
        capabilities.extend(added.list);
        Ok(Self { capabilities, is_all: false })
    }

    /// Leaves out of "all" what this host's root does not have.
    pub(crate) fn fit_process(&self, plan: ProcessPlan) -> ProcessPlan {
        if self.is_all { plan.with_rights_we_hold() } else { plan }
    }

    /// See [`Self::fit_process`].
    pub(crate) fn fit_container(&self, plan: ContainerPlan) -> ContainerPlan {
        if self.is_all { plan.with_rights_we_hold() } else { plan }
    }
}

/// Refuses names that are none, and capabilities that cannot be given.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    if host.privileged {
        return Ok(());
    }
    named(host.cap_drop.as_deref())?;
    for capability in named(host.cap_add.as_deref())?.list {
        if !mica_runtime::holds_capability(&capability.to_string()) {
            return Err(Error::invalid(format!(
                "capability not supported by your kernel or not available in the current environment: \"CAP_{capability}\""
            )));
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Named {
    list: Vec<Capability>,
    is_all: bool,
}

fn named(names: Option<&[String]>) -> Result<Named> {
    let mut named = Named { list: Vec::new(), is_all: false };
    for name in names.unwrap_or_default() {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if upper == ALL {
            named.is_all = true;
            continue;
        }
        let known = EVERY.iter().find(|capability| capability.to_string() == bare);
        named.list.push(*known.ok_or_else(|| Error::invalid(format!("unknown capability: \"CAP_{bare}\"")))?);
    }
    Ok(named)
}

/// What root in a container may do unless told otherwise: docker's fourteen.
const DEFAULT: &[Capability] = &[
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// All capabilities that this program knows (capabilities(7)).
const EVERY: &[Capability] = &[
    Capability::AuditControl,
    Capability::AuditRead,
    Capability::AuditWrite,
    Capability::BlockSuspend,
    Capability::Bpf,
    Capability::CheckpointRestore,
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::Kill,
    Capability::Lease,
    Capability::LinuxImmutable,
    Capability::MacAdmin,
    Capability::MacOverride,
    Capability::Mknod,
    Capability::NetAdmin,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetRaw,
    Capability::Perfmon,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysChroot,
    Capability::SysModule,
    Capability::SysNice,
    Capability::SysPacct,
    Capability::SysPtrace,
    Capability::SysRawio,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Syslog,
    Capability::WakeAlarm,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(added: &[&str], dropped: &[&str]) -> Rights {
        let words = |list: &[&str]| Some(list.iter().map(|&word| word.to_owned()).collect());
        let host = HostConfig { cap_add: words(added), cap_drop: words(dropped), ..Default::default() };
        Rights::of(&host).unwrap()
    }

    #[test]
    fn the_table_of_docker_holds() {
        assert_eq!(rights(&[], &[]).capabilities, DEFAULT);
        assert_eq!(rights(&["net_admin"], &["ALL"]).capabilities, [Capability::NetAdmin]);
        assert_eq!(rights(&[], &["all"]).capabilities, []);
        assert_eq!(rights(&["ALL"], &["ALL"]).capabilities, EVERY);
        assert!(!rights(&["all"], &["CAP_MKNOD"]).capabilities.contains(&Capability::Mknod));
        assert!(!rights(&[], &["mknod"]).capabilities.contains(&Capability::Mknod));
        assert_eq!(rights(&["CAP_SYS_TIME"], &[]).capabilities.len(), DEFAULT.len() + 1);
    }

    #[test]
    fn unknown_names_are_refused() {
        let host = HostConfig { cap_drop: Some(vec!["chpass".to_owned()]), ..Default::default() };
        let error = check(&host).unwrap_err().to_string();
        assert!(error.contains("unknown capability: \"CAP_CHPASS\""), "{error}");
    }
}
