//! Which devices a container's processes may open and make.
//!
//! Rules are read as cgroups of version 1 read them: a rule about all devices sets what holds by default and forgets
//! the rules before it; every other one makes an exception to that, or takes one back.

use super::container::PlanError;
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use serde::{Deserialize, Serialize};

/// Rights to a device, as bits (`BPF_DEVCG_ACC_*` of `linux/bpf.h`).
pub(crate) const ACCESS_MAKE: u8 = 1;
/// See [`ACCESS_MAKE`].
pub(crate) const ACCESS_READ: u8 = 2;
/// See [`ACCESS_MAKE`].
pub(crate) const ACCESS_WRITE: u8 = 4;

const ACCESS_ALL: u8 = ACCESS_MAKE | ACCESS_READ | ACCESS_WRITE;

/// Block or character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceClass {
    Block,
    Character,
}

/// A device, or all of a class that share a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceException {
    pub(crate) class: DeviceClass,
    /// `None` is any.
    pub(crate) major: Option<u32>,
    /// `None` is any.
    pub(crate) minor: Option<u32>,
    pub(crate) access: u8,
}

/// What holds by default, and the exceptions to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceRules {
    pub(crate) is_allowed_by_default: bool,
    pub(crate) exceptions: Vec<DeviceException>,
}

impl Default for DeviceRules {
    /// Everything is allowed: what a cgroup without rules does.
    fn default() -> Self {
        Self { is_allowed_by_default: true, exceptions: Vec::new() }
    }
}

impl DeviceRules {
    /// Reads the rules of a document.
    pub(crate) fn from_oci(document: &[LinuxDeviceCgroup]) -> Result<Self, PlanError> {
        let mut rules = Self::default();
        for rule in document {
            rules.add(rule)?;
        }
        Ok(rules)
    }

    /// Whether nothing is forbidden.
    pub(crate) fn allow_everything(&self) -> bool {
        self.is_allowed_by_default && self.exceptions.is_empty()
    }

    fn add(&mut self, rule: &LinuxDeviceCgroup) -> Result<(), PlanError> {
        let invalid = || PlanError::Invalid { field: "linux.resources.devices", value: rule.to_string() };
        let class = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => {
                *self = Self { is_allowed_by_default: rule.allow(), exceptions: Vec::new() };
                return Ok(());
            }
            LinuxDeviceType::B => DeviceClass::Block,
            LinuxDeviceType::C | LinuxDeviceType::U => DeviceClass::Character,
            LinuxDeviceType::P => return Err(invalid()),
        };
        let number = |number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number).map(Some).map_err(|_| invalid()),
        };
        let access = access(rule.access().as_deref().unwrap_or_default()).ok_or_else(invalid)?;
        let exception =
            DeviceException { class, major: number(rule.major())?, minor: number(rule.minor())?, access };
        if rule.allow() == self.is_allowed_by_default {
            self.take_back(exception);
        } else {
            self.except(exception);
        }
        Ok(())
    }

    fn same(&mut self, wanted: DeviceException) -> Option<&mut DeviceException> {
        self.exceptions.iter_mut().find(|known| {
            (known.class, known.major, known.minor) == (wanted.class, wanted.major, wanted.minor)
        })
    }

    fn except(&mut self, exception: DeviceException) {
        match self.same(exception) {
            Some(known) => known.access |= exception.access,
            None => self.exceptions.push(exception),
        }
    }

    fn take_back(&mut self, exception: DeviceException) {
        if let Some(known) = self.same(exception) {
            known.access &= !exception.access;
        }
        self.exceptions.retain(|known| known.access != 0);
    }
}

/// `rwm` as bits; nothing else, and not nothing.
fn access(letters: &str) -> Option<u8> {
    let mut bits = 0;
    for letter in letters.bytes() {
        bits |= match letter {
            b'r' => ACCESS_READ,
            b'w' => ACCESS_WRITE,
            b'm' => ACCESS_MAKE,
            _ => return None,
        };
    }
    (bits != 0 && bits <= ACCESS_ALL).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    fn rule(allow: bool, class: LinuxDeviceType, numbers: (i64, i64), access: &str) -> LinuxDeviceCgroup {
        LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(class)
            .major(numbers.0)
            .minor(numbers.1)
            .access(access.to_owned())
            .build()
            .unwrap()
    }

    #[test]
    fn a_rule_about_all_forgets_those_before_it() {
        let rules = DeviceRules::from_oci(&[
            rule(true, LinuxDeviceType::C, (1, 3), "r"),
            rule(false, LinuxDeviceType::A, (-1, -1), "rwm"),
            rule(true, LinuxDeviceType::C, (1, 3), "r"),
            rule(true, LinuxDeviceType::C, (1, 3), "w"),
            rule(true, LinuxDeviceType::B, (-1, -1), "m"),
            rule(true, LinuxDeviceType::C, (10, 229), "rwm"),
            rule(false, LinuxDeviceType::C, (10, 229), "rwm"),
        ])
        .unwrap();
        assert!(!rules.is_allowed_by_default);
        let null = DeviceException {
            class: DeviceClass::Character,
            major: Some(1),
            minor: Some(3),
            access: ACCESS_READ | ACCESS_WRITE,
        };
        let make =
            DeviceException { class: DeviceClass::Block, major: None, minor: None, access: ACCESS_MAKE };
        assert_eq!(rules.exceptions, [null, make]);
    }

    #[test]
    fn nonsense_is_refused_and_nothing_forbids_nothing() {
        assert!(DeviceRules::from_oci(&[rule(true, LinuxDeviceType::C, (-2, 0), "r")]).is_err());
        assert!(DeviceRules::from_oci(&[rule(true, LinuxDeviceType::C, (1 << 40, 0), "r")]).is_err());
        assert!(DeviceRules::from_oci(&[rule(true, LinuxDeviceType::C, (1, 0), "x")]).is_err());
        assert!(DeviceRules::from_oci(&[rule(true, LinuxDeviceType::C, (1, 0), "")]).is_err());
        assert!(DeviceRules::from_oci(&[]).unwrap().allow_everything());
    }
}
