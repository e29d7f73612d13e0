//! Chapter one: the namespaces joined, and what is set in the new ones.

use super::{Chapter, at};
use crate::error::SetupStep;
use crate::{ContainerPlan, NamespaceKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

/// Joins the given namespaces, and prepares the new ones.
pub(super) fn settle(
    plan: &ContainerPlan,
    new_cgroup_namespace: bool,
    joined: Vec<(NamespaceKind, OwnedFd)>,
) -> Chapter {
    for (kind, descriptor) in joined {
        let link = match kind {
            NamespaceKind::Mount => LinkNameSpaceType::Mount,
            NamespaceKind::Pid => LinkNameSpaceType::ProcessID,
            NamespaceKind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            NamespaceKind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            NamespaceKind::Network => LinkNameSpaceType::Network,
            NamespaceKind::Cgroup => LinkNameSpaceType::ControlGroup,
        };
        move_into_link_name_space(descriptor.as_fd(), Some(link))
            .map_err(at(SetupStep::Namespace, kind.file_name()))?;
    }
    if new_cgroup_namespace {
        mica_sys::process::new_cgroup_namespace().map_err(at(SetupStep::Namespace, "cgroup"))?;
    }
    // Kernels without keyrings have nothing to hide.
    let _ = mica_sys::process::new_session_keyring();
    if plan.is_new(NamespaceKind::Network) {
        mica_sys::network::loopback_up().map_err(at(SetupStep::Loopback, ""))?;
    }
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(at(SetupStep::Hostname, name))?;
    }
    if let Some(name) = &plan.domain_name {
        rustix::system::setdomainname(name.as_bytes()).map_err(at(SetupStep::Hostname, name))?;
    }
    Ok(())
}

/// Joins all namespaces of a running container in one call; that of pids was joined by the parent.
///
/// A user namespace of its own goes along, and its root is taken on: nothing else is mapped there.
pub(super) fn join(target: &OwnedFd, is_mapped: bool) -> Chapter {
    let mut kinds = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::CONTROL_GROUP;
    if is_mapped {
        kinds |= ThreadNameSpaceType::USER;
    }
    move_into_thread_name_spaces(target.as_fd(), kinds).map_err(at(SetupStep::Namespace, "all"))?;
    if is_mapped {
        super::mapping::become_root()?;
    }
    let _ = mica_sys::process::new_session_keyring();
    Ok(())
}
