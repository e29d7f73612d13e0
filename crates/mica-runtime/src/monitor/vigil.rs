//! Watching over a container's health: when the next probe is due, and what becomes of what it finds.
//!
//! Time is measured by a clock that nobody sets, and between the end of one probe and the start of the
//! next, so that there is never more than one.

use super::end;
use super::probe::{Place, Probe};
use crate::ProbeResult;
use crate::cgroup;
use crate::health::{HEALTH_FILE, HealthRecord};
use crate::order::{HealthOrder, Job, MonitorOrder};
use crate::plan::EventPlan;
use rustix::event::PollFlags;
use std::fmt::Write as _;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Instant;

/// The watch over one container.
#[derive(Debug)]
pub(super) struct Vigil {
    order: HealthOrder,
    /// The event file.
    events: Option<PathBuf>,
    mapped_root: Option<(u32, u32)>,
    record: HealthRecord,
    /// Where those who ask find the record.
    file: PathBuf,
    /// When this life began.
    born: Instant,
    /// When the next probe is due; `None` while there is to be none.
    due: Option<Instant>,
    probe: Option<Work>,
    is_paused: bool,
}

/// A probe, and when in the container's life it began.
#[derive(Debug)]
struct Work {
    probe: Probe,
    began: Instant,
    /// Whether its result is known already, or unwanted.
    is_told: bool,
}

impl Vigil {
    /// A watch that has not begun, if one is ordered.
    pub(super) fn new(order: &mut MonitorOrder) -> Option<Self> {
        let Job::Container(job) = &order.job else { return None };
        let health = order.health.take()?;
        Some(Self {
            record: HealthRecord::read(&health.kept_file).unwrap_or_default(),
            order: health,
            events: order.events.as_ref().map(|plan| plan.path.clone()),
            mapped_root: order.mapped_root,
            file: job.run_directory.join(HEALTH_FILE),
            born: Instant::now(),
            due: None,
            probe: None,
            is_paused: false,
        })
    }

    /// A life begins.
    pub(super) fn begin(&mut self) {
        self.record.begin();
        self.is_paused = false;
        self.born = Instant::now();
        self.plan_next();
        self.write();
    }

    /// A life has ended; whatever probes is ended too.
    pub(super) fn end(&mut self) {
        self.give_up();
        self.record.end();
        self.write();
    }

    /// Keeps the record for when the run directory is gone.
    pub(super) fn keep(&mut self) {
        // Where it finds no room, the one in the run directory tells for as long as that is there.
        let _ = self.record.write(&self.order.kept_file);
    }

    /// The container was frozen or thawed.
    pub(super) fn note_pause(&mut self, is_paused: bool) {
        if std::mem::replace(&mut self.is_paused, is_paused) == is_paused {
            return;
        }
        if is_paused {
            self.end();
        } else {
            self.plan_next();
        }
    }

    /// When there is something to do even if nothing comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.probe.as_ref().map(|work| work.probe.deadline()).or(self.due)
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.probe.as_ref().map(|work| work.probe.descriptor())
    }

    /// Takes in what a probe says.
    pub(super) fn listen(&mut self, buffer: &mut [u8]) {
        if let Some(work) = &mut self.probe {
            work.probe.listen(buffer);
            // Between two lives nobody looks.
            self.look_at_probe();
        }
    }

    /// Does what is due.
    pub(super) fn look(&mut self, process: BorrowedFd<'_>, group: &cgroup::Group) {
        if self.probe.is_some() {
            return self.look_at_probe();
        }
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        // By whomever it was frozen: it could not answer.
        if cgroup::is_frozen(group).unwrap_or(false) {
            return self.plan_next();
        }
        self.start_probe(Place { process, group, mapped_root: self.mapped_root });
    }

    fn look_at_probe(&mut self) {
        let Some(work) = &mut self.probe else { return };
        if work.probe.is_over() {
            let (result, began) = ((!work.is_told).then(|| work.probe.result()), work.began);
            self.probe = None;
            self.take_in(result, began);
            self.plan_next();
        } else if let Some(result) = work.probe.expire() {
            work.is_told = true;
            let began = work.began;
            self.take_in(Some(result), began);
        }
    }

    fn start_probe(&mut self, place: Place<'_>) {
        let began = Instant::now();
        let id = random_id();
        self.announce(&self.order.events.begin.replace("@EXECID@", &id));
        let events = self.events.clone().map(|path| EventPlan {
            path,
            die_line: self.order.events.end.replace("@EXECID@", &id),
            start_line: None,
            oom_line: None,
        });
        match Probe::start(place, (&self.order.child, events), self.order.schedule.timeout) {
            Ok(probe) => self.probe = Some(Work { probe, began, is_told: false }),
            Err(error) => {
                let now = super::now().nanoseconds();
                let result =
                    ProbeResult { started_at: now, ended_at: now, exit_code: -1, output: error.to_string() };
                self.take_in(Some(result), began);
                self.plan_next();
            }
        }
    }

    fn take_in(&mut self, result: Option<ProbeResult>, began: Instant) {
        let Some(result) = result else { return };
        let age = began.saturating_duration_since(self.born);
        let news = self.record.take_in(result, age, &self.order.schedule);
        self.write();
        if let Some(status) = news {
            self.announce(&self.order.events.status.replace("@HEALTH@", status.word()));
        }
    }

    /// Lets a probe go whose result is not wanted any more.
    fn give_up(&mut self) {
        self.due = None;
        if let Some(work) = &mut self.probe {
            work.is_told = true;
            work.probe.cancel();
        }
    }

    fn plan_next(&mut self) {
        let pause = self.order.schedule.pause(self.record.status, self.born.elapsed());
        // A pause beyond what the clock can tell never ends.
        self.due = Instant::now().checked_add(pause).filter(|_| !self.is_paused);
    }

    fn write(&mut self) {
        // The run directory is in memory; where even that is full, the next probe tries again.
        let _ = self.record.write(&self.file);
    }

    fn announce(&self, line: &str) {
        if let Some(path) = &self.events {
            end::announce_line(path, line, super::now());
        }
    }
}

/// A name that nothing else has.
fn random_id() -> String {
    let mut bytes = [0; 32];
    // So early that the pool is not ready, no container runs.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
