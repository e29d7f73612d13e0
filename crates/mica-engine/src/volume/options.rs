//! Options of the driver `local`, the only one: what is to be mounted where the data is looked for.

use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the data of a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VolumeSource {
    /// A directory of the store, or of the host.
    Directory { path: PathBuf, is_read_only: bool },
    /// A file system that each container mounts for itself.
    FileSystem {
        /// `nfs`, `tmpfs`, `ext4`…
        kind: String,
        device: String,
        /// As mount(8) takes them.
        options: Vec<String>,
    },
}

/// Refuses any other driver.
pub(crate) fn check_driver(name: &str) -> Result<()> {
    if matches!(name, "" | "local") {
        return Ok(());
    }
    Err(Error::NoSuchVolumeDriver { name: name.to_owned() })
}

/// Refuses options that mean nothing, or that lack what they need.
pub(crate) fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    const KNOWN: [&str; 4] = ["device", "o", "size", "type"];
    if let Some(wrong) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Error::invalid(format!("invalid option: {wrong:?}")));
    }
    if options.contains_key("size") {
        return Err(Error::invalid("quota size requested but no quota support".to_owned()));
    }
    if options.is_empty() {
        return Ok(());
    }
    match ["device", "type"].into_iter().find(|needed| !options.contains_key(*needed)) {
        Some(missing) => Err(Error::invalid(format!("missing required option: {missing:?}"))),
        None => source(options).map(drop),
    }
}

/// What the options of a volume ask for; `None` without any: the store's own directory.
pub(super) fn source(options: &BTreeMap<String, String>) -> Result<Option<VolumeSource>> {
    let option = |name: &str| options.get(name).map_or("", String::as_str);
    let (kind, device) = (option("type"), option("device"));
    if options.is_empty() {
        return Ok(None);
    }
    let words: Vec<&str> = option("o").split(',').filter(|word| !word.is_empty()).collect();
    let is_bind = words.iter().any(|word| matches!(*word, "bind" | "rbind"));
    if is_bind {
        if !device.starts_with('/') {
            return Err(Error::invalid(format!("invalid option: device {device:?} is no absolute path")));
        }
        let is_read_only = words.contains(&"ro");
        return Ok(Some(VolumeSource::Directory { path: device.into(), is_read_only }));
    }
    if kind.is_empty() || matches!(kind, "none" | "overlay" | "proc" | "sysfs" | "cgroup" | "cgroup2") {
        return Err(Error::invalid(format!("invalid option: type {kind:?} cannot be a volume")));
    }
    let options = words.into_iter().map(str::to_owned).collect();
    Ok(Some(VolumeSource::FileSystem { kind: kind.to_owned(), device: device.to_owned(), options }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_need_each_other() {
        check_options(&options(&[])).unwrap();
        check_options(&options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")])).unwrap();
        for (wrong, words) in [
            (&[("type", "tmpfs")][..], "missing required option: \"device\""),
            (&[("device", "/x"), ("o", "bind")], "missing required option: \"type\""),
            (&[("colour", "red")], "invalid option: \"colour\""),
            (&[("size", "1m")], "no quota support"),
            (&[("type", "none"), ("device", "x"), ("o", "bind")], "no absolute path"),
            (&[("type", "proc"), ("device", "proc")], "cannot be a volume"),
        ] {
            assert!(check_options(&options(wrong)).unwrap_err().to_string().contains(words), "{wrong:?}");
        }
    }

    #[test]
    fn a_bind_is_a_directory_and_the_rest_are_file_systems() {
        let source = |pairs: &[(&str, &str)]| source(&options(pairs)).unwrap();
        assert_eq!(source(&[]), None);
        assert_eq!(
            source(&[("type", "none"), ("device", "/srv"), ("o", "bind,ro")]),
            Some(VolumeSource::Directory { path: "/srv".into(), is_read_only: true })
        );
        assert_eq!(
            source(&[("type", "nfs"), ("device", ":/x"), ("o", "addr=10.0.0.1,rw")]),
            Some(VolumeSource::FileSystem {
                kind: "nfs".to_owned(),
                device: ":/x".to_owned(),
                options: vec!["addr=10.0.0.1".to_owned(), "rw".to_owned()],
            })
        );
    }
}
