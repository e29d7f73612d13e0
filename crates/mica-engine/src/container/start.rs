//! `start` and the fast way of `run`: a record becomes a process.
//!
//! The monitor is started first and comes up while the plan is made. The record says "running"
//! before the process does: a command killed in between leaves a container whose monitor is
//! absent, which everybody reads as exited.

use crate::container::create::Created;
use crate::container::log_driver;
use crate::container::record::{Definition, Record, Stage};
use crate::container::remove::RemovedVolumes;
use crate::container::rights::Rights;
use crate::container::security::Security;
use crate::container::spec::{self, NetworkPlace};
use crate::container::user_namespace;
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use crate::mount::{MountRecord, in_order_of, take_lenders};
use crate::network::Furnished;
use crate::{Local, events, lock, system};
use mica_api::stream::AttachStream;
use mica_api::types::container::{
    AttachStreams, CreateRequest, CreateResponse, StartOptions, Started, WaitCondition,
};
use mica_model::{ContainerId, ErrorKind, Timestamp};
use mica_runtime::{
    AfterExit, Attach, ContainerPlan, EventPlan, JoinedNamespace, Launcher, NamespaceKind, RootPlan,
    RuntimeError, StartPlan, StdinPlan, TerminalSize,
};
use std::fs::File;
use std::path::PathBuf;
use std::sync::PoisonError;

/// A monitor that was started before it is known what for; dropped, it ends without a trace.
#[derive(Debug)]
pub enum EarlyMonitor {
    /// For a container, which will have this id.
    Container(ContainerId, Launcher),
    /// For a further process in a container that runs.
    Exec(Launcher),
}

impl EarlyMonitor {
    /// Starts one for a container. `None` where that fails: the container that it was for will say why.
    pub fn start() -> Option<Self> {
        let (id, launcher) = monitor_by(Launcher::spawn_early).ok()?;
        Some(Self::Container(id, launcher))
    }

    /// The same for a further process.
    pub fn start_for_exec() -> Option<Self> {
        Launcher::spawn_early_for_exec().ok().map(Self::Exec)
    }
}

/// A new container's id, and the monitor that waits for it.
fn monitor_by(
    spawn: impl FnOnce(&ContainerId) -> std::result::Result<Launcher, RuntimeError>,
) -> Result<(ContainerId, Launcher)> {
    let id = ContainerId::from_random(system::random());
    let launcher = spawn(&id)?;
    Ok((id, launcher))
}

impl Local {
    /// Starts a container that does not run.
    pub(crate) fn start(&self, reference: &str, options: &StartOptions) -> Result<Started> {
        let record = Record::find(&self.database(), reference)?;
        let launcher = Launcher::spawn(&record.id)?;
        let disk = self.disk.container(&record.id);
        let lock = lock::container(&disk, &record.id)?;
        let mut record = Record::find(&self.database(), record.id.as_str())?;
        let observed = record.observe(&disk);
        match observed.status {
            "running" => return Err(Error::NotModified { id: record.id.to_string() }),
            "restarting" => return Err(Error::NotModified { id: record.id.to_string() }),
            "paused" => return Err(Error::state("cannot start a paused container, try unpause instead")),
            "removing" => return Err(Error::state("container is marked for removal and cannot be started")),
            _ => {}
        }
        let definition = record.definition(&self.database())?;
        if record.absorb(&observed) {
            // Before its only trace goes, the end of the last run is written down.
            self.database().write(|transaction| record.save_state(transaction))?;
        }
        mica_runtime::forget_exit(&disk.exit(), disk.run())?;
        mica_runtime::forget_stop(&disk.stop_mark(), disk.run())?;
        disk.forget_volatile();
        record.stage = Stage::Running;
        record.started = Timestamp::from(std::time::SystemTime::now());
        record.finished = Timestamp::NEVER;
        record.exit_code = 0;
        record.oom_killed = false;
        record.error.clear();
        self.database().write(|transaction| record.save_state(transaction))?;
        self.launch((launcher, lock), &mut record, &definition, options)
    }

    /// The monitor that was started for the first that is asked for.
    pub(super) fn take_early(&self) -> Option<EarlyMonitor> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Creates and starts with one write to the database, the monitor coming up meanwhile.
    pub(crate) fn run(
        &self,
        request: &CreateRequest,
        options: &StartOptions,
    ) -> Result<(CreateResponse, Result<Started>)> {
        let (id, mut launcher) = match self.take_early() {
            Some(EarlyMonitor::Container(id, launcher)) => (id, launcher),
            _ => monitor_by(Launcher::spawn)?,
        };
        if self.config()?.userns_remap.is_empty()
            && let Some(forecast) = spec::forecast(&request.host_config)
        {
            launcher.foretell(&id, forecast)?;
        }
        let Created { mut record, definition, warnings, lock } =
            self.create_as(request, id, Stage::Running)?;
        let started = self.launch((launcher, lock), &mut record, &definition, options);
        Ok((CreateResponse { id: record.id.to_string(), warnings }, started))
    }

    fn launch(
        &self,
        (launcher, lock): (Launcher, File),
        record: &mut Record,
        definition: &Definition,
        options: &StartOptions,
    ) -> Result<Started> {
        let launched = self.lock_volumes_in_memory(definition).and_then(|volume_locks| {
            let (mut plan, warnings) = self.start_plan(record, definition, options)?;
            // Without it, a start whose command is killed now would be taken for ended by whoever
            // looks before the monitor has said that it runs.
            plan.held = lock.try_clone().ok().map(Into::into);
            if options.attach.is_some() {
                self.events.append(&events::container(record, "attach", &[]));
            }
            self.announce_volumes(record, definition);
            // The start itself is announced by the monitor, before the end can be.
            let started = launcher.start(plan)?;
            drop(volume_locks);
            Ok((started, warnings))
        });
        match launched {
            Ok((started, mut warnings)) => {
                warnings.extend(started.warnings);
                let stream = options
                    .attach
                    .is_some()
                    .then_some(AttachStream { socket: started.stream, terminal: definition.config.tty });
                Ok(Started { stream, warnings })
            }
            Err(error) => {
                self.record_failed_start(record, definition, &error);
                Err(error)
            }
        }
    }

    /// A start that failed leaves a container that can be started again, with docker's exit code.
    fn record_failed_start(&self, record: &mut Record, definition: &Definition, error: &Error) {
        self.unfurnish(record);
        record.stage = Stage::Created;
        record.started = Timestamp::NEVER;
        record.exit_code = match error.kind() {
            ErrorKind::CommandNotFound => 127,
            ErrorKind::CannotExecute => 126,
            _ => 128,
        };
        record.error = error.to_string();
        // The first error is the one to tell; a second one here would only hide it.
        let _ = self.database().write(|transaction| record.save_state(transaction));
        self.events.append(&events::container(record, "die", &[("exitCode", record.exit_code.to_string())]));
        if definition.host_config.auto_remove {
            let _ = self.remove_record(record, RemovedVolumes::Unnamed);
        }
    }

    pub(crate) fn start_plan(
        &self,
        record: &Record,
        definition: &Definition,
        options: &StartOptions,
    ) -> Result<(StartPlan, Vec<String>)> {
        let disk = self.disk.container(&record.id);
        let maps = self.id_maps(&record.id, &definition.host_config)?;
        let furnished = self.furnish(record, definition, maps.is_some())?;
        let (network, mut joined) = self.network(definition)?;
        let mut told = Vec::new();
        let (companion, network_warnings) = furnished.map_or((None, Vec::new()), |furnished| {
            let Furnished { namespace, companion, environment, warnings } = furnished;
            let join = |descriptor| JoinedNamespace { kind: NamespaceKind::Network, descriptor };
            joined.extend(namespace.map(join));
            told = environment;
            (Some(companion), warnings)
        });
        let (shared, memory) = self.shared_namespaces(&definition.host_config)?;
        joined.extend(shared);
        let mut mounts = self.user_mounts(definition, maps.is_none())?;
        let lenders = take_lenders(&mut mounts);
        let mut spec = match self.with_more_variables(definition, told) {
            Some(measured) => spec::build(&record.id, &measured, &disk, &network, mounts)?,
            None => spec::build(&record.id, definition, &disk, &network, mounts)?,
        };
        joined.extend(in_order_of(&spec, lenders, memory));
        self.inject_devices(definition, &mut spec)?;
        if let Some(maps) = maps {
            user_namespace::apply(&mut spec, &maps, self.disk.root())?;
        }
        let (container, mut warnings) =
            ContainerPlan::from_spec(&spec).map_err(|source| RuntimeError::Plan { source })?;
        warnings.extend(network_warnings);
        let container = Rights::of(&definition.host_config)?.fit_container(container);
        let filter = Security::of(&definition.host_config)?.filter(&self.disk, container.bounding_set())?;
        let container = container.with_filter(filter);
        prepare_run_directory(&disk)?;
        let host = &definition.host_config;
        let size = options.console_size.or(match host.console_size {
            [0, 0] => None,
            [rows, columns] => Some((rows, columns)),
        });
        let plan = StartPlan {
            id: record.id.clone(),
            container,
            root: root(definition, &disk)?,
            user: Some(definition.config.user.clone()),
            groups: host.group_add.clone().unwrap_or_default(),
            run_directory: disk.run().to_owned(),
            exit_file: disk.exit(),
            log: log_driver::plan(&host.log_config, &record.log_subject(&definition.config), &disk)?,
            events: Some(self.end_of_run(record, definition)),
            restart: crate::container::restart::plan(definition, &disk),
            init: host.init == Some(true),
            stdin: stdin(definition),
            terminal_size: size.map(|(rows, columns)| TerminalSize { rows, columns }),
            attach: options.attach.map(attach),
            after_exit: host.auto_remove.then(|| self.removal_after_exit(record, options)),
            joined,
            held: None,
            ends_with_clients: false,
            health: self.health_plan(record, definition)?,
            companion,
        };
        Ok((plan, warnings))
    }

    /// The definition with more variables than it has itself, if there are any: those of links, over
    /// which its own have precedence; and the embedded image, which tells how long its start took, is
    /// told when that began.
    fn with_more_variables(&self, definition: &Definition, mut told: Vec<String>) -> Option<Definition> {
        let is_embedded =
            definition.config.labels.as_ref().is_some_and(|labels| labels.contains_key(EMBEDDED_LABEL));
        if !is_embedded && told.is_empty() {
            return None;
        }
        let mut more = definition.clone();
        let own = more.config.env.get_or_insert_default();
        told.append(own);
        if is_embedded {
            let opened_at = Timestamp::from(self.opened_at).nanoseconds();
            told.push(format!("{STARTED_AT_VARIABLE}={opened_at}"));
        }
        *own = told;
        Some(more)
    }

    fn network(&self, definition: &Definition) -> Result<(NetworkPlace, Vec<JoinedNamespace>)> {
        let mode = definition.host_config.network_mode.as_str();
        let Some(other) = mode.strip_prefix("container:") else {
            let place = if mode == "host" { NetworkPlace::Host } else { NetworkPlace::Private };
            return Ok((place, Vec::new()));
        };
        let other = Record::find(&self.database(), other)?;
        let disk = self.disk.container(&other.id);
        if !other.observe(&disk).has_process() {
            return Err(Error::state(format!(
                "cannot join network of a non running container: {}",
                other.id
            )));
        }
        let descriptor = mica_runtime::namespace(disk.run(), NamespaceKind::Network)?;
        Ok((NetworkPlace::Joined, vec![JoinedNamespace { kind: NamespaceKind::Network, descriptor }]))
    }

    fn end_of_run(&self, record: &Record, definition: &Definition) -> EventPlan {
        let die = [("exitCode", "@EXITCODE@".to_owned()), ("execDuration", "@DURATION@".to_owned())];
        let mut end = vec![events::template(&events::container(record, "die", &die))];
        let of_container = [("container", record.id.to_string())];
        for volume in definition.mounts.iter().filter_map(MountRecord::volume) {
            end.push(events::template(&events::volume("unmount", &volume.name, &of_container)));
        }
        EventPlan {
            path: self.events.path(),
            die_line: end.join("\n"),
            start_line: Some(events::template(&events::container(record, "start", &[]))),
            oom_line: Some(events::template(&events::container(record, "oom", &[]))),
        }
    }

    /// Tells of the volumes that a run is about to mount.
    fn announce_volumes(&self, record: &Record, definition: &Definition) {
        for mount in &definition.mounts {
            let Some(volume) = mount.volume() else { continue };
            let attributes = [
                ("container", record.id.to_string()),
                ("destination", mount.destination.clone()),
                ("propagation", mount.propagation.clone()),
                ("read/write", (!mount.read_only).to_string()),
            ];
            self.events.append(&events::volume("mount", &volume.name, &attributes));
        }
    }

    /// The command that a monitor becomes at the end of a `--rm` container nobody waited for.
    fn removal_after_exit(&self, record: &Record, options: &StartOptions) -> AfterExit {
        AfterExit {
            arguments: vec![
                "--root".into(),
                self.disk.root().into(),
                "--run-root".into(),
                self.disk.run_root().into(),
                "rm".into(),
                record.id.as_str().into(),
            ],
            only_if_exists: self.disk.container(&record.id).directory().to_owned(),
            discards: options.caller_removes.then(|| self.left_to_monitor(&record.id)),
        }
    }

    /// Follows a running container.
    pub(crate) fn attach(&self, reference: &str, streams: AttachStreams) -> Result<AttachStream> {
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        match record.observe(&disk).status {
            "running" => {}
            "paused" => {
                return Err(Error::state("You cannot attach to a paused container, unpause it first"));
            }
            "restarting" => {
                return Err(Error::state(
                    "You cannot attach to a restarting container, wait until it is running",
                ));
            }
            _ => return Err(Error::state("You cannot attach to a stopped container, start it first")),
        }
        let definition = record.definition(&self.database())?;
        let hello = mica_runtime::Hello { attach: attach(streams) };
        let socket = mica_runtime::attach(disk.run(), &hello)?;
        self.events.append(&events::container(&record, "attach", &[]));
        Ok(AttachStream { socket, terminal: definition.config.tty })
    }

    /// Stops if it runs, then starts.
    pub(crate) fn restart(
        &self,
        reference: &str,
        options: &mica_api::types::container::StopOptions,
    ) -> Result<()> {
        match self.stop(reference, options) {
            Ok(()) | Err(Error::NotModified { .. }) => {}
            Err(error) => return Err(error),
        }
        let record = Record::find(&self.database(), reference)?;
        let started = self.start(record.id.as_str(), &StartOptions::default());
        match started {
            Ok(_) | Err(Error::NotModified { .. }) => {}
            Err(error) => return Err(error),
        }
        self.events.append(&events::container(&record, "restart", &[]));
        Ok(())
    }

    /// Waits for the end of a run, or of the container.
    pub(crate) fn wait(&self, reference: &str, condition: WaitCondition) -> Result<i64> {
        crate::container::wait::wait(self, reference, condition)
    }
}

fn root(definition: &Definition, disk: &ContainerDisk) -> Result<RootPlan> {
    let lowers: Vec<PathBuf> = definition.layers.iter().rev().cloned().collect();
    Ok(RootPlan::Overlay {
        lowers: mica_snapshot::visible_lowers(&lowers)?,
        upper: disk.upper(),
        work: disk.work(),
        volatile: definition.host_config.auto_remove,
    })
}

fn stdin(definition: &Definition) -> StdinPlan {
    let config = &definition.config;
    if config.open_stdin { StdinPlan::Open { close_after_first: config.stdin_once } } else { StdinPlan::Null }
}

fn attach(streams: AttachStreams) -> Attach {
    Attach { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr }
}

/// Makes the run directory; a killed monitor's leftovers are ended first.
fn prepare_run_directory(disk: &ContainerDisk) -> Result<()> {
    if disk.run().exists() {
        mica_runtime::cleanup(disk.run())?;
    }
    crate::disk::make_directory(disk.run())
}

/// Marks the embedded image.
pub(crate) const EMBEDDED_LABEL: &str = "io.mica.embedded";

/// Tells a container of the embedded image when the command began, in nanoseconds since the epoch.
const STARTED_AT_VARIABLE: &str = "MICA_STARTED_AT_NANOSECONDS";
