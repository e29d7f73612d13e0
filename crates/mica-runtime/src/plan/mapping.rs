//! Which ids of the host the ids of a container are (user_namespaces(7)).

use super::container::PlanError;
use oci_spec::runtime::{Linux, LinuxIdMapping};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A run of ids that are mapped one to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdRange {
    /// The first as the container sees it.
    pub(crate) inside: u32,
    /// The first as the host sees it.
    pub(crate) outside: u32,
    /// How many.
    pub(crate) count: u32,
}

/// The ids of a container in a user namespace of its own; the container's root is always mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IdMaps {
    pub(crate) users: Vec<IdRange>,
    pub(crate) groups: Vec<IdRange>,
}

impl IdMaps {
    /// Those of a document, if it has any.
    pub(super) fn from_oci(linux: &Linux) -> Result<Option<Self>, PlanError> {
        let ranges = |field, mappings: &Option<Vec<LinuxIdMapping>>| -> Result<Vec<IdRange>, PlanError> {
            let ranges: Vec<IdRange> = mappings.iter().flatten().map(range).collect();
            check(field, &ranges).map(|()| ranges)
        };
        if linux.uid_mappings().as_ref().is_none_or(Vec::is_empty)
            && linux.gid_mappings().as_ref().is_none_or(Vec::is_empty)
        {
            return Ok(None);
        }
        Ok(Some(Self {
            users: ranges("linux.uidMappings", linux.uid_mappings())?,
            groups: ranges("linux.gidMappings", linux.gid_mappings())?,
        }))
    }

    /// The container's root as the host sees it: user and group.
    pub(crate) fn root(&self) -> (u32, u32) {
        (outside(&self.users, 0).unwrap_or(u32::MAX), outside(&self.groups, 0).unwrap_or(u32::MAX))
    }

    /// A user of the container as the host sees it.
    pub(crate) fn user(&self, inside: u32) -> Option<u32> {
        outside(&self.users, inside)
    }

    /// A group of the container as the host sees it.
    pub(crate) fn group(&self, inside: u32) -> Option<u32> {
        outside(&self.groups, inside)
    }
}

/// The text that the kernel takes in `/proc/PID/uid_map` and `gid_map`.
pub(crate) fn map_text(ranges: &[IdRange]) -> String {
    ranges.iter().fold(String::new(), |mut text, range| {
        let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.count);
        text
    })
}

/// The root of a process in another user namespace than ours as the host sees it: user and group;
/// `None` when it is in ours.
pub(crate) fn root_of(pid: u32) -> Option<(u32, u32)> {
    let own = rustix::fs::stat("/proc/self/ns/user").ok()?;
    let other = rustix::fs::stat(format!("/proc/{pid}/ns/user")).ok()?;
    if (own.st_dev, own.st_ino) == (other.st_dev, other.st_ino) {
        return None;
    }
    let root = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        outside(&parse(&text), 0).unwrap_or(u32::MAX)
    };
    Some((root("uid_map"), root("gid_map")))
}

fn parse(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let mut next = || numbers.next()?.ok();
            Some(IdRange { inside: next()?, outside: next()?, count: next()? })
        })
        .collect()
}

fn outside(ranges: &[IdRange], inside: u32) -> Option<u32> {
    let range = ranges.iter().find(|range| inside >= range.inside && inside - range.inside < range.count)?;
    range.outside.checked_add(inside - range.inside)
}

fn range(mapping: &LinuxIdMapping) -> IdRange {
    IdRange { inside: mapping.container_id(), outside: mapping.host_id(), count: mapping.size() }
}

/// The kernel refuses what overlaps; what it would not notice is a container without a root.
fn check(field: &'static str, ranges: &[IdRange]) -> Result<(), PlanError> {
    let fits = |range: &IdRange| {
        range.count > 0
            && range.inside.checked_add(range.count - 1).is_some()
            && range.outside.checked_add(range.count - 1).is_some_and(|last| last != u32::MAX)
    };
    let invalid = |value: String| Err(PlanError::Invalid { field, value });
    match ranges.iter().find(|range| !fits(range)) {
        Some(range) => invalid(map_text(&[*range]).trim_end().to_owned()),
        None if outside(ranges, 0).is_none() => invalid("no id for the container's root".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxBuilder, LinuxIdMappingBuilder};

    fn mapping(inside: u32, outside: u32, count: u32) -> LinuxIdMapping {
        let builder = LinuxIdMappingBuilder::default();
        builder.container_id(inside).host_id(outside).size(count).build().unwrap()
    }

    fn maps(users: &[(u32, u32, u32)]) -> Result<Option<IdMaps>, PlanError> {
        let users: Vec<LinuxIdMapping> = users.iter().map(|&(a, b, c)| mapping(a, b, c)).collect();
        let linux = LinuxBuilder::default().uid_mappings(users).gid_mappings(vec![mapping(0, 200_000, 10)]);
        IdMaps::from_oci(&linux.build().unwrap())
    }

    #[test]
    fn ids_are_found_in_their_ranges() {
        let maps = maps(&[(0, 100_000, 1000), (1000, 5000, 1)]).unwrap().unwrap();
        assert_eq!(maps.root(), (100_000, 200_000));
        assert_eq!(maps.user(999), Some(100_999));
        assert_eq!(maps.user(1000), Some(5000));
        assert_eq!(maps.user(1001), None);
        assert_eq!(maps.group(10), None);
        assert_eq!(map_text(&maps.users), "0 100000 1000\n1000 5000 1\n");
        assert_eq!(parse("         0     100000       1000\n"), [maps.users[0]]);
    }

    #[test]
    fn a_container_without_a_root_and_impossible_ranges_are_refused() {
        for ranges in [&[(1, 100_000, 10)][..], &[(0, 1, 0)], &[(0, u32::MAX, 1)], &[(u32::MAX, 0, 2)], &[]] {
            assert!(maps(ranges).is_err(), "{ranges:?}");
        }
        assert!(maps(&[(0, 0, u32::MAX)]).is_ok(), "all ids of the host, as `keep-id` maps them");
    }

    #[test]
    fn this_process_is_in_its_own_user_namespace() {
        assert_eq!(root_of(std::process::id()), None);
    }
}
