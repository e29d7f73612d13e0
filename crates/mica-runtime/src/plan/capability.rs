//! Capability sets as bit masks (capabilities(7)).

use super::container::PlanError;
use oci_spec::runtime::{Capabilities, LinuxCapabilities};
use serde::{Deserialize, Serialize};

/// The five sets of a process, one bit per capability number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CapabilitySets {
    /// What can ever be gained.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What survives an exec of a file that names it.
    pub inheritable: u64,
    /// What may be put in force.
    pub permitted: u64,
    /// What survives any exec.
    pub ambient: u64,
}

/// The names in the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// How many capabilities this code knows.
pub(crate) const CAPABILITY_COUNT: u32 = NAMES.len() as u32;

impl CapabilitySets {
    /// Converts the sets of an OCI document.
    pub(crate) fn from_oci(document: &LinuxCapabilities) -> Result<Self, PlanError> {
        Ok(Self {
            bounding: mask(document.bounding().as_ref())?,
            effective: mask(document.effective().as_ref())?,
            inheritable: mask(document.inheritable().as_ref())?,
            permitted: mask(document.permitted().as_ref())?,
            ambient: mask(document.ambient().as_ref())?,
        })
    }
}

impl CapabilitySets {
    /// The sets without what `mask` lacks.
    pub(crate) fn within(self, mask: u64) -> Self {
        Self {
            bounding: self.bounding & mask,
            effective: self.effective & mask,
            inheritable: self.inheritable & mask,
            permitted: self.permitted & mask,
            ambient: self.ambient & mask,
        }
    }
}

/// Whether programs of this process can gain a capability, named as capabilities(7) does without `CAP_`.
pub fn holds_capability(name: &str) -> bool {
    let number = NAMES.iter().position(|known| *known == name);
    number.is_some_and(|number| bounding_set() & 1 << number != 0)
}

/// The capabilities that this thread's programs can ever gain, of those that this code knows.
pub(crate) fn bounding_set() -> u64 {
    (0..CAPABILITY_COUNT)
        .map(|number| 1 << number)
        .filter(|&bit| {
            let one = rustix::thread::CapabilitySet::from_bits_retain(bit);
            rustix::thread::capability_is_in_bounding_set(one) == Ok(true)
        })
        .sum()
}

/// The number of a capability, by its name without `CAP_`.
pub(crate) fn capability_number(name: &str) -> Option<u32> {
    NAMES.iter().position(|known| *known == name).map(|number| number as u32)
}

/// The capabilities of these names (without `CAP_`) as a mask.
pub(crate) fn capability_mask(names: &[&str]) -> u64 {
    names.iter().filter_map(|name| capability_number(name)).map(|number| 1 << number).sum()
}

fn mask(names: Option<&Capabilities>) -> Result<u64, PlanError> {
    let mut bits = 0;
    for name in names.into_iter().flatten() {
        let text = name.to_string();
        let bare = text.strip_prefix("CAP_").unwrap_or(&text);
        let number = NAMES
            .iter()
            .position(|known| *known == bare)
            .ok_or_else(|| PlanError::Invalid { field: "process.capabilities", value: text.clone() })?;
        bits |= 1 << number;
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{Capability, LinuxCapabilitiesBuilder};

    #[test]
    fn numbers_follow_the_kernel() {
        let set: Capabilities =
            [Capability::Chown, Capability::SysAdmin, Capability::CheckpointRestore].into();
        let document = LinuxCapabilitiesBuilder::default().bounding(set).build().unwrap();
        let sets = CapabilitySets::from_oci(&document).unwrap();
        assert_eq!(sets.bounding, 1 | 1 << 21 | 1 << 40);
    }
}
