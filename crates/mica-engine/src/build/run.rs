//! `RUN`: a command runs as a container does, on a layer of its own that nobody waits for.

use super::crew::held;
use super::mounts::Mounts;
use super::places::Place;
use super::worker::Builder;
use crate::container::record::{Definition, Record, Stage};
use crate::error::{Error, Result};
use crate::system;
use mica_api::types::build::BuildEvent;
use mica_api::types::container::{AttachStreams, ContainerConfig, StartOptions};
use mica_api::types::host_config::{DeviceRequest, HostConfig, Resources};
use mica_build::image::Root;
use mica_build::worker::{Change, Network, RunStep, StepNumber};
use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
use mica_model::{ContainerId, Timestamp};
use mica_runtime::{Launcher, LogPlan, RuntimeError};
use std::io::Read;
use std::path::PathBuf;

/// What commands see as the name of their host, unless the build says another.
const HOST_NAME: &str = "buildkitsandbox";

/// The argument that says another.
pub(super) const HOST_NAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// What helps where programs are of another platform.
const FOREIGN_HINT: &str = "programs of another platform run here only by an emulator that is registered with \
    binfmt_misc (Debian: apt-get install qemu-user-static), or build on such a machine";

impl Builder<'_> {
    /// Runs on `root` and makes a layer of what changed.
    pub(super) fn run_command(&self, root: &Root, step: &RunStep, number: StepNumber) -> Result<Change> {
        self.check_rights(step)?;
        let layers = self.directories(root)?;
        let id = ContainerId::from_random(system::random());
        // It comes up while everything else is made ready.
        let launcher = Launcher::spawn(&id)?;
        let place = Place::with_id(self, id, &layers)?;
        let mut mounts = Mounts::prepare(self, &place, step)?;
        let mut definition = self.definition(step, &mounts, layers)?;
        definition.host_config.resources.device_requests = self.devices(step, number)?;
        let record = record(&place.id, &definition);
        self.local.write_host_files(&place.disk, &definition)?;
        let attach = AttachStreams { stdin: false, stdout: true, stderr: true };
        let options = StartOptions { attach: Some(attach), ..StartOptions::default() };
        let (mut plan, _) = self.local.start_plan(&record, &definition, &options)?;
        plan.container = plan
            .container
            .with_mounts(&mounts.document()?)
            .map_err(|source| RuntimeError::Plan { source })?;
        if !step.environment.iter().any(|entry| entry.starts_with("HOSTNAME=")) {
            // Containers have it, commands of docker's builder do not.
            plan.container = plan.container.without_variable("HOSTNAME");
        }
        plan.log = LogPlan::default();
        plan.events = None;
        plan.after_exit = None;
        // Nobody would wait for it if this process were killed.
        plan.ends_with_clients = true;
        plan.held = place.lock.try_clone().ok().map(Into::into);
        let network = self.lend_network(step, (&mut plan, &definition), &place.disk)?;
        if network.is_none() {
            self.add_hosts(&place)?;
        }
        let run = plan.run_directory.clone();
        self.crew.begun(run.clone())?;
        let ended = launcher.start(plan).map_err(Error::from).and_then(|mut started| {
            mounts.forget_secrets();
            let code = self.follow(&mut started.stream, number);
            held(&self.spent).push((place.id.clone(), started.stream));
            code
        });
        self.crew.ended(&run);
        if let Some(network) = network {
            self.return_network(network, !step.is_insecure && ended.is_ok());
        }
        let code = match ended {
            Ok(code) => code,
            Err(error) => {
                self.local.clean_run_directory(&place.id);
                return Err(explained(error));
            }
        };
        if code != 0 {
            return Err(Error::BuildCommand { command: step.arguments.join(" "), code });
        }
        mounts.clear(&place)?;
        let layer = self.local.layers.ingest_upper_until(&place.disk.upper(), self.latest())?;
        self.register(layer)
    }

    /// Appends what `--add-host` says to the names that the command knows.
    fn add_hosts(&self, place: &Place) -> Result<()> {
        let path = place.disk.hosts();
        let mut hosts = std::fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
        for typed in &self.request.extra_hosts {
            let (name, address) = typed
                .split_once(['=', ':'])
                .ok_or_else(|| Error::invalid(format!("bad format for add-host: {typed:?}")))?;
            let address = address.trim_matches(['[', ']']);
            // Where the host is not reached by way of a network, it is this machine or nobody.
            let address = if address == "host-gateway" { "127.0.0.1" } else { address };
            let address: std::net::IpAddr = address
                .parse()
                .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?;
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(Error::invalid(format!("bad format for add-host: {typed:?}")));
            }
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        crate::disk::write_shown_file(&path, hosts.as_bytes())
    }

    fn check_rights(&self, step: &RunStep) -> Result<()> {
        let is_allowed = |right: &str| self.request.entitlements.iter().any(|given| given == right);
        let lacks =
            |right: &str| Error::invalid(format!("{right} is not allowed: the build needs --allow {right}"));
        if step.network == Network::Host && self.request.network != "host" && !is_allowed("network.host") {
            return Err(lacks("network.host"));
        }
        if step.is_insecure && !is_allowed("security.insecure") {
            return Err(lacks("security.insecure"));
        }
        Ok(())
    }

    /// The devices that a step asks for and may have. One that is not here is told, or an error if it is required.
    fn devices(&self, step: &RunStep, number: StepNumber) -> Result<Option<Vec<DeviceRequest>>> {
        let mut names = Vec::new();
        for wish in &step.devices {
            let found = self.local.devices_of_build(&wish.name)?;
            if found.is_empty() && wish.is_required {
                return Err(Error::invalid(format!("required device {:?} is not registered", wish.name)));
            }
            if found.is_empty() {
                self.note(number, format!("device {} is not here", wish.name));
            }
            for (name, is_for_all) in found {
                if !is_for_all && !self.is_device_allowed(&name) {
                    return Err(Error::invalid(format!(
                        "device {name} is not allowed: the build needs --allow device={name}"
                    )));
                }
                names.push(name);
            }
        }
        let request = DeviceRequest {
            driver: crate::container::cdi::DRIVER.to_owned(),
            device_ids: Some(names),
            ..DeviceRequest::default()
        };
        Ok((!step.devices.is_empty()).then(|| vec![request]))
    }

    /// Whether the build was given a device, its kind, or all devices.
    fn is_device_allowed(&self, name: &str) -> bool {
        let kind = name.split('=').next().unwrap_or_default();
        let allowed = self.request.entitlements.iter();
        let mut allowed = allowed.filter_map(|given| match given.as_str() {
            "device" => Some(""),
            other => other.strip_prefix("device="),
        });
        allowed.any(|given| given.is_empty() || given == kind || given == name)
    }

    fn definition(&self, step: &RunStep, mounts: &Mounts, layers: Vec<PathBuf>) -> Result<Definition> {
        let request = self.request;
        let network = match (step.network, request.network.as_str()) {
            (Network::None, _) => "none",
            (Network::Host, _) => "host",
            (Network::Default, "") => "default",
            (Network::Default, of_build) => of_build,
        };
        let mut host_config = HostConfig {
            network_mode: network.to_owned(),
            // Nothing of it is kept if the host crashes.
            auto_remove: true,
            privileged: step.is_insecure,
            resources: Resources {
                ulimits: Some(request.ulimits.clone()).filter(|limits| !limits.is_empty()),
                cgroup_parent: request.cgroup_parent.clone(),
                ..Resources::default()
            },
            ..HostConfig::default()
        };
        if request.shm_size_bytes > 0 {
            host_config.shm_size = request.shm_size_bytes;
        }
        self.local.check_host_config(&mut host_config)?;
        let mut env = step.environment.clone();
        env.extend(step.proxies.iter().cloned());
        env.extend(mounts.variables().iter().cloned());
        let given = request.arguments.get(HOST_NAME_ARGUMENT);
        let config = ContainerConfig {
            hostname: given.filter(|name| !name.is_empty()).map_or(HOST_NAME, String::as_str).to_owned(),
            user: step.user.clone(),
            working_dir: step.directory.clone(),
            env: Some(env),
            cmd: Some(step.arguments.clone()),
            ..ContainerConfig::default()
        };
        let mut directories = vec![self.local.disk.mountpoints(), mounts.stubs().to_owned()];
        directories.extend(layers);
        Ok(Definition {
            version: 1,
            config,
            host_config,
            command: step.arguments.clone(),
            layers: directories,
            mounts: Vec::new(),
        })
    }

    /// Waits for the ends of the monitors, which nothing else waited for, and takes away what they leave.
    pub(super) fn clear_runs(&self) {
        for (id, mut stream) in held(&self.spent).drain(..) {
            // It ends with the monitor.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
            self.local.clean_run_directory(&id);
        }
    }

    /// Tells what a command writes; answers its exit code.
    fn follow(&self, stream: &mut impl Read, step: StepNumber) -> Result<u32> {
        loop {
            let mut head = [0; HEADER_LENGTH];
            stream.read_exact(&mut head).map_err(|_| RuntimeError::Lost)?;
            let header = FrameHeader::decode(head).map_err(|_| RuntimeError::Lost)?;
            let mut bytes = vec![0; header.length];
            stream.read_exact(&mut bytes).map_err(|_| RuntimeError::Lost)?;
            match header.kind {
                FrameKind::Stdout | FrameKind::Stderr => (self.listener)(BuildEvent::Output { step, bytes }),
                FrameKind::Exit => return Ok(bytes.first_chunk().copied().map_or(255, u32::from_be_bytes)),
                _ => {}
            }
        }
    }
}

/// Says what can be done where a program is not one of this machine's.
fn explained(error: Error) -> Error {
    match &error {
        Error::Runtime(RuntimeError::Setup { source })
            if source.errno == rustix::io::Errno::NOEXEC.raw_os_error() =>
        {
            Error::State { what: error.to_string(), hint: Some(FOREIGN_HINT) }
        }
        _ => error,
    }
}

/// A record that is never stored: steps are not containers that anybody sees.
pub(super) fn record(id: &ContainerId, definition: &Definition) -> Record {
    let now = Timestamp::from(std::time::SystemTime::now());
    Record {
        id: id.clone(),
        name: String::new(),
        image: String::new(),
        image_id: String::new(),
        command: String::new(),
        created: now,
        labels: std::collections::BTreeMap::new(),
        network_mode: definition.host_config.network_mode.clone(),
        auto_remove: true,
        stage: Stage::Running,
        started: now,
        finished: Timestamp::NEVER,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
    }
}
