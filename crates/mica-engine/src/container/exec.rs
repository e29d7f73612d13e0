//! `exec` and `resize`: further processes in a running container.

use crate::container::record::{Definition, Record};
use crate::container::rights::Rights;
use crate::container::security::Security;
use crate::container::spec::{bounded, capabilities, environment, set_variable};
use crate::container::start::EarlyMonitor;
use crate::container::stop::is_restarting;
use crate::error::{Error, Result};
use crate::{Local, events, system};
use mica_api::stream::AttachStream;
use mica_api::types::exec::{ExecRequest, ExecStarted};
use mica_runtime::{Attach, EventPlan, ExecPlan, Launcher, ProcessPlan, StdinPlan, TerminalSize};
use oci_spec::runtime::ProcessBuilder;

impl Local {
    /// Runs a process in a running container.
    pub(crate) fn exec(&self, request: &ExecRequest) -> Result<ExecStarted> {
        let record = Record::find(&self.database(), &request.container)?;
        let disk = self.disk.container(&record.id);
        match record.observe(&disk).status {
            "running" => {}
            "paused" => {
                return Err(Error::state(format!(
                    "Container {} is paused, unpause the container before exec",
                    record.name
                )));
            }
            "restarting" => return Err(is_restarting(&record)),
            _ => return Err(Error::state(format!("container {} is not running", record.id))),
        }
        let launcher = match self.take_early() {
            Some(EarlyMonitor::Exec(launcher)) => launcher,
            _ => Launcher::spawn_for_exec()?,
        };
        let definition = record.definition(&self.database())?;
        let id = mica_model::digest::hex(&system::random::<32>());
        let plan = exec_plan(self, &record, &definition, request, &id)?;
        self.announce(&record, "exec_create", &id, request);
        self.announce(&record, "exec_start", &id, request);
        let started = launcher.exec(disk.run(), plan)?;
        let attached = !request.detach;
        let stream = attached.then_some(AttachStream { socket: started.stream, terminal: request.terminal });
        Ok(ExecStarted { id, stream })
    }

    fn announce(&self, record: &Record, action: &str, id: &str, request: &ExecRequest) {
        let action = self::action(action, &request.command);
        self.events.append(&events::container(record, &action, &[("execID", id.to_owned())]));
    }

    /// Sets the size of a container's terminal.
    pub(crate) fn resize(&self, reference: &str, rows: u16, columns: u16) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        if !record.observe(&disk).has_process() {
            return Err(Error::state(format!("container {} is not running", record.id)));
        }
        mica_runtime::resize(disk.run(), TerminalSize { rows, columns })?;
        self.events.append(&events::container(
            &record,
            "resize",
            &[("height", rows.to_string()), ("width", columns.to_string())],
        ));
        Ok(())
    }
}

/// How an event names what is done with a command.
pub(crate) fn action(action: &str, command: &[String]) -> String {
    // docker ends the program with a space, arguments or not.
    let (program, arguments) =
        command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    format!("{action}: {program} {}", arguments.join(" "))
}

fn exec_plan(
    engine: &Local,
    record: &Record,
    definition: &Definition,
    request: &ExecRequest,
    id: &str,
) -> Result<ExecPlan> {
    let attach = request.attach;
    let end = [("execID", id.to_owned()), ("exitCode", "@EXITCODE@".to_owned())];
    Ok(ExecPlan {
        process: process(engine, definition, request)?,
        user: Some(user(definition, request)),
        groups: definition.host_config.group_add.clone().unwrap_or_default(),
        stdin: if attach.stdin { StdinPlan::Open { close_after_first: true } } else { StdinPlan::Null },
        terminal_size: request.console_size.map(|(rows, columns)| TerminalSize { rows, columns }),
        attach: (!request.detach).then_some(Attach {
            stdin: attach.stdin,
            stdout: attach.stdout,
            stderr: attach.stderr,
        }),
        exit_file: None,
        events: Some(EventPlan {
            path: engine.events.path(),
            die_line: events::template(&events::container(record, "exec_die", &end)),
            start_line: None,
            oom_line: None,
        }),
    })
}

fn user(definition: &Definition, request: &ExecRequest) -> String {
    if request.user.is_empty() { definition.config.user.clone() } else { request.user.clone() }
}

pub(crate) fn process(engine: &Local, definition: &Definition, request: &ExecRequest) -> Result<ProcessPlan> {
    if request.command.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    for entry in &request.env {
        if entry.is_empty() || entry.starts_with('=') || entry.contains('\0') {
            return Err(Error::invalid(format!("invalid environment variable: {entry:?}")));
        }
    }
    let directory = [&request.working_dir, &definition.config.working_dir]
        .into_iter()
        .find(|directory| !directory.is_empty())
        .map_or("/", String::as_str);
    if !directory.starts_with('/') {
        return Err(Error::invalid(format!("Cwd must be an absolute path, not {directory:?}")));
    }
    let host = &definition.host_config;
    let security = Security::of(host)?;
    let rights = if request.privileged { Rights::everything() } else { Rights::of(host)? };
    let document = capabilities(&rights.capabilities).and_then(|rights| {
        ProcessBuilder::default()
            .terminal(request.terminal)
            .args(request.command.clone())
            .env(exec_environment(definition, request))
            .cwd(directory)
            .capabilities(rights)
            .no_new_privileges(security.no_new_privileges)
            .build()
    });
    let document = document.and_then(|document| bounded(document, host));
    let document =
        document.map_err(|source| Error::invalid(format!("the process is not valid: {source}")))?;
    let plan =
        ProcessPlan::from_oci(&document).map_err(|source| mica_runtime::RuntimeError::Plan { source })?;
    let plan = rights.fit_process(plan);
    if request.privileged {
        return Ok(plan);
    }
    let filter = security.filter(&engine.disk, plan.bounding_set())?;
    Ok(plan.with_filter(filter))
}

/// The container's environment, the request's own over it by name.
fn exec_environment(definition: &Definition, request: &ExecRequest) -> Vec<String> {
    let mut merged = environment(definition);
    if request.terminal && !definition.config.tty {
        set_variable(&mut merged, "TERM=xterm");
    }
    for entry in request.env.iter().filter(|entry| entry.contains('=')) {
        set_variable(&mut merged, entry);
    }
    merged
}
