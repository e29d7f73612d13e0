//! `--userns`: which ids of the host a container's users are.
//!
//! Docker has one setting for all containers of a daemon (`userns-remap`, here `userns_remap` in the machine's
//! configuration) and `--userns host` against it; podman's `auto` and `keep-id` work per container. What lies on
//! disk keeps the ids that the container sees, so a container may change its map from one start to the next.

use crate::Local;
use crate::config::Config;
use crate::database::query;
use crate::error::{Error, Result};
use mica_api::types::host_config::HostConfig;
use mica_model::ContainerId;
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, Spec,
};
use rusqlite::params;
use std::path::Path;

/// What `--userns` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As the machine's configuration has it.
    Default,
    /// None of its own, whatever the configuration says.
    Host,
    /// A range of its own that no other container has.
    Auto {
        /// How many ids.
        size: u32,
    },
    /// One of its own in which everybody is who they are outside.
    KeepId,
}

/// A run of the host's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    count: u32,
}

impl Range {
    /// One past the last.
    fn end(self) -> u64 {
        u64::from(self.first) + u64::from(self.count)
    }
}

/// The host's ids of a container's users and groups, from its 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMaps {
    users: Vec<Range>,
    groups: Vec<Range>,
}

/// The owner in `/etc/subuid` of the ids that `auto` hands out, which is podman's.
const AUTO_OWNER: &str = "containers";

/// How many ids `auto` takes when nothing is said.
const AUTO_SIZE: u32 = 65_536;

/// The owner in `/etc/subuid` that `userns_remap = "default"` means, which is docker's.
const REMAP_OWNER_DEFAULT: &str = "dockremap";

fn mode(text: &str) -> Result<Mode> {
    let invalid = || Error::invalid(format!("invalid USER mode: {text:?}"));
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    match (name, options) {
        ("", "") => Ok(Mode::Default),
        ("host", "") => Ok(Mode::Host),
        ("keep-id", "") => Ok(Mode::KeepId),
        ("auto", "") => Ok(Mode::Auto { size: AUTO_SIZE }),
        ("auto", options) => match options.strip_prefix("size=").map(str::parse) {
            Some(Ok(size @ 1..)) => Ok(Mode::Auto { size }),
            _ => Err(invalid()),
        },
        _ => Err(invalid()),
    }
}

/// Refuses what a user namespace would make impossible.
pub(crate) fn check(host: &HostConfig, remap: &str) -> Result<()> {
    let is_mapped = match mode(&host.userns_mode)? {
        Mode::Host => false,
        Mode::Default => !remap.is_empty(),
        Mode::Auto { .. } | Mode::KeepId => true,
    };
    if !is_mapped {
        return Ok(());
    }
    if host.privileged {
        return Err(Error::invalid(
            "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode",
        ));
    }
    if host.network_mode == "host" {
        return Err(Error::invalid(
            "cannot share the host's network namespace when user namespaces are enabled",
        ));
    }
    if host.pid_mode == "host" {
        return Err(Error::invalid("cannot share the host PID namespace when user namespaces are enabled"));
    }
    let shared = [&host.network_mode, &host.pid_mode, &host.ipc_mode];
    if shared.iter().any(|mode| mode.starts_with("container:")) || host.ipc_mode == "host" {
        return Err(Error::Unsupported {
            what: "namespaces cannot be shared with a container that has a user namespace of its own (use --userns host)"
                .to_owned(),
        });
    }
    Ok(())
}

impl Local {
    /// The maps of a container about to start; `None` for the host's own user namespace.
    pub(crate) fn id_maps(&self, id: &ContainerId, host: &HostConfig) -> Result<Option<IdMaps>> {
        match mode(&host.userns_mode)? {
            Mode::Host => Ok(None),
            Mode::Default if self.config()?.userns_remap.is_empty() => Ok(None),
            Mode::Default => remapped(self.config()?).map(Some),
            Mode::KeepId => {
                let all = vec![Range { first: 0, count: u32::MAX }];
                Ok(Some(IdMaps { users: all.clone(), groups: all }))
            }
            Mode::Auto { size } => {
                let config = self.config()?;
                let pool = pool(
                    &subordinate(config, "subuid", AUTO_OWNER)?,
                    &subordinate(config, "subgid", AUTO_OWNER)?,
                );
                let ids = vec![self.reserve_ids(id, size, &pool)?];
                Ok(Some(IdMaps { users: ids.clone(), groups: ids }))
            }
        }
    }

    /// The range that a container has, or the first of the pool that is free; it is the container's until it is
    /// removed.
    fn reserve_ids(&self, id: &ContainerId, size: u32, pool: &[Range]) -> Result<Range> {
        self.database().write(|transaction| {
            let mut statement = transaction
                .prepare("SELECT container_id, first, count FROM id_range ORDER BY first")
                .map_err(query)?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, Range { first: row.get(1)?, count: row.get(2)? }))
            });
            let taken: Vec<(String, Range)> =
                rows.and_then(Iterator::collect::<rusqlite::Result<_>>).map_err(query)?;
            if let Some((_, own)) =
                taken.iter().find(|(holder, own)| holder == id.as_str() && own.count == size)
            {
                return Ok(*own);
            }
            let others: Vec<Range> = taken
                .into_iter()
                .filter(|(holder, _)| holder != id.as_str())
                .map(|(_, range)| range)
                .collect();
            let range = first_free(&others, size, pool).ok_or_else(|| {
                Error::state(format!(
                    "no {size} subordinate ids of {AUTO_OWNER:?} are left for --userns auto"
                ))
            })?;
            transaction
                .execute(
                    "INSERT OR REPLACE INTO id_range (container_id, first, count) VALUES (?1, ?2, ?3)",
                    params![id.as_str(), range.first, range.count],
                )
                .map_err(query)?;
            Ok(range)
        })
    }
}

/// The first run of `size` ids in the pool that none of the ranges `taken` (in order) reaches into.
fn first_free(taken: &[Range], size: u32, pool: &[Range]) -> Option<Range> {
    pool.iter().find_map(|place| {
        let mut first = u64::from(place.first);
        for range in taken.iter().filter(|range| range.end() > u64::from(place.first)) {
            if u64::from(range.first) >= first + u64::from(size) {
                break;
            }
            first = first.max(range.end());
        }
        let fits = first + u64::from(size) <= place.end();
        fits.then(|| Some(Range { first: u32::try_from(first).ok()?, count: size })).flatten()
    })
}

/// What both lists have: a container's users and groups get the same ids.
fn pool(users: &[Range], groups: &[Range]) -> Vec<Range> {
    let mut both = Vec::new();
    for (user, group) in users.iter().flat_map(|user| groups.iter().map(move |group| (user, group))) {
        let first = user.first.max(group.first);
        let end = user.end().min(group.end());
        if let Ok(count @ 1..) = u32::try_from(end.saturating_sub(u64::from(first))) {
            both.push(Range { first, count });
        }
    }
    both
}

/// The meaning of `userns_remap`: `default`, `USER` or `USER:GROUP`.
fn remapped(config: &Config) -> Result<IdMaps> {
    let setting = config.userns_remap.as_str();
    let (user, group) = setting.split_once(':').unwrap_or((setting, setting));
    let owner = |name: &'static str, text: &str| match text {
        "" => Err(Error::invalid(format!("userns_remap = {setting:?} names no {name}"))),
        "default" => Ok(REMAP_OWNER_DEFAULT.to_owned()),
        text => Ok(text.to_owned()),
    };
    Ok(IdMaps {
        users: subordinate(config, "subuid", &owner("user", user)?)?,
        groups: subordinate(config, "subgid", &owner("group", group)?)?,
    })
}

/// The subordinate ids of somebody in `/etc/subuid` or `/etc/subgid` (subuid(5)).
fn subordinate(config: &Config, file: &str, owner: &str) -> Result<Vec<Range>> {
    let directory = config.subordinate_ids.as_deref().unwrap_or(Path::new("/etc"));
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let ranges = owned(&text, owner);
    if ranges.is_empty() {
        return Err(Error::State {
            what: format!("no subordinate ids are set aside for {owner:?} in {}", path.display()),
            hint: Some(
                "add a line like `NAME:1000000:1048576` to /etc/subuid and to /etc/subgid (subuid(5)), or use --userns host",
            ),
        });
    }
    Ok(ranges)
}

/// Lines `OWNER:FIRST:COUNT`; anything else is skipped, as shadow's own tools do.
fn owned(text: &str, owner: &str) -> Vec<Range> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().splitn(3, ':');
            let is_owner = fields.next()? == owner;
            let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
            (is_owner && range.count > 0 && range.end() <= u64::from(u32::MAX)).then_some(range)
        })
        .collect()
}

/// Puts the maps into a document: a namespace of its own, the files of the store shown with the container's ids,
/// and none of the settings that only the host's users may make.
pub(crate) fn apply(spec: &mut Spec, maps: &IdMaps, store: &Path) -> Result<()> {
    change(spec, maps, store).map_err(|source| {
        Error::invalid(format!("the maps of the container's users are not valid: {source}"))
    })
}

fn change(spec: &mut Spec, maps: &IdMaps, store: &Path) -> std::result::Result<(), OciSpecError> {
    let mut mounts: Vec<Mount> = spec.mounts().clone().unwrap_or_default();
    for mount in &mut mounts {
        if mount.source().as_ref().is_some_and(|source| source.starts_with(store)) {
            let mut options = mount.options().clone().unwrap_or_default();
            options.push("idmap".to_owned());
            mount.set_options(Some(options));
        }
    }
    spec.set_mounts(Some(mounts));
    let Some(mut linux) = spec.linux().clone() else { return Ok(()) };
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build()?);
    let mut sysctls = linux.sysctl().clone().unwrap_or_default();
    // Groups up to the highest number are not mapped here.
    sysctls.remove("net.ipv4.ping_group_range");
    linux
        .set_namespaces(Some(namespaces))
        .set_sysctl(Some(sysctls))
        .set_uid_mappings(Some(mappings(&maps.users)?))
        .set_gid_mappings(Some(mappings(&maps.groups)?));
    spec.set_linux(Some(linux));
    Ok(())
}

/// The ranges one after the other, from 0 on.
fn mappings(ranges: &[Range]) -> std::result::Result<Vec<LinuxIdMapping>, OciSpecError> {
    let mut inside = 0_u32;
    let mut mappings = Vec::new();
    for range in ranges {
        let builder = LinuxIdMappingBuilder::default();
        mappings.push(builder.container_id(inside).host_id(range.first).size(range.count).build()?);
        inside = inside.saturating_add(range.count);
    }
    Ok(mappings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u32, count: u32) -> Range {
        Range { first, count }
    }

    #[test]
    fn modes_are_those_of_docker_and_podman() {
        assert_eq!(mode("").unwrap(), Mode::Default);
        assert_eq!(mode("host").unwrap(), Mode::Host);
        assert_eq!(mode("keep-id").unwrap(), Mode::KeepId);
        assert_eq!(mode("auto").unwrap(), Mode::Auto { size: 65_536 });
        assert_eq!(mode("auto:size=1000").unwrap(), Mode::Auto { size: 1000 });
        for wrong in ["private", "host:x", "auto:size=0", "auto:size=x", "auto:uidmapping=1", "keep-id:uid=3"]
        {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_are_read_as_subuid_describes_them() {
        let text = "alice:100000:65536\ncontainers:1000000:10\n# no\nbroken\ncontainers:x:1\ncontainers:5:0\n\
                    containers:4294967290:10\ncontainers:2000000:20";
        assert_eq!(owned(text, "containers"), [range(1_000_000, 10), range(2_000_000, 20)]);
        assert_eq!(owned(text, "bob"), []);
    }

    #[test]
    fn only_ids_of_both_kinds_are_handed_out() {
        assert_eq!(pool(&[range(100, 50)], &[range(120, 100), range(10, 20)]), [range(120, 30)]);
        assert_eq!(pool(&[range(100, 50)], &[range(150, 100)]), []);
    }

    #[test]
    fn holes_are_used_and_ranges_never_meet() {
        let pool = [range(100, 30), range(500, 20)];
        assert_eq!(first_free(&[], 10, &pool), Some(range(100, 10)));
        assert_eq!(first_free(&[range(100, 10), range(120, 10)], 10, &pool), Some(range(110, 10)));
        assert_eq!(first_free(&[range(95, 10), range(110, 10)], 10, &pool), Some(range(120, 10)));
        assert_eq!(first_free(&[range(100, 25)], 10, &pool), Some(range(500, 10)));
        assert_eq!(first_free(&[range(100, 25), range(505, 15)], 10, &pool), None);
        assert_eq!(first_free(&[], u32::MAX, &[range(1, u32::MAX - 1)]), None);
    }

    #[test]
    fn ranges_follow_one_another_inside() {
        let mappings = mappings(&[range(1000, 10), range(5000, 5)]).unwrap();
        assert_eq!((mappings[1].container_id(), mappings[1].host_id(), mappings[1].size()), (10, 5000, 5));
    }

    #[test]
    fn what_needs_the_hosts_root_is_refused_under_a_map_only() {
        let host = |userns: &str, privileged| HostConfig {
            userns_mode: userns.to_owned(),
            privileged,
            ..HostConfig::default()
        };
        assert!(check(&host("", true), "").is_ok());
        assert!(check(&host("", true), "default").is_err());
        assert!(check(&host("host", true), "default").is_ok());
        assert!(check(&host("auto", true), "").is_err());
        assert!(check(&host("auto", false), "").is_ok());
        let network = HostConfig { network_mode: "host".to_owned(), ..host("auto", false) };
        assert!(check(&network, "").unwrap_err().to_string().contains("network namespace"));
    }

    proptest::proptest! {
        #[test]
        fn hostile_lists_give_only_ranges_that_exist(text in "(?:[a-c:0-9 \n]{0,40}){0,4}") {
            for range in owned(&text, "a") {
                proptest::prop_assert!(range.count > 0 && range.end() <= u64::from(u32::MAX));
            }
        }
    }
}
