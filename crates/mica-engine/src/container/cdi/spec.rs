//! Files of the Container Device Interface: what a vendor says that a container needs for a device.
//!
//! JSON or YAML, version 1.0 of the interface and those before it. An unknown field is an error: what it
//! asks for would be missing in the container without a word.

use serde::Deserialize;
use std::collections::BTreeMap;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SpecFile {
    cdi_version: String,
    /// `vendor.com/class`.
    pub(super) kind: String,
    #[serde(default, deserialize_with = "texts")]
    pub(super) annotations: BTreeMap<String, String>,
    /// For every device of the file.
    #[serde(default)]
    pub(super) container_edits: Edits,
    pub(super) devices: Vec<Device>,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Device {
    pub(super) name: String,
    #[serde(default, deserialize_with = "texts")]
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) container_edits: Edits,
}

/// What changes in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Edits {
    /// `NAME=value` each.
    pub(super) env: Vec<String>,
    pub(super) device_nodes: Vec<DeviceNode>,
    pub(super) mounts: Vec<BindMount>,
    hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    pub(super) additional_groups: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

/// A device node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct DeviceNode {
    /// In the container.
    pub(super) path: String,
    /// On the host, where it is another.
    pub(super) host_path: String,
    /// `b` or `c`; looked up when it or the numbers are missing.
    #[serde(rename = "type")]
    kind: String,
    major: i64,
    minor: i64,
    file_mode: Option<u32>,
    /// Letters of `rwm`; empty is all of them.
    pub(super) permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// A file or directory of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct BindMount {
    pub(super) host_path: String,
    pub(super) container_path: String,
    pub(super) options: Vec<String>,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

/// A program that the vendor wants to be run on the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Hook {
    hook_name: String,
    path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    timeout: Option<i64>,
}

/// Notes: a value without quotes is a text too.
fn texts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let written = BTreeMap::<String, serde_json::Value>::deserialize(from)?;
    let text = |value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(written.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// A reason why a file or a part of it cannot be used.
pub(super) type Reason = String;

/// Versions of the interface that this reader knows.
const VERSIONS: [&str; 10] =
    ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];

/// Reads a file's text; JSON is YAML too, but has better words for what is wrong.
pub(super) fn parse(text: &str, is_json: bool) -> Result<SpecFile, Reason> {
    let file: SpecFile = if is_json {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?
    };
    file.check()?;
    Ok(file)
}

impl SpecFile {
    fn check(&self) -> Result<(), Reason> {
        if !VERSIONS.contains(&self.cdi_version.as_str()) {
            return Err(format!("invalid CDI version {:?}", self.cdi_version));
        }
        let is_kind =
            self.kind.split_once('/').is_some_and(|(vendor, class)| is_vendor(vendor) && is_class(class));
        if !is_kind {
            return Err(format!("invalid kind {:?}", self.kind));
        }
        if self.devices.is_empty() {
            return Err("no devices".to_owned());
        }
        self.container_edits.check()?;
        for (index, device) in self.devices.iter().enumerate() {
            if !is_device(&device.name) {
                return Err(format!("invalid device name {:?}", device.name));
            }
            if self.devices[..index].iter().any(|other| other.name == device.name) {
                return Err(format!("multiple device {:?}", device.name));
            }
            let edits = &device.container_edits;
            if *edits == Edits::default() {
                return Err(format!("invalid device {:?}, empty device edits", device.name));
            }
            edits.check().map_err(|reason| format!("invalid device {:?}: {reason}", device.name))?;
        }
        Ok(())
    }
}

impl Edits {
    fn check(&self) -> Result<(), Reason> {
        if let Some(entry) =
            self.env.iter().find(|entry| entry.split_once('=').is_none_or(|(name, _)| name.is_empty()))
        {
            return Err(format!("invalid environment variable {entry:?}"));
        }
        for node in &self.device_nodes {
            let letters = node.permissions.bytes().all(|letter| b"rwm".contains(&letter));
            if !is_place(&node.path) || !letters || !matches!(node.kind.as_str(), "" | "b" | "c" | "u" | "p")
            {
                return Err(format!("invalid device node {:?}", node.path));
            }
        }
        for mount in &self.mounts {
            if !mount.host_path.starts_with('/') || !is_place(&mount.container_path) {
                return Err(format!("invalid mount {:?} at {:?}", mount.host_path, mount.container_path));
            }
        }
        Ok(())
    }

    /// What of it this engine does not do.
    pub(super) fn refusal(&self) -> Option<Reason> {
        if let Some(hook) = self.hooks.first() {
            return Some(format!(
                "it asks for the {} hook {}, and mica runs no helper programs",
                hook.hook_name, hook.path
            ));
        }
        if self.intel_rdt.is_some() {
            return Some("it asks for Intel RDT, which is not supported".to_owned());
        }
        (!self.net_devices.is_empty())
            .then(|| "it asks for network devices, which are not supported".to_owned())
    }
}

/// An absolute path that stays where it says.
fn is_place(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..")
}

/// `vendor.com/class=name` in its parts; `None` for everything else, such as a path.
pub(super) fn qualified(name: &str) -> Option<(&str, &str)> {
    let (kind, device) = name.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    (is_vendor(vendor) && is_class(class) && is_device(device)).then_some((kind, device))
}

fn is_vendor(text: &str) -> bool {
    is_name(text, "_-.") && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
}

fn is_class(text: &str) -> bool {
    is_name(text, "_-") && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
}

fn is_device(text: &str) -> bool {
    is_name(text, "_-.:")
}

/// Letters and digits at both ends, `others` too between them.
fn is_name(text: &str, others: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric();
    text.starts_with(is_plain)
        && text.ends_with(is_plain)
        && text.chars().all(|letter| is_plain(letter) || others.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const YAML: &str = "cdiVersion: 0.6.0\nkind: vendor.com/class\ndevices:\n- name: one\n  containerEdits:\n    env: [A=b]\n";

    #[test]
    fn both_forms_say_the_same() {
        let json = r#"{"cdiVersion": "0.6.0", "kind": "vendor.com/class",
            "devices": [{"name": "one", "containerEdits": {"env": ["A=b"]}}]}"#;
        let file = parse(YAML, false).unwrap();
        assert_eq!(file, parse(json, true).unwrap());
        assert_eq!(file.devices[0].container_edits.env, ["A=b"]);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let wrong = |from: &str, to: &str| {
            assert!(YAML.contains(from));
            parse(&YAML.replace(from, to), false).unwrap_err()
        };
        assert!(wrong("0.6.0", "9.0.0").contains("invalid CDI version"));
        assert!(wrong("vendor.com/class", "vendor").contains("invalid kind"));
        assert!(wrong("name: one", "name: -one").contains("invalid device name"));
        assert!(wrong("A=b", "Ab").contains("invalid environment variable"));
        assert!(wrong("env: [A=b]", "env: []").contains("empty device edits"));
        assert!(wrong("env: [A=b]", "unknown: []").contains("unknown"));
        assert!(wrong("env: [A=b]", "deviceNodes: [{path: /dev/../x}]").contains("invalid device node"));
        assert!(wrong("env: [A=b]", "mounts: [{hostPath: x, containerPath: /x}]").contains("invalid mount"));
        let hooked = "hooks: [{hookName: createContainer, path: /usr/bin/x, args: [x, y]}]";
        let hooked = parse(&YAML.replace("env: [A=b]", hooked), false).unwrap();
        assert!(hooked.devices[0].container_edits.refusal().unwrap().contains("/usr/bin/x"));
    }

    #[test]
    fn paths_are_no_names() {
        assert_eq!(qualified("vendor.com/class=name"), Some(("vendor.com/class", "name")));
        assert_eq!(qualified("nvidia.com/gpu=0:1"), Some(("nvidia.com/gpu", "0:1")));
        for path in ["/dev/a=b", "dev/a", "a=b", "v/c=", "v/c=-x", "1v/c=x", "v/c=x/y", "/dev/sda:/dev/x=y"] {
            assert_eq!(qualified(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in ".{0,200}", is_json: bool) {
            let _ = parse(&text, is_json);
            let _ = qualified(&text);
        }
    }
}
