//! The loop between a terminal and a container: one thread, one poll, a few fixed buffers.

use super::detach::{DetachKeys, DetachMatcher};
use super::inlet::{Inlet, Piece};
use super::outlet::Outlet;
use super::raw::{RawMode, window_size};
use super::signals::{self, SignalListener};
use mica_model::frame::{FrameError, FrameHeader, FrameKind};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How much input is read at once, in bytes; no more is read until it has been sent.
const INPUT_LENGTH: usize = 64 * 1024;

/// How long a monitor may take to hear that we leave.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What is joined to the container, and how.
pub struct AttachOptions<'a> {
    /// Read and sent as the container's input; its end is sent too.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Takes the container's standard output; without it that is dropped.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Takes the container's standard error; without it that is dropped.
    pub stderr: Option<BorrowedFd<'a>>,
    /// Our terminal, when the container has one: it is made raw (if it is our input) and its size
    /// is sent now and whenever it changes.
    pub terminal: Option<BorrowedFd<'a>>,
    /// Keys that leave the container running.
    pub detach_keys: Option<DetachKeys>,
    /// Called with each signal we receive (`--sig-proxy`); without it signals end us as usual.
    pub on_signal: Option<&'a mut dyn FnMut(i32)>,
}

impl std::fmt::Debug for AttachOptions<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AttachOptions").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// How being attached came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachEnd {
    /// The container's program has ended.
    Exit {
        /// Its exit code.
        code: u32,
        /// Whether the kernel ended it for want of memory.
        out_of_memory: bool,
    },
    /// The keys were typed; the container goes on.
    Detached,
    /// The container could not be started.
    Failed {
        /// The reason, as the monitor sent it.
        message: String,
    },
    /// We took nothing for too long while the container waited for us; it goes on.
    LeftBehind,
    /// The connection ended without a word.
    Lost,
}

/// Why the loop could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The terminal cannot be made raw.
    #[error("cannot set up the terminal")]
    Terminal {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Our output cannot be written; a closed pipe is among these.
    #[error("cannot write the container's output")]
    Output {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The connection cannot be used.
    #[error("cannot speak with the container's monitor")]
    Connection {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The other side does not keep the protocol.
    #[error("the container's monitor sent nonsense")]
    Frame {
        /// What is wrong.
        #[from]
        source: FrameError,
    },
}

impl AttachError {
    /// What kind of failure this is.
    pub const fn kind(&self) -> mica_model::ErrorKind {
        mica_model::ErrorKind::Internal
    }

    /// Whether nobody reads our output any more, about which nothing is to be said.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Copies between `stream` and the descriptors of `options` until the container ends or the user
/// leaves. The terminal is as before when this returns.
///
/// # Errors
/// When the terminal, our output or the connection fails.
pub fn attach_loop<'a>(stream: &'a UnixStream, options: AttachOptions<'a>) -> Result<AttachEnd, AttachError> {
    let connection = |source| AttachError::Connection { source };
    let raw = match (options.terminal, options.stdin) {
        (Some(_), Some(stdin)) if rustix::termios::isatty(stdin) => {
            Some(RawMode::enter(stdin).map_err(|source| AttachError::Terminal { source })?)
        }
        _ => None,
    };
    let mut listened = if options.on_signal.is_some() { signals::PROXIED } else { &[] }.to_vec();
    if raw.is_some() && options.on_signal.is_none() {
        listened.extend_from_slice(signals::FATAL);
    }
    if options.terminal.is_some() {
        listened.push(signals::WINDOW_CHANGED);
    }
    let listener = SignalListener::new(&listened).map_err(|source| AttachError::Terminal { source })?;
    stream.set_nonblocking(true).map_err(connection)?;
    let end = Attachment::new(stream, options, listener).run();
    stream.set_nonblocking(false).map_err(connection)?;
    drop(raw);
    end
}

/// The state of the loop.
struct Attachment<'a> {
    socket: &'a UnixStream,
    stdin: Option<BorrowedFd<'a>>,
    terminal: Option<BorrowedFd<'a>>,
    matcher: Option<DetachMatcher>,
    on_signal: Option<&'a mut dyn FnMut(i32)>,
    listener: SignalListener,
    inlet: Inlet,
    outlets: [Option<Outlet<'a>>; 2],
    /// The outlet whose reader is busy; until it is ready nothing more is taken from the socket.
    busy: Option<usize>,
    input: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    detached: bool,
}

/// What poll(2) found ready.
#[derive(Debug, Default)]
struct Ready {
    socket_read: bool,
    socket_write: bool,
    stdin: bool,
    signals: bool,
    outlet: bool,
}

impl<'a> Attachment<'a> {
    fn new(socket: &'a UnixStream, options: AttachOptions<'a>, listener: SignalListener) -> Self {
        Self {
            socket,
            stdin: options.stdin,
            terminal: options.terminal,
            matcher: options.detach_keys.map(DetachMatcher::new),
            on_signal: options.on_signal,
            listener,
            inlet: Inlet::new(),
            outlets: [options.stdout.map(Outlet::new), options.stderr.map(Outlet::new)],
            busy: None,
            input: vec![0; INPUT_LENGTH],
            outgoing: Vec::with_capacity(INPUT_LENGTH + 256),
            sent: 0,
            detached: false,
        }
    }

    fn run(mut self) -> Result<AttachEnd, AttachError> {
        self.send_size();
        loop {
            let ready = self.wait().map_err(|source| AttachError::Connection { source })?;
            if ready.signals {
                self.take_signals();
            }
            if ready.stdin {
                self.take_input();
            }
            if ready.socket_write || !self.outgoing.is_empty() {
                self.send()?;
            }
            if self.detached {
                self.say_farewell();
                return Ok(AttachEnd::Detached);
            }
            if ready.outlet {
                self.busy = None;
            }
            if self.busy.is_none()
                && let Some(end) = self.take_output(ready.socket_read)?
            {
                return Ok(end);
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut polled = vec![PollFd::from_borrowed_fd(self.listener.descriptor(), PollFlags::IN)];
        let mut socket_flags = PollFlags::empty();
        socket_flags.set(PollFlags::IN, self.busy.is_none());
        socket_flags.set(PollFlags::OUT, !self.outgoing.is_empty());
        // With neither, poll would still report a hang-up, and spin while the reader is busy.
        let socket = (!socket_flags.is_empty()).then(|| {
            polled.push(PollFd::from_borrowed_fd(self.socket.as_fd(), socket_flags));
            polled.len() - 1
        });
        let stdin = self.stdin.filter(|_| self.outgoing.is_empty()).map(|stdin| {
            polled.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
            polled.len() - 1
        });
        let outlet = self.busy.and_then(|index| self.outlets[index].as_ref()).map(|outlet| {
            polled.push(PollFd::from_borrowed_fd(outlet.descriptor(), PollFlags::OUT));
            polled.len() - 1
        });
        match poll(&mut polled, None) {
            Ok(_) => {}
            // The handler has written to the listener, which the next round sees.
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let events = |index: Option<usize>| index.map_or(PollFlags::empty(), |index| polled[index].revents());
        let ended = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(Ready {
            signals: !polled[0].revents().is_empty(),
            socket_read: events(socket).intersects(PollFlags::IN | ended),
            socket_write: events(socket).intersects(PollFlags::OUT),
            stdin: events(stdin).intersects(PollFlags::IN | ended),
            outlet: events(outlet).intersects(PollFlags::OUT | ended),
        })
    }

    fn take_signals(&mut self) {
        let arrived: Vec<i32> = self.listener.pending().collect();
        for signal in arrived {
            match &mut self.on_signal {
                _ if signal == signals::WINDOW_CHANGED => self.send_size(),
                Some(on_signal) => on_signal(signal),
                None => signals::end_by(signal),
            }
        }
    }

    fn take_input(&mut self) {
        let Some(stdin) = self.stdin else { return };
        match rustix::io::read(stdin, &mut self.input[..]) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal that has hung up is at its end like a file.
            Ok(0) | Err(_) => self.end_input(),
            Ok(count) => self.forward(count),
        }
    }

    fn forward(&mut self, count: usize) {
        let input = &self.input[..count];
        let Some(matcher) = &mut self.matcher else {
            self.outgoing.extend_from_slice(&FrameHeader::new(FrameKind::Stdin, count).encode());
            self.outgoing.extend_from_slice(input);
            return;
        };
        let mut kept = Vec::with_capacity(count + 16);
        self.detached = matcher.feed(input, &mut kept);
        if !kept.is_empty() {
            self.queue(FrameKind::Stdin, &kept);
        }
    }

    fn end_input(&mut self) {
        self.stdin = None;
        let held = self.matcher.as_mut().map(|matcher| matcher.finish().to_vec()).unwrap_or_default();
        if !held.is_empty() {
            self.queue(FrameKind::Stdin, &held);
        }
        self.queue(FrameKind::StdinClose, &[]);
    }

    fn queue(&mut self, kind: FrameKind, payload: &[u8]) {
        self.outgoing.extend_from_slice(&FrameHeader::new(kind, payload.len()).encode());
        self.outgoing.extend_from_slice(payload);
    }

    fn send_size(&mut self) {
        let Some(size) = self.terminal.and_then(window_size) else { return };
        // A monitor that does not listen must not make us collect sizes for ever.
        if self.outgoing.len() < 2 * INPUT_LENGTH {
            let (rows, columns) = (size.rows.to_be_bytes(), size.columns.to_be_bytes());
            self.queue(FrameKind::Resize, &[rows[0], rows[1], columns[0], columns[1]]);
        }
    }

    fn send(&mut self) -> Result<(), AttachError> {
        while self.sent < self.outgoing.len() {
            match self.socket.write(&self.outgoing[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The monitor takes no more input, but its last words may still be unread.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    self.stdin = None;
                    self.terminal = None;
                    break;
                }
                Err(source) => return Err(AttachError::Connection { source }),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    /// Sends what was typed before the keys and that we leave; whether it arrives in time or not,
    /// we leave, and closing the connection says the same.
    fn say_farewell(&mut self) {
        self.queue(FrameKind::Detach, &[]);
        let patient =
            self.socket.set_nonblocking(false).and(self.socket.set_write_timeout(Some(FAREWELL_TIMEOUT)));
        if patient.is_ok() {
            let mut socket = self.socket;
            let _ = socket.write_all(&self.outgoing[self.sent..]);
        }
    }

    /// Writes what the inlet holds, then reads again if the socket is ready.
    fn take_output(&mut self, readable: bool) -> Result<Option<AttachEnd>, AttachError> {
        if let Some(end) = self.drain()? {
            return Ok(Some(end));
        }
        if self.busy.is_some() || !readable {
            return Ok(None);
        }
        let closed =
            self.inlet.fill(&mut &*self.socket).map_err(|source| AttachError::Connection { source })?;
        let end = self.drain()?;
        Ok(end.or_else(|| closed.then_some(AttachEnd::Lost)))
    }

    fn drain(&mut self) -> Result<Option<AttachEnd>, AttachError> {
        loop {
            let used = match self.inlet.next()? {
                Piece::Nothing => return Ok(None),
                Piece::Control { kind, payload } => match control_end(kind, &payload) {
                    Some(end) => return Ok(Some(end)),
                    None => {
                        // Whatever size was set before the program ran may have been lost.
                        self.send_size();
                        continue;
                    }
                },
                Piece::Output { kind, bytes } => {
                    let index = usize::from(kind == FrameKind::Stderr);
                    let used = match &mut self.outlets[index] {
                        Some(outlet) => {
                            outlet.write(bytes).map_err(|source| AttachError::Output { source })?
                        }
                        None => bytes.len(),
                    };
                    if used == 0 {
                        self.busy = Some(index);
                        return Ok(None);
                    }
                    used
                }
            };
            self.inlet.consume(used);
        }
    }
}

/// What a frame that is not output means for us; `Started` goes on.
fn control_end(kind: FrameKind, payload: &[u8]) -> Option<AttachEnd> {
    match (kind, payload) {
        (FrameKind::Exit, &[a, b, c, d, out_of_memory, ..]) => Some(AttachEnd::Exit {
            code: u32::from_be_bytes([a, b, c, d]),
            out_of_memory: out_of_memory != 0,
        }),
        (FrameKind::Exit, _) => Some(AttachEnd::Lost),
        (FrameKind::LeftBehind, _) => Some(AttachEnd::LeftBehind),
        (FrameKind::Failed, message) => {
            Some(AttachEnd::Failed { message: String::from_utf8_lossy(message).into_owned() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
