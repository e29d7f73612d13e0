//! The monitor: the small process that is the parent of a container's first process.
//!
//! It holds the pipes or the terminal, writes the log, waits, and records the end. It does one
//! thing at a time in one thread; whoever started the container may come and go.

mod ahead;
mod birth;
mod client;
mod end;
mod feed;
mod lives;
mod log;
mod oom;
mod probe;
mod relay;
mod vigil;
mod watch_set;

use crate::error::SetupError;
use crate::launcher::default_cgroup;
use crate::order::{self, Job, MonitorOrder, Received, StartedMessage};
use crate::{Companion, MakeCompanion, cgroup};
use ahead::Ahead;
use birth::{Household, Nursery, Residence};
pub(crate) use birth::{MESSAGE_FAILED, MESSAGE_LENGTH_MAX, MESSAGE_ROOT, MESSAGE_TERMINAL};
pub(crate) use end::remove_group;
use lives::Lives;
use log::Log;
pub use log::identity as log_file_identity;
pub(crate) use log::{COMPRESS_NAME, compress};
use mica_model::Timestamp;
use mica_model::frame::{FrameHeader, FrameKind};
use relay::Relay;
use rustix::fd::OwnedFd;
use rustix::fs::Mode;
use rustix::io::Errno;
use std::ffi::CStr;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::SystemTime;
use vigil::Vigil;

/// Does the work of a monitor whose socket is descriptor 0; gives its exit code.
pub(crate) fn main(name: &CStr, make_companion: MakeCompanion) -> ExitCode {
    // It was executed by a descriptor, whose number would be its name.
    let _ = rustix::thread::set_name(name);
    let Ok(socket) = settle_down() else { return ExitCode::from(1) };
    // While the caller still makes its plan.
    let is_container = name == c"mica-monitor";
    let hierarchies = if is_container { cgroup::mounted() } else { Vec::new() };
    let mut early = None;
    loop {
        match order::receive(&socket) {
            Ok(Some(Received::Forecast(forecast))) => {
                let id = std::env::args().nth(1).unwrap_or_default();
                early = Ahead::begin(default_cgroup(&id), forecast, &hierarchies);
            }
            Ok(Some(Received::Order(mut order, child_order, mut descriptors))) => {
                let companion = companion(&mut order, &mut descriptors, make_companion);
                let vigil = Vigil::new(&mut order);
                let surroundings = Surroundings { descriptors, companion, hierarchies, vigil, early };
                return match run(socket, &order, child_order, surroundings) {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(_) => ExitCode::from(1),
                };
            }
            // The caller changed its mind: nothing was made that would stay.
            Ok(None) => return ExitCode::SUCCESS,
            Err(_) => return ExitCode::from(1),
        }
    }
}

/// Makes the companion, if there is to be one, and lets its order go.
fn companion(
    order: &mut MonitorOrder,
    descriptors: &mut Vec<OwnedFd>,
    make: MakeCompanion,
) -> Option<Box<dyn Companion>> {
    let companion = order.companion.take()?;
    let first = descriptors.len().saturating_sub(companion.descriptor_count);
    make(&companion.order, descriptors.split_off(first))
}

/// Leaves the caller's session, directory, signals and descriptors behind.
fn settle_down() -> Result<UnixStream, Errno> {
    mica_sys::process::close_inherited(3)?;
    rustix::process::setsid()?;
    mica_sys::signal::ignore_terminations();
    mica_sys::process::forbid_inspection()?;
    rustix::process::chdir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3)?;
    rustix::stdio::dup2_stdin(std::io::stdout())?;
    Ok(UnixStream::from(socket))
}

/// What a monitor has besides its order.
struct Surroundings {
    descriptors: Vec<OwnedFd>,
    companion: Option<Box<dyn Companion>>,
    hierarchies: Vec<cgroup::Hierarchy>,
    vigil: Option<Vigil>,
    early: Option<Ahead>,
}

fn run(
    socket: UnixStream,
    order: &MonitorOrder,
    child_order: Vec<u8>,
    Surroundings { descriptors, mut companion, hierarchies, vigil, early }: Surroundings,
) -> Result<(), SetupError> {
    match begin(order, child_order, descriptors, (hierarchies, early, companion.as_deref_mut())) {
        Ok((mut relay, lives)) => {
            (relay.companion, relay.vigil) = (companion, vigil);
            watch(socket, order, relay, lives);
            Ok(())
        }
        Err(error) => {
            drop(companion);
            tell_failure(&socket, &error);
            Err(error)
        }
    }
}

/// The first life, with what later ones need.
fn begin(
    order: &MonitorOrder,
    child_order: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    (hierarchies, early, companion): (
        Vec<cgroup::Hierarchy>,
        Option<Ahead>,
        Option<&mut (dyn Companion + 'static)>,
    ),
) -> Result<(Relay, Lives), SetupError> {
    let residence = match &order.job {
        Job::Container(job) => Some(Residence::open(&job.run_directory)?),
        Job::Exec { .. } => None,
    };
    let mut lives = Lives::new(order, &descriptors);
    let born = Log::open(&order.log).and_then(|log| {
        let early = early.filter(|_| ahead::can_be_told(&child_order));
        let nursery = Nursery::prepare(order, descriptors, (hierarchies, early))?;
        let household = Household { residence: residence.as_ref(), restarts: 0, companion };
        Ok((nursery.deliver(order, &child_order, household)?, log))
    });
    let (mut newborn, log) = born.inspect_err(|_| {
        residence.as_ref().inspect(|residence| residence.leave());
    })?;
    lives.remember(order, child_order, &mut newborn);
    Ok((Relay::new(order, newborn, (residence, log)), lives))
}

fn watch(socket: UnixStream, order: &MonitorOrder, mut relay: Relay, mut lives: Lives) {
    let message = StartedMessage {
        pid: relay.pid,
        started_at: relay.started_at.nanoseconds(),
        warnings: std::mem::take(&mut relay.warnings),
    };
    let payload = postcard::to_stdvec(&message).unwrap_or_default();
    announce_start(order, &mut relay);
    // A caller that is gone by now does not stop the container.
    let _ = tell(&socket, FrameKind::Started, &payload);
    relay.adopt(socket, order.attach.unwrap_or_default());
    loop {
        relay.watch_memory(order.events.as_ref());
        relay.until_exit();
        let mut ended = end::take_in(&mut relay, lives.restarts());
        match lives.next(&mut relay, order, &mut ended) {
            Some(newborn) => relay.renew(order, newborn),
            None => return end::finish(relay, order, ended),
        }
        announce_start(order, &mut relay);
    }
}

/// Before anybody is told that it runs, its health is known and the events say so.
fn announce_start(order: &MonitorOrder, relay: &mut Relay) {
    if let Some(vigil) = &mut relay.vigil {
        vigil.begin();
    }
    if let Some(plan) = &order.events {
        end::announce_start(plan, relay.started_at);
    }
}

fn tell_failure(socket: &UnixStream, error: &SetupError) {
    let payload = postcard::to_stdvec(error).unwrap_or_default();
    let _ = tell(socket, FrameKind::Failed, &payload);
}

fn tell(mut socket: &UnixStream, kind: FrameKind, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = FrameHeader::new(kind, payload.len()).encode().to_vec();
    frame.extend_from_slice(payload);
    socket.write_all(&frame)
}

/// The clock, read once where an instant is recorded.
fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

/// Whether the job is that of a container's first process.
fn is_container(order: &MonitorOrder) -> bool {
    matches!(order.job, Job::Container(_))
}
