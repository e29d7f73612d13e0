//! `create`: an image and wishes become a container that can be started.

use crate::container::log_driver;
use crate::container::record::{Definition, Record, Stage};
use crate::container::remove::RemovedVolumes;
use crate::container::security::Security;
use crate::disk::{ContainerDisk, make_directory, make_layer_directory, write_shown_file};
use crate::error::{Error, Result};
use crate::image::record::ImageRecord;
use crate::mount::MountRecord;
use crate::network::endpoint::Endpoint;
use crate::network::record::DEFAULT;
use crate::{Local, events, system, volume};
use mica_api::types::container::{ContainerConfig, CreateRequest, CreateResponse};
use mica_api::types::host_config::HostConfig;
use mica_image::ImageConfig;
use mica_model::name::ContainerName;
use mica_model::{ContainerId, Timestamp};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A container that was created, with what a start in the same breath needs.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) record: Record,
    pub(crate) definition: Definition,
    pub(crate) warnings: Vec<String>,
    /// The container's lock, so that a start in the same breath is not taken for a run that ended.
    pub(crate) lock: std::fs::File,
}

impl Local {
    /// Creates a container and answers its id.
    pub(crate) fn create(&self, request: &CreateRequest) -> Result<CreateResponse> {
        let created = self.create_as(request, ContainerId::from_random(system::random()), Stage::Created)?;
        Ok(CreateResponse { id: created.record.id.to_string(), warnings: created.warnings })
    }

    /// Creates a container with a given id, recorded at `stage` (a run records it as running at
    /// once, which spares the start a second write).
    pub(crate) fn create_as(
        &self,
        request: &CreateRequest,
        id: ContainerId,
        stage: Stage,
    ) -> Result<Created> {
        let image = self.image_for(&request.config.image, &request.platform)?;
        let image_config = self.image_config(&image)?;
        let (definition, warnings) = self.define(request, &image, &image_config, &id)?;
        let places = self.wished_places(request, &definition.host_config.network_mode, &id)?;
        let now = Timestamp::from(std::time::SystemTime::now());
        let mut record = Record {
            name: String::new(),
            image: request.config.image.clone(),
            image_id: image.id.to_string(),
            command: shown_command(&definition.command),
            created: now,
            labels: definition.config.labels.clone().unwrap_or_default(),
            network_mode: definition.host_config.network_mode.clone(),
            auto_remove: definition.host_config.auto_remove,
            stage,
            started: if stage == Stage::Running { now } else { Timestamp::NEVER },
            finished: Timestamp::NEVER,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            id,
        };
        let name = chosen_name(&request.name)?;
        record.name = name.as_ref().map_or_else(String::new, |name| name.as_str().to_owned());
        let subject = record.log_subject(&definition.config);
        log_driver::check(&definition.host_config.log_config, &subject, &self.disk.container(&record.id))?;
        let lock = match self.prepare_directory(&record.id, &definition) {
            Ok(lock) => lock,
            Err(error) => {
                self.discard_directory(&record.id);
                // An image removed since it was found has taken its layers along.
                return match ImageRecord::by_id(&self.database(), &image.id) {
                    Ok(None) => Err(Error::NoSuchImage { reference: request.config.image.clone() }),
                    _ => Err(error),
                };
            }
        };
        if let Err(error) = self.store(&mut record, (&definition, &places), (&image, name.as_ref())) {
            drop(lock);
            self.discard_directory(&record.id);
            definition.mounts.iter().filter_map(MountRecord::volume).for_each(|volume| {
                self.discard_volume(&volume.name);
            });
            return Err(error);
        }
        if let Err(error) = self.fill_volumes(&definition) {
            record.stage = Stage::Created;
            // The first error is the one to tell.
            let _ = self.remove_record(&mut record, RemovedVolumes::Unnamed);
            return Err(error);
        }
        self.events.append(&events::container(&record, "create", &[]));
        Ok(Created { record, definition, warnings, lock })
    }

    /// Fills the image's defaults in and checks the whole.
    fn define(
        &self,
        request: &CreateRequest,
        image: &ImageRecord,
        image_config: &ImageConfig,
        id: &ContainerId,
    ) -> Result<(Definition, Vec<String>)> {
        let mut config = request.config.clone();
        merge_image_config(&mut config, image_config);
        let mut host_config = request.host_config.clone();
        if self.config()?.no_new_privileges {
            // In front, so that the container's own word is the last.
            host_config.security_opt.get_or_insert_default().insert(0, "no-new-privileges".to_owned());
        }
        let warnings = self.check_host_config(&mut host_config)?;
        check_config(&config)?;
        crate::container::sharing::check_names(&config, &host_config)?;
        self.check_security(&host_config)?;
        let mode = host_config.network_mode.as_str();
        let joined = mode.strip_prefix("container:");
        if joined.is_some() && !config.hostname.is_empty() {
            return Err(Error::invalid("conflicting options: hostname and the network mode"));
        }
        if config.hostname.is_empty() {
            config.hostname = match (mode, joined) {
                (_, Some(other)) => {
                    let database = self.database();
                    Record::find(&database, other)?.definition(&database)?.config.hostname
                }
                ("host", None) => system::host_name(),
                _ if host_config.uts_mode == crate::container::sharing::HOST => system::host_name(),
                _ => id.short().to_owned(),
            };
        }
        let command = command(&config)?;
        let mut layers = vec![self.disk.mountpoints()];
        layers.extend(self.layer_directories(image)?);
        let mounts = self.resolve_mounts(&config, &host_config)?;
        Ok((Definition { version: 1, config, host_config, command, layers, mounts }, warnings))
    }

    pub(crate) fn check_host_config(&self, host_config: &mut HostConfig) -> Result<Vec<String>> {
        let mode = host_config.network_mode.as_str();
        match mode {
            "default" | "" => host_config.network_mode = DEFAULT.to_owned(),
            "none" | "host" => {}
            _ => match mode.strip_prefix("container:") {
                Some(other) => {
                    let other = Record::find(&self.database(), other)?;
                    host_config.network_mode = format!("container:{}", other.id);
                }
                None => drop(self.find_network(mode)?),
            },
        }
        log_driver::fill_in(&mut host_config.log_config, self.config()?);
        crate::network::ports::check(host_config)?;
        crate::network::resolution::check(host_config)?;
        crate::container::rights::check(host_config)?;
        crate::container::user_namespace::check(host_config, &self.config()?.userns_remap)?;
        crate::container::devices::check(host_config)?;
        crate::container::settings::check(host_config)?;
        crate::container::restart::check_host(host_config)?;
        self.check_sharing(host_config)?;
        crate::container::limits::check(&mut host_config.resources)
    }

    /// So that a profile that cannot be carried out is told when the container is made.
    fn check_security(&self, host_config: &HostConfig) -> Result<()> {
        if host_config.security_opt.is_none() {
            return Ok(());
        }
        Security::of(host_config)?.filter(&self.disk, 0).map(drop)
    }

    /// Makes the container's directory with its lock held, so that nobody tidies it away before
    /// it is recorded.
    fn prepare_directory(&self, id: &ContainerId, definition: &Definition) -> Result<std::fs::File> {
        let disk = self.disk.container(id);
        let lock = lock_new_directory(&disk, id)?;
        make_layer_directory(&disk.upper())?;
        take_root_attributes(&disk.upper(), definition.layers.last())?;
        make_layer_directory(&disk.work())?;
        self.write_host_files(&disk, definition)?;
        Ok(lock)
    }

    /// Writes the files that tell a container its name and those of others.
    #[expect(clippy::unused_self, reason = "networks will tell names that the engine knows")]
    pub(crate) fn write_host_files(&self, disk: &ContainerDisk, definition: &Definition) -> Result<()> {
        write_shown_file(&disk.hostname(), format!("{}\n", definition.config.hostname).as_bytes())?;
        write_shown_file(&disk.hosts(), hosts(definition).as_bytes())?;
        let resolvers = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        write_shown_file(&disk.resolv_conf(), &resolvers)
    }

    fn store(
        &self,
        record: &mut Record,
        (definition, places): (&Definition, &[Endpoint]),
        (image, name): (&ImageRecord, Option<&ContainerName>),
    ) -> Result<()> {
        let mut attempt = 0;
        loop {
            record.name = match name {
                Some(name) => name.as_str().to_owned(),
                None => made_up_name(attempt),
            };
            let stored = self.database().write(|transaction| {
                // An image removed since it was found takes its layers along.
                image.check_exists(transaction)?;
                record.insert(transaction, definition)?;
                places.iter().try_for_each(|place| place.save(transaction))?;
                volume::record_mounts(transaction, &self.disk, &record.id, &definition.mounts)
            });
            match stored {
                Err(Error::NameInUse { .. }) if name.is_none() && attempt < 64 => attempt += 1,
                Err(error) => return Err(error),
                Ok(made) => {
                    for volume in &made {
                        self.events.append(&events::volume("create", volume, &[]));
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// Makes a container's directory and locks it; one that was taken for a leftover before the lock was
/// held is made again.
pub(crate) fn lock_new_directory(disk: &ContainerDisk, id: &ContainerId) -> Result<std::fs::File> {
    loop {
        make_directory(disk.directory())?;
        match crate::lock::container(disk, id) {
            Err(Error::NoSuchContainer { .. }) => {}
            other => return other,
        }
    }
}

/// The root directory of an overlay has the owner and mode of the uppermost layer's.
pub(crate) fn take_root_attributes(upper: &Path, top: Option<&PathBuf>) -> Result<()> {
    let Some(top) = top else { return Ok(()) };
    let fail = |source| Error::io("set the owner and mode of", upper, source);
    let model = std::fs::metadata(top).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Snapshot(mica_snapshot::Error::Damaged {
            name: top.display().to_string(),
            problem: "its directory is missing".to_owned(),
        }),
        _ => Error::io("examine the layer", top, source),
    })?;
    if model.uid() != 0 || model.gid() != 0 {
        std::os::unix::fs::chown(upper, Some(model.uid()), Some(model.gid())).map_err(fail)?;
    }
    if model.mode() & 0o7777 != 0o755 {
        std::fs::set_permissions(upper, model.permissions()).map_err(fail)?;
    }
    Ok(())
}

fn chosen_name(name: &str) -> Result<Option<ContainerName>> {
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|error: mica_model::name::NameError| Error::invalid(error.to_string()))
}

fn made_up_name(attempt: u32) -> String {
    let random = u64::from_le_bytes(system::random());
    let name =
        if attempt < 6 { ContainerName::generate(random) } else { ContainerName::generate_numbered(random) };
    name.as_str().to_owned()
}

/// The wishes win; what they leave open comes from the image.
fn merge_image_config(config: &mut ContainerConfig, image: &ImageConfig) {
    let defaults = crate::image::config::container_config(image);
    if config.entrypoint.is_none() {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd = defaults.cmd;
        }
        config.entrypoint = defaults.entrypoint;
    } else if config.entrypoint.as_ref().is_some_and(|words| words.iter().all(String::is_empty)) {
        // `--entrypoint ""` takes the image's entry point and command away.
        config.entrypoint = None;
    }
    config.env = merge_environment(defaults.env.unwrap_or_default(), config.env.take().unwrap_or_default());
    let mut labels: BTreeMap<String, String> = defaults.labels.unwrap_or_default();
    labels.extend(config.labels.take().unwrap_or_default());
    config.labels = Some(labels);
    if config.user.is_empty() {
        config.user = defaults.user;
    }
    if config.working_dir.is_empty() {
        config.working_dir = defaults.working_dir;
    }
    config.stop_signal = config.stop_signal.take().or(defaults.stop_signal);
    config.healthcheck = crate::container::health::merge(config.healthcheck.take(), defaults.healthcheck);
    config.shell = config.shell.take().or(defaults.shell);
    if let Some(ports) = defaults.exposed_ports {
        config.exposed_ports.get_or_insert_default().extend(ports);
    }
    if let Some(volumes) = defaults.volumes {
        config.volumes.get_or_insert_default().extend(volumes);
    }
}

/// The image's variables in their place, overridden by name; new ones after them. A bare `NAME`
/// takes the variable away, as docker has it.
fn merge_environment(image: Vec<String>, own: Vec<String>) -> Option<Vec<String>> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut merged = image;
    for entry in own {
        let place = merged.iter().position(|known| name(known) == name(&entry));
        match (place, entry.contains('=')) {
            (Some(place), true) => merged[place] = entry,
            (Some(place), false) => {
                merged.remove(place);
            }
            (None, true) => merged.push(entry),
            (None, false) => {}
        }
    }
    Some(merged)
}

/// The command as listings show it: docker quotes arguments with spaces, but never the program.
fn shown_command(words: &[String]) -> String {
    let shown = words.iter().enumerate().map(|(index, word)| {
        if index > 0 && word.contains(' ') { format!("'{word}'") } else { word.clone() }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn command(config: &ContainerConfig) -> Result<Vec<String>> {
    let mut command = config.entrypoint.clone().unwrap_or_default();
    command.extend(config.cmd.clone().unwrap_or_default());
    if command.is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(Error::invalid("the command contains a NUL byte"));
    }
    Ok(command)
}

fn check_config(config: &ContainerConfig) -> Result<()> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    for entry in config.env.iter().flatten() {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(Error::invalid(format!("invalid environment variable: {entry:?}")));
        }
    }
    if let Some(signal) = &config.stop_signal {
        crate::signal::parse(signal)?;
    }
    crate::container::health::check(config.healthcheck.as_ref())?;
    check_host_name(&config.hostname)?;
    check_host_name(&config.domainname)
}

/// A host name ends up in files and in the kernel: no spaces, no line ends, 64 bytes. More is not
/// asked for, as docker does not.
fn check_host_name(name: &str) -> Result<()> {
    if name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid hostname {name:?}")))
}

fn hosts(definition: &Definition) -> String {
    if definition.host_config.network_mode == "host" {
        return std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    }
    mica_network::hosts(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn own_variables_override_in_place_and_bare_names_remove() {
        let merged = merge_environment(words(&["PATH=/bin", "A=1", "B=2"]), words(&["A=3", "C=4", "B"]));
        assert_eq!(merged, Some(words(&["PATH=/bin", "A=3", "C=4"])));
    }

    #[test]
    fn an_entry_point_of_ones_own_forgets_the_images_command() {
        let config = ContainerConfig {
            entrypoint: Some(words(&["/x"])),
            cmd: Some(words(&["a"])),
            ..Default::default()
        };
        assert_eq!(command(&config).unwrap(), words(&["/x", "a"]));
        assert!(matches!(command(&ContainerConfig::default()), Err(Error::Invalid { .. })));
    }

    #[test]
    fn host_names_cannot_smuggle_lines() {
        assert!(check_host_name("a\n6.6.6.6 x").is_err());
        assert!(check_host_name("web-1.example").is_ok());
    }
}
