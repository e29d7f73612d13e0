//! Kernel settings that a container has of its own.

/// The settings below `kernel.` that belong to the IPC namespace (ipc_namespaces(7)).
const IPC_SETTINGS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The namespace whose processes a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// That of System V's and POSIX's means of communication.
    Ipc,
    /// That of networks.
    Network,
}

/// The namespace that the setting of this name belongs to; `None` for one of the whole host, and for
/// a name that would lead elsewhere.
pub fn namespace_of(name: &str) -> Option<Namespace> {
    if name.contains('/') {
        None
    } else if IPC_SETTINGS.contains(&name) || name.starts_with("fs.mqueue.") {
        Some(Namespace::Ipc)
    } else {
        name.starts_with("net.").then_some(Namespace::Network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_a_namespace_are_known() {
        assert_eq!(namespace_of("net.ipv4.ip_forward"), Some(Namespace::Network));
        assert_eq!(namespace_of("kernel.shmmax"), Some(Namespace::Ipc));
        assert_eq!(namespace_of("fs.mqueue.msg_max"), Some(Namespace::Ipc));
        for name in ["kernel.core_pattern", "vm.swappiness", "net.x/../../kernel/core_pattern", ""] {
            assert_eq!(namespace_of(name), None, "{name}");
        }
    }
}
