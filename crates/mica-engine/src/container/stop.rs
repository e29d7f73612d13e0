//! `stop`, `kill`, `pause` and `unpause`.

use crate::Local;
use crate::container::record::Record;
use crate::error::{Error, Result};
use crate::{events, signal};
use mica_api::types::container::StopOptions;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

impl Local {
    /// Stop signal, grace time, SIGKILL.
    pub(crate) fn stop(&self, reference: &str, options: &StopOptions) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let observed = record.observe(&self.disk.container(&record.id));
        if !observed.is_running() {
            return Err(Error::NotModified { id: record.id.to_string() });
        }
        let definition = record.definition(&self.database())?;
        let name = options.signal.as_deref().or(definition.config.stop_signal.as_deref());
        let signal = name.map_or(Ok(signal::TERM), signal::parse)?;
        let seconds = options.timeout.or(definition.config.stop_timeout).unwrap_or(STOP_TIMEOUT_SECONDS);
        let grace = u64::try_from(seconds).ok().map(Duration::from_secs);
        // Before its monitor is woken, which looks for it.
        self.mark_stopped(&record, true)?;
        let waiter = Waiter::connect(self, &record);
        self.signal_container(&record, signal)?;
        if observed.status == "paused" {
            // A frozen process acts on a signal once it is thawed.
            self.thaw_to_end(&record)?;
        }
        if !waiter.wait(self, &record, grace)? {
            self.kill_now(&record, "running")?;
        }
        self.events.append(&events::container(&record, "stop", &[]));
        Ok(())
    }

    /// Sends a signal.
    pub(crate) fn kill(&self, reference: &str, name: &str) -> Result<()> {
        let number = if name.is_empty() { signal::KILL } else { signal::parse(name)? };
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        let observed = record.observe(&disk);
        if !observed.is_running() {
            return Err(Error::state(format!(
                "cannot kill container: {reference}: container {} is not running",
                record.id
            )));
        }
        if number == signal::KILL {
            self.kill_now(&record, observed.status)
        } else {
            let stop_signal = record.definition(&self.database())?.config.stop_signal;
            let ends = stop_signal.is_none_or(|name| signal::parse(&name).is_ok_and(|stop| stop == number));
            self.mark_stopped(&record, ends)?;
            if observed.status == "restarting" {
                // It wakes the monitor, which finds the mark.
                Waiter::connect(self, &record).wait(self, &record, Some(KILL_TIMEOUT))?;
                return Ok(());
            }
            self.signal_container(&record, number)
        }
    }

    /// SIGKILL, and waits until it has taken effect.
    pub(crate) fn kill_now(&self, record: &Record, status: &str) -> Result<()> {
        self.mark_stopped(record, true)?;
        let waiter = Waiter::connect(self, record);
        self.signal_container(record, signal::KILL)?;
        if status == "paused" {
            // A process frozen by cgroup v1 dies only once it is thawed.
            self.thaw_to_end(record)?;
        }
        if waiter.wait(self, record, Some(KILL_TIMEOUT))? {
            return Ok(());
        }
        Err(Error::state(format!("tried to kill container {}, but did not receive an exit event", record.id)))
    }

    /// Thaws a container that has been sent a signal, of which it may die before it is seen thawed.
    fn thaw_to_end(&self, record: &Record) -> Result<()> {
        match mica_runtime::resume(self.disk.container(&record.id).run()) {
            Err(mica_runtime::RuntimeError::NotRunning { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Sends a signal and says so in the events, before the end that it may bring about is told; a
    /// container that has just ended is no error.
    pub(crate) fn signal_container(&self, record: &Record, number: i32) -> Result<()> {
        const NONE: i32 = 0;
        let disk = self.disk.container(&record.id);
        let sent = mica_runtime::kill(disk.run(), NONE).and_then(|()| {
            self.events.append(&events::container(record, "kill", &[("signal", number.to_string())]));
            mica_runtime::kill(disk.run(), number)
        });
        match sent {
            Ok(()) => Ok(()),
            Err(mica_runtime::RuntimeError::NotRunning { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Freezes.
    pub(crate) fn pause(&self, reference: &str) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        match record.observe(&disk).status {
            "running" => mica_runtime::pause(disk.run())?,
            "paused" => return Err(Error::state(format!("container {} is already paused", record.id))),
            "restarting" => return Err(is_restarting(&record)),
            _ => return Err(Error::state(format!("container {} is not running", record.id))),
        }
        self.note_pause(&record, true)?;
        self.events.append(&events::container(&record, "pause", &[]));
        Ok(())
    }

    /// Thaws.
    pub(crate) fn unpause(&self, reference: &str) -> Result<()> {
        let record = Record::find(&self.database(), reference)?;
        let disk = self.disk.container(&record.id);
        match record.observe(&disk).status {
            "paused" => mica_runtime::resume(disk.run())?,
            _ => return Err(Error::state(format!("Container {} is not paused", record.id))),
        }
        self.note_pause(&record, false)?;
        self.events.append(&events::container(&record, "unpause", &[]));
        Ok(())
    }
}

/// Docker's words for what needs a process while there is none.
pub(crate) fn is_restarting(record: &Record) -> Error {
    Error::state(format!("Container {} is restarting, wait until the container is running", record.id))
}

/// A connection to a monitor that ends when the run does.
#[derive(Debug)]
struct Waiter {
    socket: Option<UnixStream>,
}

impl Waiter {
    fn connect(engine: &Local, record: &Record) -> Self {
        let hello = mica_runtime::Hello::default();
        // Nobody waits for its answer: it may have no descriptor left to hear with, and still see the end.
        Self { socket: mica_runtime::connect(engine.disk.container(&record.id).run(), &hello).ok() }
    }

    /// Reads frames until the monitor closes; without a monitor the run has ended already.
    fn wait(mut self, engine: &Local, record: &Record, limit: Option<Duration>) -> Result<bool> {
        // A grace time beyond what the clock can tell never ends.
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let Some(socket) = self.socket.as_mut() else {
            return Ok(watch_for_end(engine, record, deadline));
        };
        let mut buffer = [0; 512];
        loop {
            if !readable(socket, deadline) {
                return Ok(false);
            }
            match socket.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(true),
            }
            if !record.observe(&engine.disk.container(&record.id)).is_running() {
                return Ok(true);
            }
        }
    }
}

/// For who cannot be told of the end, having no descriptor left or no monitor: looks again and again.
fn watch_for_end(engine: &Local, record: &Record, deadline: Option<Instant>) -> bool {
    let disk = engine.disk.container(&record.id);
    while record.observe(&disk).is_running() {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return false;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    true
}

fn readable(socket: &UnixStream, deadline: Option<Instant>) -> bool {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut descriptors = [PollFd::new(socket, PollFlags::IN)];
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// How often is looked where nothing tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Grace time where neither the container nor the command names one, in seconds.
const STOP_TIMEOUT_SECONDS: i64 = 10;

/// How long a kill waits for the container to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
