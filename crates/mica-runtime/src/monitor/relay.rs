//! The loop of a monitor: container's output to log and clients, clients' input to the container.
//!
//! An attached client that does not read stops the reading of the container's output, as a terminal
//! or a pipe would, so that memory stays flat and nothing is lost: the one that started the container for
//! as long as it likes, those that joined later for some seconds, and then they are told that they were
//! left behind. It stops nothing else: the end of the container is noticed and recorded all the same, and
//! what a slow client has not taken by then is kept for it alone.

use super::birth::{Newborn, Residence};
use super::client::{Client, Gone, Input};
use super::feed::Feed;
use super::log::Log;
use super::oom::OomWatch;
use super::vigil::Vigil;
use super::watch_set::{WatchSet, raise_limit};
use crate::order::MonitorOrder;
use crate::plan::EventPlan;
use crate::{Attach, Companion, StdinPlan, TerminalSize, cgroup};
use mica_model::Timestamp;
use mica_model::frame::FrameKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::termios::Winsize;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Size of the one buffer that all reading goes through: the capacity of a pipe.
const BUFFER_LENGTH: usize = 64 << 10;

/// Most clients at a time, well below the usual limit of open files.
const CLIENTS_MAX: usize = 512;

/// How long nobody is let in after there was no descriptor for somebody.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The signal that nothing can ignore.
const KILL: i32 = 9;

/// How long nothing must happen before memory is given back.
const IDLE: Duration = Duration::from_secs(1);

/// A monitor at work.
#[derive(Debug)]
pub(super) struct Relay {
    /// `None` between two lives.
    pub(super) process: Option<OwnedFd>,
    pub(super) pid: u32,
    pub(super) started_at: Timestamp,
    pub(super) warnings: Vec<String>,
    pub(super) residence: Option<Residence>,
    pub(super) group: Option<cgroup::Group>,
    pub(super) clients: Vec<Client>,
    /// The container's root. Whoever lets go of a writable overlay last waits until all that is to be
    /// written to its disk has been: this way not the container's processes, whose end is waited for.
    pub(super) root: Option<OwnedFd>,
    /// By a clock that nobody sets.
    born: Instant,
    /// Processes killed for lack of memory in the lives before.
    oom_kills_before: u64,
    sources: Vec<Source>,
    terminal: Option<OwnedFd>,
    feed: Feed,
    close_after_first: bool,
    /// Nobody attached means that nobody wants it any more.
    ends_with_clients: bool,
    log: Log,
    /// Tells when memory runs out.
    pub(super) oom: Option<OomWatch>,
    /// Watches over the container's health.
    pub(super) vigil: Option<Vigil>,
    buffer: Vec<u8>,
    /// Until then nobody is let in, because there was no descriptor for them.
    accept_at: Option<Instant>,
    /// See [`crate::Companion`].
    pub(super) companion: Option<Box<dyn Companion>>,
}

/// A stream that the container writes to.
#[derive(Debug)]
struct Source {
    kind: FrameKind,
    descriptor: OwnedFd,
}

/// What one entry of the poll set was for.
#[derive(Debug, Clone, Copy)]
enum Watched {
    End,
    Listener,
    Source(usize),
    Feed,
    Log,
    Oom,
    Client(usize),
    Probe,
    Companion,
}

impl Relay {
    pub(super) fn new(
        order: &MonitorOrder,
        mut newborn: Newborn,
        (residence, log): (Option<Residence>, Log),
    ) -> Self {
        let streams = Streams::of(order, &mut newborn);
        Self {
            process: Some(newborn.pidfd),
            pid: newborn.pid,
            started_at: newborn.started_at,
            warnings: newborn.warnings,
            residence,
            group: newborn.group,
            clients: Vec::new(),
            root: newborn.root,
            born: Instant::now(),
            oom_kills_before: 0,
            sources: streams.sources,
            terminal: newborn.terminal,
            feed: streams.feed,
            close_after_first: streams.close_after_first,
            ends_with_clients: order.ends_with_clients,
            log,
            oom: None,
            vigil: None,
            buffer: Vec::new(),
            accept_at: None,
            companion: None,
        }
    }

    /// Starts to watch the container's memory.
    pub(super) fn watch_memory(&mut self, plan: Option<&EventPlan>) {
        self.oom = self.group.as_ref().zip(plan).and_then(|(group, plan)| OomWatch::open(group, plan));
    }

    /// Announces that memory has run out.
    fn look_at_memory(&mut self) {
        if let Some(watch) = &mut self.oom {
            watch.look();
        }
    }

    /// Starts a probe, or ends one.
    fn look_at_health(&mut self) {
        let Self { vigil: Some(vigil), process: Some(process), group: Some(group), .. } = self else {
            return;
        };
        vigil.look(process.as_fd(), group);
    }

    /// Goes on with the next life.
    pub(super) fn renew(&mut self, order: &MonitorOrder, mut newborn: Newborn) {
        let streams = Streams::of(order, &mut newborn);
        self.process = Some(newborn.pidfd);
        (self.pid, self.started_at, self.born) = (newborn.pid, newborn.started_at, Instant::now());
        (self.sources, self.feed, self.terminal) = (streams.sources, streams.feed, newborn.terminal);
        self.close_after_first = streams.close_after_first;
        self.root = newborn.root;
    }

    /// How long this life has lasted.
    pub(super) fn lasted(&self) -> Duration {
        self.born.elapsed()
    }

    /// Whether a process of this life was killed for lack of memory.
    pub(super) fn was_out_of_memory(&mut self) -> bool {
        let kills = self.group.as_ref().map_or(0, cgroup::Group::oom_kills);
        std::mem::replace(&mut self.oom_kills_before, kills) < kills
    }

    /// Takes the starter's own connection in as the first client.
    pub(super) fn adopt(&mut self, socket: UnixStream, attach: Attach) {
        self.clients.extend(Client::new(socket, Some(attach)));
    }

    /// Works until the first process has ended.
    pub(super) fn until_exit(&mut self) {
        let mut is_busy = true;
        loop {
            let idle = (is_busy || self.accept_at.is_some()).then_some(IDLE);
            let now = Instant::now();
            let due = self.vigil.as_ref().and_then(Vigil::deadline);
            let due = self.clients.iter().filter_map(Client::deadline).chain(due).min();
            let due = due.map(|due| due.saturating_duration_since(now));
            let timeout = [idle, due].into_iter().flatten().min();
            match self.turn(timeout.and_then(|timeout| Timespec::try_from(timeout).ok())) {
                Turn::Ended => return,
                Turn::Quiet => {
                    is_busy = false;
                    self.rest();
                }
                Turn::Busy => is_busy = true,
            }
            self.look_at_health();
            self.leave_stalled_behind();
            if self.ends_with_clients && self.clients.is_empty() {
                // One that has just ended is noticed in the next turn.
                let _ = self.process.as_ref().map(|process| mica_sys::signal::send(process.as_fd(), KILL));
                self.ends_with_clients = false;
            }
        }
    }

    /// Lets those go for whom the container has waited long enough, if it has something to say at all.
    fn leave_stalled_behind(&mut self) {
        let now = Instant::now();
        let is_due = |client: &Client| client.deadline().is_some_and(|deadline| deadline <= now);
        if !self.clients.iter().any(is_due) {
            return;
        }
        let is_output_waiting = self.is_output_waiting();
        self.clients.retain_mut(|client| match is_due(client) {
            true if is_output_waiting => client.leave_behind().is_ok(),
            true => {
                client.be_patient(now);
                true
            }
            false => true,
        });
    }

    /// Whether the container has written something that was not read yet.
    fn is_output_waiting(&self) -> bool {
        let sources = self.sources.iter().map(|source| PollFd::new(&source.descriptor, PollFlags::IN));
        let mut set: Vec<PollFd<'_>> = sources.collect();
        match poll(&mut set, Some(&Timespec::default())) {
            Ok(_) => set.iter().any(|source| source.revents().contains(PollFlags::IN)),
            // It cannot be told.
            Err(_) => true,
        }
    }

    /// Serves clients between two lives until `deadline`; `false` when it `is_over` before. Whoever
    /// makes it so connects afterwards, which wakes this.
    pub(super) fn until(&mut self, deadline: Instant, is_over: &dyn Fn() -> bool) -> bool {
        self.process = None;
        while !is_over() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.turn(Timespec::try_from(left).ok());
        }
        false
    }

    /// Does what is to be done now, or within `timeout`.
    fn turn(&mut self, timeout: Option<Timespec>) -> Turn {
        let ready = self.wait(timeout);
        if ready.is_empty() {
            self.accept_at = None;
            return Turn::Quiet;
        }
        for (watched, flags) in ready.into_iter().rev() {
            match watched {
                Watched::End if self.has_ended() => return Turn::Ended,
                Watched::End => {}
                Watched::Listener => self.accept(),
                Watched::Source(index) => {
                    self.read_source(index);
                }
                Watched::Feed => self.feed.flush(),
                Watched::Log => self.log.flush(),
                Watched::Oom => self.look_at_memory(),
                Watched::Client(index) => self.serve(index, flags),
                Watched::Probe => {
                    self.buffer.resize(BUFFER_LENGTH, 0);
                    if let Some(vigil) = &mut self.vigil {
                        vigil.listen(&mut self.buffer);
                    }
                }
                Watched::Companion => {
                    if let Some(companion) = &mut self.companion {
                        companion.serve();
                    }
                }
            }
        }
        Turn::Busy
    }

    /// Whether the first process waits to be reaped.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.process.as_ref().is_some_and(|process| {
            !matches!(waitid(WaitId::PidFd(process.as_fd()), options), Ok(None) | Err(Errno::INTR))
        })
    }

    /// Gives memory back that a burst has taken.
    fn rest(&mut self) {
        self.buffer = Vec::new();
        self.log.rest();
        mica_sys::process::trim_memory();
    }

    fn wait(&self, timeout: Option<Timespec>) -> Vec<(Watched, PollFlags)> {
        let mut set = WatchSet::new();
        if let Some(process) = &self.process {
            set.add(Watched::End, process.as_fd(), PollFlags::IN);
        }
        if let Some(residence) = &self.residence
            && self.accept_at.is_none_or(|instant| Instant::now() >= instant)
        {
            set.add(Watched::Listener, residence.listener.as_fd(), PollFlags::IN);
        }
        if let Some((descriptor, flags)) = self.oom.as_ref().map(OomWatch::descriptor) {
            set.add(Watched::Oom, descriptor, flags);
        }
        for (receiver, flags) in self.log.backlog() {
            set.add(Watched::Log, receiver, flags);
        }
        if let Some((descriptor, flags)) = self.vigil.as_ref().and_then(Vigil::descriptor) {
            set.add(Watched::Probe, descriptor, flags);
        }
        if let Some(companion) = &self.companion {
            set.add(Watched::Companion, companion.descriptor(), PollFlags::IN);
        }
        if !self.log.is_full() && !self.clients.iter().any(Client::holds_up) {
            for (index, source) in self.sources.iter().enumerate() {
                set.add(Watched::Source(index), source.descriptor.as_fd(), PollFlags::IN);
            }
        }
        if let Some(pipe) = self.feed.waiting() {
            set.add(Watched::Feed, pipe, PollFlags::OUT);
        }
        for (index, client) in self.clients.iter().enumerate() {
            let is_heard =
                !client.read_closed && !client.is_leaving && (!client.feeds() || self.feed.has_room());
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, is_heard);
            wanted.set(PollFlags::OUT, client.has_pending());
            // One that is neither heard nor owed anything is left out: its hang-up would be
            // reported again and again while its last input waits for the container.
            if !wanted.is_empty() || client.read_closed {
                set.add(Watched::Client(index), client.descriptor(), wanted);
            }
        }
        set.wait(timeout.as_ref())
    }

    fn accept(&mut self) {
        let Some(residence) = &self.residence else { return };
        loop {
            let socket = match residence.listener.accept() {
                Ok((socket, _)) => socket,
                // Somebody has lowered its limit of open files.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::MFILE) && raise_limit(0) => {
                    continue;
                }
                Err(error) => {
                    // Without a free descriptor the connection stays, and would be reported for ever.
                    let is_exhausted = matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
                    );
                    self.accept_at = is_exhausted.then(|| Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            };
            let is_ours = rustix::net::sockopt::socket_peercred(&socket)
                .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid());
            // Beyond that a connection is accepted and closed: left waiting, it would be reported for ever.
            if is_ours && self.clients.len() < CLIENTS_MAX {
                self.clients.extend(Client::new(socket, None));
            }
        }
    }

    /// Reads once from a source; `false` when there is nothing (more) to read.
    fn read_source(&mut self, index: usize) -> bool {
        self.buffer.resize(BUFFER_LENGTH, 0);
        let Some(source) = self.sources.get(index) else { return false };
        let kind = source.kind;
        match rustix::io::retry_on_intr(|| rustix::io::read(&source.descriptor, self.buffer.as_mut_slice())) {
            Ok(length) if length > 0 => {
                self.broadcast(kind, length);
                true
            }
            Err(Errno::AGAIN) => false,
            // A terminal whose every user has closed it reads as an error.
            Ok(_) | Err(_) => {
                self.sources.remove(index);
                false
            }
        }
    }

    fn broadcast(&mut self, kind: FrameKind, length: usize) {
        let bytes = &self.buffer[..length];
        self.log.record(kind, bytes, super::now());
        self.clients.retain_mut(|client| !client.wants(kind) || client.send(kind, bytes).is_ok());
    }

    fn serve(&mut self, index: usize, flags: PollFlags) {
        if flags.contains(PollFlags::OUT) {
            let client = &mut self.clients[index];
            if client.flush().is_err() || client.is_leaving && !client.has_pending() {
                return self.part_from(index);
            }
        }
        if flags.contains(PollFlags::IN) {
            return self.hear(index);
        }
        if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
            self.part_from(index);
        }
    }

    fn hear(&mut self, index: usize) {
        self.buffer.resize(BUFFER_LENGTH, 0);
        let client = &mut self.clients[index];
        match client.read(&mut self.buffer) {
            Ok(0) => {
                client.read_closed = true;
                if client.feeds() {
                    self.end_of_input();
                }
            }
            Ok(length) => {
                if self.obey(index, length).is_err() {
                    self.part_from(index);
                }
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.part_from(index),
        }
    }

    fn obey(&mut self, index: usize, length: usize) -> Result<(), Gone> {
        let Self { clients, feed, terminal, buffer, close_after_first, .. } = self;
        let client = &mut clients[index];
        let feeds = |attach: Option<Attach>| attach.is_some_and(|attach| attach.stdin);
        let mut may_feed = feeds(client.attach);
        let (mut is_leaving, mut is_new, mut pause) = (false, false, None);
        client.parse(&buffer[..length], &mut |input| match input {
            Input::Hello(hello) => {
                is_new = true;
                may_feed = hello.attach.stdin;
            }
            Input::Stdin(bytes) if may_feed => feed.push(bytes),
            Input::StdinClose if may_feed && *close_after_first => feed.close(),
            Input::Resize(size) => resize(terminal.as_ref(), size),
            Input::Pause(is_paused) => pause = Some(is_paused),
            Input::Detach => is_leaving = true,
            Input::Stdin(_) | Input::StdinClose => {}
        })?;
        if is_new {
            client.send(FrameKind::Started, &[])?;
        }
        if let Some((is_paused, vigil)) = pause.zip(self.vigil.as_mut()) {
            vigil.note_pause(is_paused);
        }
        if is_leaving {
            self.clients.remove(index);
        }
        Ok(())
    }

    fn part_from(&mut self, index: usize) {
        if self.clients.remove(index).feeds() {
            self.end_of_input();
        }
    }

    /// A client that fed the container feeds it no more.
    fn end_of_input(&mut self) {
        if self.close_after_first {
            self.feed.close();
        }
    }

    /// Takes what is left in the pipes of a container that has ended.
    ///
    /// Bounded, because a process that outlives the first one could write for ever.
    pub(super) fn drain(&mut self) {
        const READS_MAX: usize = 64;
        for index in (0..self.sources.len()).rev() {
            for _ in 0..READS_MAX {
                if !self.read_source(index) {
                    break;
                }
            }
        }
        self.log.finish(super::now());
    }

    /// Puts away what a receiver of the log has not taken yet.
    pub(super) fn settle_log(&mut self) {
        self.log.settle();
    }

    /// Tells attached clients of the end of a life, the last thing that they hear.
    pub(super) fn dismiss(&mut self, payload: &[u8]) {
        self.clients.retain_mut(|client| match client.attach.take() {
            Some(_) => {
                client.is_leaving = true;
                client.send(FrameKind::Exit, payload).is_ok() && client.has_pending()
            }
            // What it wants it has not said yet, and may want of the next life; or it is leaving already.
            None => true,
        });
    }

    /// Sends what clients have not taken yet, waiting `timeout` seconds at most for any of them to
    /// take something; `false` when that time has passed or nothing is left.
    pub(super) fn flush_clients(&mut self, timeout: i64) -> bool {
        self.clients.retain_mut(|client| client.flush().is_ok());
        self.clients.retain(Client::has_pending);
        if self.clients.is_empty() {
            return false;
        }
        let interest = PollFlags::OUT;
        let mut set: Vec<PollFd<'_>> = self
            .clients
            .iter()
            .map(|client| PollFd::from_borrowed_fd(client.descriptor(), interest))
            .collect();
        let timeout = Timespec { tv_sec: timeout, tv_nsec: 0 };
        !matches!(poll(&mut set, Some(&timeout)), Ok(0))
    }

    /// Lets go of the container's streams.
    pub(super) fn release(&mut self) {
        self.sources.clear();
        self.terminal = None;
        self.feed = Feed::new(None);
        self.buffer = Vec::new();
    }
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something was done.
    Busy,
    /// Nothing was to be done.
    Quiet,
    /// The first process has ended.
    Ended,
}

/// Our ends of a life's standard streams.
struct Streams {
    sources: Vec<Source>,
    feed: Feed,
    close_after_first: bool,
}

impl Streams {
    fn of(order: &MonitorOrder, newborn: &mut Newborn) -> Self {
        let mut sources = Vec::new();
        let mut add = |kind, descriptor: Option<OwnedFd>| {
            sources.extend(descriptor.map(|descriptor| Source { kind, descriptor }));
        };
        let duplicate = |terminal: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(terminal, 3).ok();
        add(FrameKind::Stdout, newborn.stdout.take());
        add(FrameKind::Stderr, newborn.stderr.take());
        add(FrameKind::Stdout, newborn.terminal.as_ref().and_then(duplicate));
        if let Some(terminal) = &newborn.terminal {
            let _ = rustix::io::ioctl_fionbio(terminal, true);
        }
        let stdin = newborn.stdin.take();
        let input = match order.stdin {
            StdinPlan::Open { .. } => stdin.or_else(|| newborn.terminal.as_ref().and_then(duplicate)),
            StdinPlan::Null => None,
        };
        // A terminal has no end of input that could be closed from this side.
        let close_after_first =
            order.stdin == StdinPlan::Open { close_after_first: true } && newborn.terminal.is_none();
        Self { sources, feed: Feed::new(input), close_after_first }
    }
}

fn resize(terminal: Option<&OwnedFd>, size: TerminalSize) {
    if let Some(terminal) = terminal {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = rustix::termios::tcsetwinsize(terminal.as_fd(), size);
    }
}
