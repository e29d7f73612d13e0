//! Noticing that a container runs out of memory, when it does and not only at its end.
//!
//! Version 1 of cgroups tells by an eventfd, registered in `cgroup.event_control`; version 2 by
//! reporting its `memory.events` as changed (poll(2), `POLLPRI`).

use super::end::announce_oom;
use crate::cgroup::{Group, Version};
use crate::plan::EventPlan;
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// A watch on one container.
#[derive(Debug)]
pub(super) struct OomWatch {
    plan: EventPlan,
    source: Source,
    /// How often it was announced.
    announced: u32,
}

#[derive(Debug)]
enum Source {
    Legacy {
        notices: OwnedFd,
    },
    Unified {
        events: OwnedFd,
        /// How many processes had been killed when it was last looked at.
        kills: u64,
    },
}

impl OomWatch {
    /// Watches `group`; `None` where that is impossible, or nobody would be told.
    pub(super) fn open(group: &Group, plan: &EventPlan) -> Option<Self> {
        plan.oom_line.as_ref()?;
        let (directory, version) = group.controller("memory")?;
        let open = |file: &str, flags| {
            let path = directory.join(file);
            rustix::fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())
        };
        let source = match version {
            Version::Legacy => {
                let register = || -> Result<OwnedFd, Errno> {
                    let notices = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                    let control = open("memory.oom_control", OFlags::RDONLY)?;
                    let register = open("cgroup.event_control", OFlags::WRONLY)?;
                    let line = format!("{} {}", notices.as_raw_fd(), control.as_raw_fd());
                    rustix::io::write(&register, line.as_bytes())?;
                    Ok(notices)
                };
                Source::Legacy { notices: register().ok()? }
            }
            Version::Unified => {
                Source::Unified { events: open("memory.events", OFlags::RDONLY).ok()?, kills: 0 }
            }
        };
        let mut watch = Self { plan: plan.clone(), source, announced: 0 };
        // What has happened before, and so that the next change is reported.
        watch.look();
        Some(watch)
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        match &self.source {
            Source::Legacy { notices } => (notices.as_fd(), PollFlags::IN),
            Source::Unified { events, .. } => (events.as_fd(), PollFlags::PRI),
        }
    }

    /// Announces what has happened since the last look.
    pub(super) fn look(&mut self) {
        let happened = match &mut self.source {
            Source::Legacy { notices } => rustix::io::read(notices, &mut [0; 8]) == Ok(8),
            Source::Unified { events, kills } => {
                let before = std::mem::replace(kills, killed(events));
                *kills > before
            }
        };
        if happened {
            self.announced += 1;
            announce_oom(&self.plan, super::now());
        }
    }

    /// Whether anything was announced.
    pub(super) fn has_announced(&self) -> bool {
        self.announced > 0
    }
}

/// The count of `oom_kill` in an open `memory.events`.
fn killed(events: &OwnedFd) -> u64 {
    let mut buffer = [0; 512];
    let length = rustix::io::pread(events, &mut buffer, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..length]);
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}
