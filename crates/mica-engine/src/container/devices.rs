//! Devices of a container: those that all have, `--device`, `--device-cgroup-rule`, and the host's for `--privileged`.

use crate::error::{Error, Result};
use mica_api::types::host_config::{DeviceMapping, HostConfig};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The nodes that a container gets beside the usual ones, and what it may do to which device.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    pub(crate) nodes: Vec<LinuxDevice>,
    pub(crate) rules: Vec<LinuxDeviceCgroup>,
}

impl Devices {
    /// Looks the wished devices up on the host.
    pub(crate) fn of(host: &HostConfig) -> Result<Self> {
        let mut devices = Self::default();
        let mappings = host.resources.devices.as_deref().unwrap_or_default();
        if host.privileged {
            // Without a rule a cgroup forbids nothing.
            devices.add_directory(Path::new("/dev"), Path::new("/dev"), None)?;
            for mapping in mappings.iter().filter(|mapping| mapping.path_on_host != mapping.path_in_container)
            {
                devices.add_mapping(mapping)?;
            }
            devices.rules.clear();
            return Ok(devices);
        }
        devices.rules = default_rules().map_err(invalid)?;
        for mapping in mappings {
            devices.add_mapping(mapping)?;
        }
        for typed in host.resources.device_cgroup_rules.iter().flatten() {
            devices.rules.push(parse_rule(typed)?);
        }
        Ok(devices)
    }

    /// Those of further mappings, and nothing else.
    pub(crate) fn of_mappings(mappings: &[DeviceMapping]) -> Result<Self> {
        let mut devices = Self::default();
        mappings.iter().try_for_each(|mapping| devices.add_mapping(mapping))?;
        Ok(devices)
    }

    fn add_mapping(&mut self, mapping: &DeviceMapping) -> Result<()> {
        let path = Path::new(&mapping.path_on_host);
        let custom = |reason: &str| {
            Error::invalid(format!(
                "error gathering device information while adding custom device \"{}\": {reason}",
                mapping.path_on_host
            ))
        };
        // A link is given as the device that it leads to, under the name that was asked for.
        let resolved = fs::canonicalize(path).map_err(|error| custom(&reason(&error)))?;
        let status = fs::symlink_metadata(&resolved).map_err(|error| custom(&reason(&error)))?;
        let inside = Path::new(&mapping.path_in_container);
        if status.is_dir() {
            let before = self.nodes.len();
            self.add_directory(&resolved, inside, Some(&mapping.cgroup_permissions))?;
            return if self.nodes.len() > before { Ok(()) } else { Err(custom("not a device node")) };
        }
        if !self.add_node(&status, inside, Some(&mapping.cgroup_permissions))? {
            return Err(custom("not a device node"));
        }
        Ok(())
    }

    /// Adds what is below a directory of the host. What vanishes or cannot be read meanwhile is left out.
    fn add_directory(&mut self, directory: &Path, inside: &Path, access: Option<&str>) -> Result<()> {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let (Some(name), Ok(status)) = (path.file_name(), fs::symlink_metadata(&path)) else { continue };
            let place = inside.join(name);
            if status.is_dir() {
                let is_left_out = LEFT_OUT.iter().any(|left_out| name == *left_out);
                if !is_left_out {
                    self.add_directory(&path, &place, access)?;
                }
            } else if path != Path::new("/dev/console") {
                self.add_node(&status, &place, access)?;
            }
        }
        Ok(())
    }

    /// Adds a device; `false` for what is none.
    fn add_node(&mut self, status: &fs::Metadata, inside: &Path, access: Option<&str>) -> Result<bool> {
        let kind = status.file_type();
        let class = match (kind.is_char_device(), kind.is_block_device()) {
            (true, _) => LinuxDeviceType::C,
            (_, true) => LinuxDeviceType::B,
            _ => return Ok(false),
        };
        let major = i64::from(rustix::fs::major(status.rdev()));
        let minor = i64::from(rustix::fs::minor(status.rdev()));
        let node = LinuxDeviceBuilder::default()
            .path(inside)
            .typ(class)
            .major(major)
            .minor(minor)
            .file_mode(status.mode() & 0o7777)
            .uid(status.uid())
            .gid(status.gid())
            .build();
        self.nodes.push(node.map_err(invalid)?);
        if let Some(access) = access {
            self.rules.push(rule(class, (Some(major), Some(minor)), access).map_err(invalid)?);
        }
        Ok(true)
    }
}

/// Refuses rules and mappings that cannot be read; whether a device exists is asked at the start.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    for typed in host.resources.device_cgroup_rules.iter().flatten() {
        parse_rule(typed)?;
    }
    for mapping in host.resources.devices.iter().flatten() {
        let inside = &mapping.path_in_container;
        if !inside.starts_with('/') || inside.contains('\0') || inside.split('/').any(|part| part == "..") {
            return Err(Error::invalid(format!("{inside} is not an absolute path")));
        }
        let access = mapping.cgroup_permissions.as_str();
        if access.is_empty() || !access.bytes().all(|letter| b"rwm".contains(&letter)) {
            return Err(Error::invalid(format!("bad mode specified: {access}")));
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn invalid(source: OciSpecError) -> Error {
    Error::invalid(format!("the devices are not valid: {source}"))
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => error.to_string(),
    }
}

fn rule(
    class: LinuxDeviceType,
    (major, minor): (Option<i64>, Option<i64>),
    access: &str,
) -> std::result::Result<LinuxDeviceCgroup, OciSpecError> {
    LinuxDeviceCgroupBuilder::default()
        .allow(true)
        .typ(class)
        .major(major.unwrap_or(ANY))
        .minor(minor.unwrap_or(ANY))
        .access(access.to_owned())
        .build()
}

/// Nothing, but making nodes and using the harmless ones.
fn default_rules() -> std::result::Result<Vec<LinuxDeviceCgroup>, OciSpecError> {
    let nothing = LinuxDeviceCgroupBuilder::default()
        .allow(false)
        .typ(LinuxDeviceType::A)
        .access("rwm".to_owned())
        .build()?;
    let mut rules = Vec::with_capacity(3 + USUAL.len());
    rules.push(nothing);
    rules.push(rule(LinuxDeviceType::C, (None, None), "m")?);
    rules.push(rule(LinuxDeviceType::B, (None, None), "m")?);
    for (major, minor) in USUAL {
        rules.push(rule(LinuxDeviceType::C, (Some(*major), *minor), "rwm")?);
    }
    Ok(rules)
}

/// `c 189:* rw`, as `devices.allow` takes it.
fn parse_rule(typed: &str) -> Result<LinuxDeviceCgroup> {
    let wrong = || Error::invalid(format!("invalid device cgroup rule format: '{typed}'"));
    let mut words = typed.split(' ');
    let (Some(class), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong());
    };
    let class = match class {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(wrong()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse::<u32>().map(|number| Some(i64::from(number))).map_err(|_| wrong())
        }
        _ => Err(wrong()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let is_access = (1..=3).contains(&access.len()) && access.bytes().all(|letter| b"rwm".contains(&letter));
    if !is_access {
        return Err(wrong());
    }
    rule(class, (number(major)?, number(minor)?), access).map_err(invalid)
}

/// A number that stands for all of them.
const ANY: i64 = -1;

/// null, zero, full, random, urandom, tty, console, ptmx and the terminals: what docker and runc allow.
const USUAL: &[(i64, Option<i64>)] = &[
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// Directories in `/dev` that have other file systems in them, or state of other programs.
const LEFT_OUT: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

#[cfg(test)]
mod tests {
    use super::*;
    use mica_api::types::host_config::Resources;

    fn host(mapping: (&str, &str, &str)) -> HostConfig {
        let (path_on_host, path_in_container, cgroup_permissions) =
            (mapping.0.to_owned(), mapping.1.to_owned(), mapping.2.to_owned());
        let mapping = DeviceMapping { path_on_host, path_in_container, cgroup_permissions };
        let resources = Resources { devices: Some(vec![mapping]), ..Default::default() };
        HostConfig { resources, ..Default::default() }
    }

    #[test]
    fn a_device_is_a_node_and_a_rule() {
        let devices = Devices::of(&host(("/dev/null", "/dev/mine", "r"))).unwrap();
        assert_eq!(devices.nodes[0].path(), Path::new("/dev/mine"));
        assert_eq!((devices.nodes[0].major(), devices.nodes[0].minor()), (1, 3));
        assert_eq!(devices.rules.last().unwrap().to_string(), "c 1:3 r");
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for (path, reason) in
            [("/nonexistent", "no such file or directory"), ("/etc/passwd", "not a device node")]
        {
            let error = Devices::of(&host((path, path, "rwm"))).unwrap_err().to_string();
            assert!(error.contains("while adding custom device") && error.contains(reason), "{error}");
        }
        assert!(check(&host(("/dev/null", "dev/null", "r"))).is_err());
        assert!(check(&host(("/dev/null", "/../null", "r"))).is_err());
    }

    #[test]
    fn rules_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_rule("c 189:* rmw").unwrap().minor(), Some(ANY));
        for wrong in [
            "",
            "c 1:3",
            "x 1:3 r",
            "c 1 r",
            "c 1:3 z",
            "c 1:3 rwmr",
            "c a:3 r",
            "c 1:3  r",
            "c 99999999999:1 r",
        ] {
            assert!(parse_rule(wrong).is_err(), "{wrong:?}");
        }
    }
}
