//! Which cgroup hierarchies this host has mounted, read from `/proc/self/mountinfo` (proc(5)).

use std::path::PathBuf;

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// Version 1 with its controllers.
    Legacy {
        /// Kernel names, or `systemd` for the named hierarchy without any.
        controllers: Vec<String>,
        /// Where it is mounted.
        mount_point: PathBuf,
    },
    /// Version 2.
    Unified {
        /// Where it is mounted.
        mount_point: PathBuf,
    },
}

/// The hierarchies of this host, each once.
pub(crate) fn mounted() -> Vec<Hierarchy> {
    parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    for hierarchy in mountinfo.lines().filter_map(parse_line) {
        let is_known = hierarchies.iter().any(|known| match (known, &hierarchy) {
            (Hierarchy::Unified { .. }, Hierarchy::Unified { .. }) => true,
            (Hierarchy::Legacy { controllers: one, .. }, Hierarchy::Legacy { controllers: other, .. }) => {
                one == other
            }
            _ => false,
        });
        if !is_known {
            hierarchies.push(hierarchy);
        }
    }
    hierarchies
}

fn parse_line(line: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    let kind = after.next()?;
    if !kind.starts_with("cgroup") {
        return None;
    }
    let mount_point = PathBuf::from(unescape(before.split(' ').nth(4)?));
    match kind {
        "cgroup2" => Some(Hierarchy::Unified { mount_point }),
        "cgroup" => {
            let options = after.nth(1)?;
            let controllers = options.split(',').filter_map(controller).map(str::to_owned).collect();
            Some(Hierarchy::Legacy { controllers, mount_point })
        }
        _ => None,
    }
}

/// Of the superblock's options, those that are controllers.
fn controller(option: &str) -> Option<&str> {
    const KNOWN: [&str; 13] = [
        "blkio",
        "cpu",
        "cpuacct",
        "cpuset",
        "devices",
        "freezer",
        "hugetlb",
        "memory",
        "net_cls",
        "net_prio",
        "perf_event",
        "pids",
        "rdma",
    ];
    match option.strip_prefix("name=") {
        Some(name) => Some(name),
        None => KNOWN.into_iter().find(|known| *known == option),
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_hosts_have_both() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
            90 31 0:38 / /elsewhere rw - cgroup2 cgroup2 rw\n";
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(
            parse(text),
            [
                Hierarchy::Legacy {
                    controllers: names(&["cpu", "cpuacct"]),
                    mount_point: "/sys/fs/cgroup/cpu,cpuacct".into()
                },
                Hierarchy::Legacy {
                    controllers: names(&["systemd"]),
                    mount_point: "/sys/fs/cgroup/systemd".into()
                },
                Hierarchy::Unified { mount_point: "/sys/fs/cgroup/unified".into() },
            ]
        );
    }

    #[test]
    fn spaces_in_mount_points_are_unescaped() {
        let line = r"41 31 0:38 / /a\040b rw - cgroup2 cgroup2 rw";
        assert_eq!(parse_line(line), Some(Hierarchy::Unified { mount_point: "/a b".into() }));
    }
}
