//! Devices by the Container Device Interface: `--device vendor.com/class=name` and `--gpus`.
//!
//! Vendors lay files into `/etc/cdi` and `/var/run/cdi`, which say what a container needs for each of
//! their devices. A later directory wins over an earlier one. They are read when a container asks for
//! such a device, and never otherwise; a file that is damaged hinders only those who need it.

mod spec;

use crate::Local;
use crate::container::devices::Devices;
use crate::container::record::Definition;
use crate::error::{Error, Result};
use mica_api::types::host_config::{DeviceMapping, DeviceRequest, HostConfig};
use oci_spec::OciSpecError;
use oci_spec::runtime::{Mount, MountBuilder, Spec};
use spec::{Edits, SpecFile};
use std::path::{Path, PathBuf};

/// The driver's name in a request for devices by their names.
pub(crate) const DRIVER: &str = "cdi";

/// The class of devices that `--gpus` means.
const GPU_CLASS: &str = "gpu";

/// Every number of devices.
const ALL: i64 = -1;

/// The note by which a file makes a device one of a class that builds may ask for.
const CLASS_NOTE: &str = "org.mobyproject.buildkit.device.class";

/// The note by which a file lets every build have a device.
const ALLOWED_NOTE: &str = "org.mobyproject.buildkit.device.autoallow";

/// Where vendors lay their files, where the machine's settings say nothing else.
fn directories() -> Vec<PathBuf> {
    vec![PathBuf::from("/etc/cdi"), PathBuf::from("/var/run/cdi")]
}

impl Local {
    /// Where vendors' files are looked for.
    pub(crate) fn device_directories(&self) -> Result<Vec<String>> {
        let directories = self.config()?.cdi_spec_dirs.clone().unwrap_or_else(directories);
        Ok(directories.iter().map(|directory| directory.to_string_lossy().into_owned()).collect())
    }

    /// The devices that a build's wish means, by their whole names, each with whether every build may have it.
    /// Nothing where there is none.
    pub(crate) fn devices_of_build(&self, wish: &str) -> Result<Vec<(String, bool)>> {
        let directories = self.config()?.cdi_spec_dirs.clone().unwrap_or_else(directories);
        Ok(Registry::read(&directories).wished(wish))
    }

    /// Puts what the vendors of a container's devices ask for into its document.
    pub(crate) fn inject_devices(&self, definition: &Definition, document: &mut Spec) -> Result<()> {
        if definition.host_config.resources.device_requests.is_none() {
            return Ok(());
        }
        let directories = self.config()?.cdi_spec_dirs.clone().unwrap_or_else(directories);
        let injection = Injection::of(&definition.host_config, &directories)?;
        let devices = Devices::of_mappings(&injection.nodes())?;
        let invalid = |source| failed(&format!("the specification is not valid: {source}"));
        injection.apply(document).map_err(invalid)?;
        let Some(linux) = document.linux_mut() else { return Ok(()) };
        let mut nodes = linux.devices().clone().unwrap_or_default();
        nodes.retain(|node| !devices.nodes.iter().any(|new| new.path() == node.path()));
        nodes.extend(devices.nodes);
        linux.set_devices(Some(nodes));
        // Without any rule everything is allowed, as extended privileges have it.
        if let Some(resources) = linux.resources_mut()
            && let Some(mut rules) = resources.devices().clone().filter(|rules| !rules.is_empty())
        {
            rules.extend(devices.rules);
            resources.set_devices(Some(rules));
        }
        Ok(())
    }
}

/// All that a container's devices ask for.
#[derive(Debug, Default)]
struct Injection {
    edits: Vec<Edits>,
}

impl Injection {
    /// Looks the wished devices up.
    fn of(host: &HostConfig, directories: &[PathBuf]) -> Result<Self> {
        let requests = host.resources.device_requests.as_deref().unwrap_or_default();
        let mut injection = Self::default();
        if requests.is_empty() {
            return Ok(injection);
        }
        let registry = Registry::read(directories);
        let mut names = Vec::new();
        for request in requests {
            names.extend(registry.names(request)?);
        }
        let unknown: Vec<&str> =
            names.iter().filter(|name| registry.find(name).is_none()).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(failed(&format!(
                "unresolvable CDI devices {}{}",
                unknown.join(", "),
                registry.damage()
            )));
        }
        let mut files: Vec<&SpecFile> = Vec::new();
        for (file, edits) in names.iter().filter_map(|name| registry.find(name)) {
            injection.edits.push(edits.clone());
            if !files.contains(&file) {
                files.push(file);
                injection.edits.push(file.container_edits.clone());
            }
        }
        match injection.edits.iter().find_map(Edits::refusal) {
            Some(reason) => Err(failed(&reason)),
            None => Ok(injection),
        }
    }

    /// The device nodes. What a file says of their numbers is looked up instead, as the host has it now.
    fn nodes(&self) -> Vec<DeviceMapping> {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        let all = self.edits.iter().flat_map(|edits| &edits.device_nodes);
        all.map(|node| DeviceMapping {
            path_on_host: or(&node.host_path, &node.path),
            path_in_container: node.path.clone(),
            cgroup_permissions: or(&node.permissions, "rwm"),
        })
        .collect()
    }

    /// Puts variables, mounts and groups into a document; nodes are part of its devices already.
    fn apply(&self, document: &mut Spec) -> std::result::Result<(), OciSpecError> {
        for edits in &self.edits {
            let mut mounts = document.mounts().clone().unwrap_or_default();
            for mount in &edits.mounts {
                mounts.push(bind(mount)?);
            }
            document.set_mounts(Some(mounts));
            let Some(process) = document.process_mut() else { continue };
            let mut environment = process.env().clone().unwrap_or_default();
            for entry in &edits.env {
                let name = entry.split('=').next().unwrap_or_default();
                environment.retain(|known| known.split('=').next() != Some(name));
                environment.push(entry.clone());
            }
            process.set_env(Some(environment));
            if !edits.additional_groups.is_empty() {
                let user = process.user_mut();
                let mut groups = user.additional_gids().clone().unwrap_or_default();
                groups.extend(&edits.additional_groups);
                user.set_additional_gids(Some(groups));
            }
        }
        Ok(())
    }
}

fn bind(mount: &spec::BindMount) -> std::result::Result<Mount, OciSpecError> {
    let mut options = mount.options.clone();
    if !options.iter().any(|option| matches!(option.as_str(), "bind" | "rbind")) {
        options.push("rbind".to_owned());
    }
    let kind = if mount.kind.is_empty() { "bind" } else { mount.kind.as_str() };
    MountBuilder::default()
        .destination(&mount.container_path)
        .source(&mount.host_path)
        .typ(kind)
        .options(options)
        .build()
}

/// All files that there are.
#[derive(Debug, Default)]
struct Registry {
    /// The most important last.
    files: Vec<SpecFile>,
    /// Files that cannot be used, and why.
    damaged: Vec<String>,
}

impl Registry {
    fn read(directories: &[PathBuf]) -> Self {
        let mut registry = Self::default();
        for directory in directories {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            paths.iter().for_each(|path| registry.read_file(path));
        }
        registry
    }

    fn read_file(&mut self, path: &Path) {
        let is_json = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => true,
            Some("yaml" | "yml") => false,
            _ => return,
        };
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        match text.and_then(|text| spec::parse(&text, is_json)) {
            Ok(file) => self.files.push(file),
            Err(reason) => self.damaged.push(format!("{}: {reason}", path.display())),
        }
    }

    fn find(&self, name: &str) -> Option<(&SpecFile, &Edits)> {
        let (kind, wanted) = spec::qualified(name)?;
        self.files.iter().rev().filter(|file| file.kind == kind).find_map(|file| {
            let device = file.devices.iter().find(|device| device.name == wanted)?;
            Some((file, &device.container_edits))
        })
    }

    /// The devices that a build's wish means: one by its name, the first or all of a kind, or those of a class.
    fn wished(&self, wish: &str) -> Vec<(String, bool)> {
        let mut found: Vec<(String, bool)> = Vec::new();
        for (file, device) in
            self.files.iter().rev().flat_map(|file| file.devices.iter().map(move |device| (file, device)))
        {
            let name = format!("{}={}", file.kind, device.name);
            let note = |note: &str| device.annotations.get(note).or_else(|| file.annotations.get(note));
            let is_meant = match wish.split_once('=') {
                Some((kind, "*")) => kind == file.kind,
                Some(_) => wish == name,
                None if wish.contains('/') => wish == file.kind && found.is_empty(),
                None => note(CLASS_NOTE).is_some_and(|class| class == wish),
            };
            if is_meant && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, note(ALLOWED_NOTE).is_some_and(|value| value == "true")));
            }
        }
        found
    }

    /// The names that a request means.
    fn names(&self, request: &DeviceRequest) -> Result<Vec<String>> {
        let ids = request.device_ids.as_deref().unwrap_or_default();
        if request.driver == DRIVER {
            return Ok(ids.to_vec());
        }
        let capabilities: Vec<&str> =
            request.capabilities.iter().flatten().flatten().map(String::as_str).collect();
        let unmet = || {
            Error::invalid(format!(
                "could not select device driver {:?} with capabilities: [[{}]]{}",
                request.driver,
                capabilities.join(" "),
                self.damage()
            ))
        };
        let is_gpu = |file: &&SpecFile| {
            let (vendor, class) = file.kind.split_once('/').unwrap_or_default();
            class == GPU_CLASS
                && (request.driver.is_empty() || vendor.split('.').next() == Some(request.driver.as_str()))
        };
        let file = self.files.iter().rev().find(is_gpu).filter(|_| capabilities.contains(&GPU_CLASS));
        let file = file.ok_or_else(unmet)?;
        let all: Vec<&str> = file.devices.iter().map(|device| device.name.as_str()).collect();
        let chosen: Vec<&str> = if !ids.is_empty() {
            ids.iter().map(String::as_str).collect()
        } else if request.count == ALL && all.contains(&"all") {
            vec!["all"]
        } else {
            // Vendors list a device for all of them besides the single ones.
            let single: Vec<&str> = all.into_iter().filter(|name| *name != "all").collect();
            let most = usize::try_from(request.count).unwrap_or(single.len());
            if most > single.len() {
                return Err(unmet());
            }
            single[..most].to_vec()
        };
        Ok(chosen.into_iter().map(|name| format!("{}={name}", file.kind)).collect())
    }

    /// A clue for those whose device may be in a file that cannot be used.
    fn damage(&self) -> String {
        if self.damaged.is_empty() {
            String::new()
        } else {
            format!(" (unusable: {})", self.damaged.join("; "))
        }
    }
}

fn failed(reason: &str) -> Error {
    Error::invalid(format!("CDI device injection failed: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_api::types::host_config::Resources;

    const GPUS: &str = r#"{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
        "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/null"}]}},
            {"name": "1", "containerEdits": {"env": ["GPU=1"]}},
            {"name": "all", "containerEdits": {"env": ["GPU=all"]}}]}"#;

    fn variables(request: DeviceRequest, files: &[(&str, &str)]) -> std::result::Result<Vec<String>, String> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let resources = Resources { device_requests: Some(vec![request]), ..Default::default() };
        let host = HostConfig { resources, ..Default::default() };
        let injection = Injection::of(&host, &[directory.path().to_owned()]);
        let injection = injection.map_err(|error| error.to_string())?;
        Ok(injection.edits.iter().flat_map(|edits| edits.env.clone()).collect())
    }

    fn gpus(count: i64, ids: &[&str]) -> DeviceRequest {
        DeviceRequest {
            count,
            device_ids: Some(ids.iter().map(|&id| id.to_owned()).collect()),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..DeviceRequest::default()
        }
    }

    #[test]
    fn graphics_processors_are_chosen_by_number_name_and_all() {
        let files = [("gpus.json", GPUS)];
        assert_eq!(variables(gpus(-1, &[]), &files).unwrap(), ["GPU=all", "ALL=1"]);
        assert_eq!(variables(gpus(1, &[]), &files).unwrap(), ["ALL=1"]);
        assert_eq!(variables(gpus(2, &[]), &files).unwrap(), ["ALL=1", "GPU=1"]);
        assert_eq!(variables(gpus(0, &["1"]), &files).unwrap(), ["GPU=1", "ALL=1"]);
        for (request, files) in [(gpus(3, &[]), &files[..]), (gpus(-1, &[]), &[])] {
            let words = "could not select device driver \"\" with capabilities: [[gpu]]";
            assert_eq!(variables(request, files).unwrap_err(), words);
        }
    }

    #[test]
    fn builds_ask_for_one_device_the_first_all_or_a_class() {
        let text = "cdiVersion: 0.6.0\nkind: vendor.com/toy\nannotations: {org.mobyproject.buildkit.device.autoallow: true}\n\
            devices:\n- {name: b, containerEdits: {env: [B=1]}}\n\
            - {name: a, annotations: {org.mobyproject.buildkit.device.class: fun}, containerEdits: {env: [A=1]}}\n";
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("toys.yaml"), text).unwrap();
        let registry = Registry::read(&[directory.path().to_owned()]);
        assert!(registry.damaged.is_empty(), "{:?}", registry.damaged);
        let wished = |wish: &str| registry.wished(wish).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(wished("vendor.com/toy=a"), ["vendor.com/toy=a"]);
        assert_eq!(wished("vendor.com/toy"), ["vendor.com/toy=b"]);
        assert_eq!(wished("vendor.com/toy=*"), ["vendor.com/toy=b", "vendor.com/toy=a"]);
        assert_eq!(wished("fun"), ["vendor.com/toy=a"]);
        assert!(wished("vendor.com/other").is_empty() && wished("vendor.com/toy=c").is_empty());
        assert!(registry.wished("fun")[0].1);
    }

    #[test]
    fn a_missing_device_is_named_and_so_is_a_file_that_may_have_it() {
        let request = DeviceRequest {
            driver: DRIVER.to_owned(),
            device_ids: Some(vec!["vendor.com/class=x".to_owned()]),
            ..DeviceRequest::default()
        };
        let error = variables(request, &[("bad.yaml", "kind: ["), ("notes.txt", "")]).unwrap_err();
        assert!(
            error.starts_with("CDI device injection failed: unresolvable CDI devices vendor.com/class=x")
        );
        assert!(error.contains("bad.yaml") && !error.contains("notes.txt"), "{error}");
    }
}
