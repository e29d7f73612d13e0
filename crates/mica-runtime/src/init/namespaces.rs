//! Chapter one: the namespaces joined, and what is set in the new ones.

use super::root::{copy_tree, retry_while_renamed};
use super::{Chapter, at};
use crate::error::SetupStep;
use crate::{ContainerPlan, MountKind, NamespaceKind};
use mica_sys::attribute::Reach;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

/// Joins the given namespaces; gives what the containers lend whose mounts were handed over.
pub(super) fn join_given(
    plan: &ContainerPlan,
    joined: Vec<(NamespaceKind, OwnedFd)>,
) -> Chapter<Vec<OwnedFd>> {
    let mut wanted = plan.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::OfContainer { path } => Some(path),
        _ => None,
    });
    let mut lent = Vec::new();
    for (kind, descriptor) in joined {
        let link = match kind {
            NamespaceKind::Mount => {
                if let Some(path) = wanted.next() {
                    lent.push(lent_tree(&descriptor, path).map_err(at(SetupStep::Mount, path))?);
                }
                continue;
            }
            NamespaceKind::Pid => LinkNameSpaceType::ProcessID,
            NamespaceKind::Ipc => LinkNameSpaceType::InterProcessCommunication,
            NamespaceKind::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
            NamespaceKind::Network => LinkNameSpaceType::Network,
            NamespaceKind::Cgroup => LinkNameSpaceType::ControlGroup,
        };
        move_into_link_name_space(descriptor.as_fd(), Some(link))
            .map_err(at(SetupStep::Namespace, kind.file_name()))?;
    }
    Ok(lent)
}

/// Prepares what is new about the namespaces.
pub(super) fn freshen(is_cgroup_new: bool) -> Chapter {
    if is_cgroup_new {
        mica_sys::process::new_cgroup_namespace().map_err(at(SetupStep::Namespace, "cgroup"))?;
    }
    // Kernels without keyrings have nothing to hide.
    let _ = mica_sys::process::new_session_keyring();
    Ok(())
}

/// Brings the loopback interface of a new network namespace up.
pub(super) fn loopback() -> Chapter {
    mica_sys::network::loopback_up().map_err(at(SetupStep::Loopback, ""))
}

/// Gives the container its names.
pub(super) fn name(plan: &ContainerPlan) -> Chapter {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).map_err(at(SetupStep::Hostname, name))?;
    }
    if let Some(name) = &plan.domain_name {
        rustix::system::setdomainname(name.as_bytes()).map_err(at(SetupStep::Hostname, name))?;
    }
    Ok(())
}

/// The kind of file system that lives in memory (statfs(2)).
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// A copy of what another container has in memory at a place, without one. It can only be taken from inside of
/// that one's mounts, so this process goes there for a moment: links lead it nowhere else.
fn lent_tree(mounts: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = openat(CWD, "/proc/self/ns/mnt", flags, Mode::empty())?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place = retry_while_renamed(|| openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS));
    let copy = place.and_then(|place| match rustix::fs::fstatfs(&place)?.f_type {
        TMPFS_MAGIC => copy_tree(place.as_fd(), Reach::One),
        // Whatever was put there instead is not memory.
        _ => Err(Errno::NODEV),
    });
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Mount))?;
    rustix::process::chdir("/")?;
    copy
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
