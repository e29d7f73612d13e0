//! What the host has and can: processors, memory nodes, controllers of cgroups.

use std::path::Path;

/// Processors that can be chosen, as the kernel lists them: `0-3,6`.
pub(crate) fn processors() -> String {
    listed("/sys/devices/system/cpu/online")
}

/// Memory nodes that can be chosen; a kernel without NUMA has one and lists none.
pub(crate) fn memory_nodes() -> String {
    listed("/sys/devices/system/node/online")
}

fn listed(path: &str) -> String {
    let list = std::fs::read_to_string(path).unwrap_or_default();
    if list.trim().is_empty() { "0".to_owned() } else { list.trim().to_owned() }
}

/// Whether each number of `wished` is in `available`; both as cpuset(7) writes lists.
pub(crate) fn has_all(available: &str, wished: &str) -> bool {
    let available: Vec<_> = ranges(available).collect();
    // A range must lie in one range of the kernel's list, which joins neighbours.
    ranges(wished).all(|(low, high)| {
        low <= high && available.iter().any(|(first, last)| (first..=last).contains(&&low) && high <= *last)
    })
}

fn ranges(list: &str) -> impl Iterator<Item = (u32, u32)> {
    list.split(',').filter_map(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some((low.trim().parse().ok()?, high.trim().parse().ok()?))
    })
}

/// The controllers of cgroups that the kernel has switched on.
#[derive(Debug)]
pub(crate) struct Controllers {
    names: Vec<String>,
    is_unified: bool,
}

impl Controllers {
    /// Of this host (cgroups(7)).
    pub(crate) fn read() -> Self {
        match std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
            Ok(words) => {
                Self { names: words.split_whitespace().map(str::to_owned).collect(), is_unified: true }
            }
            Err(_) => Self::of_table(&std::fs::read_to_string("/proc/cgroups").unwrap_or_default()),
        }
    }

    /// Lines of name, hierarchy, number of groups, and 1 if it is on.
    fn of_table(table: &str) -> Self {
        let lines = table.lines().filter(|line| !line.starts_with('#'));
        let enabled = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?;
            (words.next_back() == Some("1")).then(|| name.to_owned())
        });
        Self { names: enabled.collect(), is_unified: false }
    }

    /// Whether this one is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// `2` where the unified hierarchy is the only one, else `1`.
    pub(crate) const fn version(&self) -> &'static str {
        if self.is_unified { "2" } else { "1" }
    }

    /// Whether swap can be limited apart from memory.
    pub(crate) fn limits_swap(&self) -> bool {
        self.has("memory")
            && (self.is_unified || Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists())
    }

    /// Whether the kernel can be kept from killing where memory is short; the unified hierarchy has no such switch.
    pub(crate) fn spares_on_shortage(&self) -> bool {
        !self.is_unified && self.has("memory")
    }
}

/// Whether packets are handed on between networks.
pub(crate) fn forwards_ipv4() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wished_processors_must_all_be_there() {
        for (available, wished, expected) in [
            ("0-1", "0", true),
            ("0-1", "0-1", true),
            ("0-1", "1,0", true),
            ("0-1", "2", false),
            ("0-1", "0-2", false),
            ("0-1", "1-0", false),
            ("0-3,8-11", "2-3,9", true),
            ("0-3,8-11", "3-8", false),
            ("0", "", true),
        ] {
            assert_eq!(has_all(available, wished), expected, "{wished} of {available}");
        }
    }

    #[test]
    fn controllers_that_are_off_are_not_there() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\nmemory\t0\t1\t0\n";
        let controllers = Controllers::of_table(table);
        assert!(controllers.has("cpuset") && !controllers.has("memory") && !controllers.has("pids"));
        assert_eq!(controllers.version(), "1");
    }
}
