//! One probe of a container's health: a further process in it, looked after as any other one is.
//!
//! The monitor does not wait for it. The process has a monitor of its own for as long as it runs, and this
//! is that one's only client: what it says comes in frames, and its end is that of its monitor.

use super::now;
use crate::cgroup::{Annex, Group};
use crate::error::SetupError;
use crate::launcher::EXEC_NAME;
use crate::order::{self, Job, MonitorOrder};
use crate::{Attach, EventPlan, LogPlan, ProbeResult, RuntimeError, StdinPlan};
use mica_model::Timestamp;
use mica_model::frame::{FrameHeader, FrameKind, HEADER_LENGTH};
use rustix::event::PollFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How much of what a probe says is kept, in bytes (docker's number).
const OUTPUT_LENGTH_MAX: usize = 4096;

/// Longest payload of a frame that is kept whole.
const PAYLOAD_LENGTH_MAX: usize = 16 << 10;

/// How often a probe that does not end is ended once more.
const KILL_INTERVAL: Duration = Duration::from_secs(1);

/// Where and for whom a probe runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The container's first process.
    pub(super) process: BorrowedFd<'a>,
    pub(super) group: &'a Group,
    pub(super) mapped_root: Option<(u32, u32)>,
}

/// A probe at work.
#[derive(Debug)]
pub(super) struct Probe {
    /// The process's monitor.
    child: Child,
    /// The same, to wait for.
    pidfd: OwnedFd,
    /// `None` when no more is wanted of it.
    socket: Option<UnixStream>,
    annex: Option<Annex>,
    said: Said,
    started_at: Timestamp,
    timeout: Duration,
    /// When it is ended, for the first time or once more.
    deadline: Instant,
}

impl Probe {
    /// Starts a probe whose encoded plan is `child`.
    pub(super) fn start(
        place: Place<'_>,
        (child, events): (&[u8], Option<EventPlan>),
        timeout: Duration,
    ) -> Result<Self, RuntimeError> {
        let spawn = |source: std::io::Error| RuntimeError::Spawn { source };
        let started_at = now();
        let annex = Annex::open(place.group);
        let order = MonitorOrder {
            job: Job::Exec {
                group: annex.as_ref().map_or_else(|| place.group.clone(), |annex| annex.entered.clone()),
            },
            exit_file: None,
            log: LogPlan::default(),
            events,
            stdin: StdinPlan::Null,
            terminal: false,
            mapped_root: place.mapped_root,
            attach: Some(Attach { stdin: false, stdout: true, stderr: true }),
            after_exit: None,
            ends_with_clients: true,
            health: None,
            companion: None,
        };
        let (ours, theirs) = UnixStream::pair().map_err(spawn)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(EXEC_NAME).env_clear().stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        let mut own = command.spawn().map_err(spawn)?;
        // It holds the other end of the socket, and must be the last to do so.
        drop(command);
        let pidfd = watch(&own).and_then(|pidfd| {
            order::send(&ours, &order, child, &[place.process])?;
            ours.set_nonblocking(true).map_err(spawn)?;
            Ok(pidfd)
        });
        let pidfd = pidfd.inspect_err(|_| {
            let _ = own.kill().and_then(|()| own.wait());
        })?;
        Ok(Self {
            child: own,
            pidfd,
            socket: Some(ours),
            annex,
            said: Said::default(),
            started_at,
            timeout,
            deadline: Instant::now() + timeout,
        })
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> (BorrowedFd<'_>, PollFlags) {
        let descriptor = self.socket.as_ref().map_or(self.pidfd.as_fd(), AsFd::as_fd);
        (descriptor, PollFlags::IN)
    }

    /// When it must be looked at even if nothing has come.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes in what has come, through `buffer`.
    pub(super) fn listen(&mut self, buffer: &mut [u8]) {
        let Some(socket) = &self.socket else { return };
        match rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut *buffer)) {
            Ok(length @ 1..) => {
                if self.said.take_in(&buffer[..length]).is_err() {
                    self.socket = None;
                }
            }
            Err(Errno::AGAIN) => {}
            Ok(_) | Err(_) => self.socket = None,
        }
    }

    /// Whether it is over for good, and leaves nothing to wait for.
    pub(super) fn is_over(&mut self) -> bool {
        let is_over = self.socket.is_none() && !matches!(self.child.try_wait(), Ok(None));
        if is_over && let Some(annex) = &self.annex {
            annex.remove();
        }
        is_over
    }

    /// What it has found, once it is over.
    pub(super) fn result(&self) -> ProbeResult {
        match (&self.said.failure, self.said.code) {
            (None, Some(code)) => self.ended(i64::from(code), self.said.text()),
            (Some(failure), _) => self.ended(-1, failure.clone()),
            (None, None) => self.ended(-1, "the probe ended without an exit code".to_owned()),
        }
    }

    /// Ends it and everything it has started once its time is over: gives what that says of the container, the
    /// first time.
    pub(super) fn expire(&mut self) -> Option<ProbeResult> {
        if Instant::now() < self.deadline {
            return None;
        }
        let is_first = self.socket.is_some();
        self.cancel();
        if !is_first {
            return None;
        }
        let limit = mica_model::duration::format_duration(nanoseconds(self.timeout));
        let mut output = format!("Health check exceeded timeout ({limit})");
        let said = self.said.text();
        if !said.is_empty() {
            output = format!("{output}: {said}");
        }
        Some(self.ended(-1, output))
    }

    /// Ends it, whatever it would have found.
    pub(super) fn cancel(&mut self) {
        if let Some(annex) = &self.annex {
            annex.kill();
        }
        // Without its client the process's monitor ends it too.
        self.socket = None;
        self.deadline = Instant::now() + KILL_INTERVAL;
    }

    fn ended(&self, exit_code: i64, output: String) -> ProbeResult {
        let (started_at, ended_at) = (self.started_at.nanoseconds(), now().nanoseconds());
        ProbeResult { started_at, ended_at, exit_code, output }
    }
}

/// The descriptor of a child that has not been waited for.
fn watch(child: &Child) -> Result<OwnedFd, RuntimeError> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH);
    let opened = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    opened.map_err(|errno| RuntimeError::Spawn { source: errno.into() })
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// What has come of a probe, frame by frame.
#[derive(Debug, Default)]
struct Said {
    head: Vec<u8>,
    /// The frame being read and how much of its payload is missing.
    current: Option<(FrameKind, usize)>,
    payload: Vec<u8>,
    output: Vec<u8>,
    is_shortened: bool,
    code: Option<u32>,
    failure: Option<String>,
}

/// The other side does not keep to the protocol.
#[derive(Debug, PartialEq, Eq)]
struct Nonsense;

impl Said {
    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Nonsense> {
        let mut bytes = bytes;
        loop {
            let Some((kind, missing)) = self.current else {
                let (taken, rest) = bytes.split_at(bytes.len().min(HEADER_LENGTH - self.head.len()));
                self.head.extend_from_slice(taken);
                bytes = rest;
                let Ok(head) = <[u8; HEADER_LENGTH]>::try_from(self.head.as_slice()) else { return Ok(()) };
                let header = FrameHeader::decode(head).map_err(|_| Nonsense)?;
                self.head.clear();
                self.current = Some((header.kind, header.length));
                continue;
            };
            let (taken, rest) = bytes.split_at(bytes.len().min(missing));
            self.keep(kind, taken)?;
            bytes = rest;
            self.current = Some((kind, missing - taken.len()));
            if taken.len() < missing {
                return Ok(());
            }
            self.current = None;
            self.complete(kind)?;
        }
    }

    fn keep(&mut self, kind: FrameKind, bytes: &[u8]) -> Result<(), Nonsense> {
        if matches!(kind, FrameKind::Stdout | FrameKind::Stderr) {
            let room = OUTPUT_LENGTH_MAX - self.output.len();
            self.is_shortened |= bytes.len() > room;
            self.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return Ok(());
        }
        if self.payload.len() + bytes.len() > PAYLOAD_LENGTH_MAX {
            return Err(Nonsense);
        }
        self.payload.extend_from_slice(bytes);
        Ok(())
    }

    fn complete(&mut self, kind: FrameKind) -> Result<(), Nonsense> {
        let payload = std::mem::take(&mut self.payload);
        match kind {
            FrameKind::Exit => {
                let (code, _) = payload.split_first_chunk().ok_or(Nonsense)?;
                self.code = Some(u32::from_be_bytes(*code));
            }
            FrameKind::Failed => {
                let source: SetupError = postcard::from_bytes(&payload).map_err(|_| Nonsense)?;
                self.failure = Some(RuntimeError::Setup { source }.to_string());
            }
            _ => {}
        }
        Ok(())
    }

    /// What it has said; what is no text is replaced.
    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.output).into_owned();
        if self.is_shortened {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
        let mut frame = FrameHeader::new(kind, payload.len()).encode().to_vec();
        frame.extend(payload);
        frame
    }

    fn conversation() -> Vec<u8> {
        let mut bytes = frame(FrameKind::Started, &[1, 2, 3]);
        bytes.extend(frame(FrameKind::Stdout, b"one "));
        bytes.extend(frame(FrameKind::Stderr, b""));
        bytes.extend(frame(FrameKind::Stderr, b"two \xff"));
        bytes.extend(frame(FrameKind::Exit, &[0, 0, 0, 7, 0, 0]));
        bytes
    }

    #[test]
    fn a_flood_is_cut_and_said_to_be() {
        let mut said = Said::default();
        for _ in 0..100 {
            said.take_in(&frame(FrameKind::Stdout, &[b'y'; 1000])).unwrap();
        }
        assert_eq!(said.text().len(), OUTPUT_LENGTH_MAX + 3);
        assert!(said.text().ends_with("y..."));
        assert!(said.output.capacity() < 4 * OUTPUT_LENGTH_MAX);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(Said::default().take_in(&[99; 8]), Err(Nonsense));
        assert_eq!(Said::default().take_in(&frame(FrameKind::Exit, &[1])), Err(Nonsense));
        assert_eq!(Said::default().take_in(&frame(FrameKind::Failed, &[0; 20 << 10])), Err(Nonsense));
    }

    proptest! {
        #[test]
        fn frames_mean_the_same_however_they_are_cut(cuts in prop::collection::vec(1_usize..20, 1..40)) {
            let bytes = conversation();
            let (mut said, mut rest) = (Said::default(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                said.take_in(piece).unwrap();
                rest = after;
            }
            prop_assert_eq!(said.text(), "one two \u{fffd}");
            prop_assert_eq!((said.code, said.failure), (Some(7), None));
        }
    }
}
