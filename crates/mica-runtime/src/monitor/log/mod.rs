//! The log of a container: its output cut into lines, for each driver that records them.
//!
//! Lines longer than 16 KiB are cut into pieces, as docker cuts them. A driver is one file here
//! behind the trait [`Driver`]; the suite in `tests` is for all of them. Nothing here ever waits: a
//! driver whose receiver is slow says so, and the monitor's loop waits for it beside everything else.

mod file;
mod journald;
mod json;
mod local;
mod outbox;
mod syslog;
#[cfg(test)]
mod tests;
mod tls;

pub use file::identity;
pub(crate) use file::{COMPRESS_NAME, compress};

use crate::error::SetupError;
use crate::{LogDriver, LogPlan};
use mica_model::Timestamp;
use mica_model::frame::FrameKind;
use rustix::event::PollFlags;
use std::fmt::{Debug, Write};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Longest piece of a line (docker's copier).
const PIECE_LENGTH_MAX: usize = 16 << 10;

/// Pieces are written together up to about this many bytes.
const BATCH_LENGTH: usize = 64 << 10;

/// How long a receiver may take nothing at all before what it is owed at the end is discarded.
const PATIENCE: Duration = Duration::from_secs(10);

/// Something that records output.
trait Driver: Debug {
    /// Takes a piece; it may be kept until the next [`Driver::flush`].
    fn add(&mut self, piece: &Piece<'_>);

    /// Puts away what was taken, as far as that can be done without waiting.
    fn flush(&mut self);

    /// What to wait for, while there is more to put away.
    fn backlog(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        None
    }

    /// Whether the container's output has to wait.
    fn is_full(&self) -> bool {
        false
    }

    /// Gives memory back.
    fn rest(&mut self);
}

/// A line without its end, or a piece of a long one.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    stream: Stream,
    time: Timestamp,
    text: &'a [u8],
    /// The line's end follows it.
    is_complete: bool,
    /// Set for the pieces of a line that was cut.
    part: Option<Part<'a>>,
}

/// Which piece of a long line it is.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    /// The same for all pieces of the line, and for no others.
    id: &'a str,
    /// From 1.
    ordinal: u32,
    is_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

impl Stream {
    fn of(kind: FrameKind) -> Self {
        if kind == FrameKind::Stderr { Self::Error } else { Self::Output }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Output => "stdout",
            Self::Error => "stderr",
        }
    }
}

/// A log being written.
#[derive(Debug)]
pub(super) struct Log {
    drivers: Vec<Box<dyn Driver>>,
    /// Beginnings of lines whose ends have not come yet, of output and of errors.
    begun: [Begun; 2],
}

/// The beginning of a line.
#[derive(Debug, Default)]
struct Begun {
    text: Vec<u8>,
    /// Of a line of which pieces were recorded already.
    id: String,
    ordinal: u32,
}

impl Log {
    pub(super) fn open(plan: &LogPlan) -> Result<Self, SetupError> {
        let drivers = plan.drivers.iter().map(open_driver).collect::<Result<_, _>>()?;
        Ok(Self { drivers, begun: Default::default() })
    }

    /// Records output; all of it gets the same time.
    pub(super) fn record(&mut self, kind: FrameKind, bytes: &[u8], time: Timestamp) {
        if self.drivers.is_empty() {
            return;
        }
        let stream = Stream::of(kind);
        let mut begun = std::mem::take(&mut self.begun[stream as usize]);
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = rest.split_at(end);
            if begun.is_empty() && line.len() <= PIECE_LENGTH_MAX {
                self.add(&Piece { stream, time, text: line, is_complete: true, part: None });
            } else {
                self.extend(&mut begun, line, (stream, time));
                self.end(&mut begun, true, (stream, time));
            }
            rest = after.get(1..).unwrap_or_default();
        }
        self.extend(&mut begun, rest, (stream, time));
        self.begun[stream as usize] = begun;
        self.flush();
    }

    /// Adds to the line begun, recording full pieces of it.
    fn extend(&mut self, begun: &mut Begun, text: &[u8], (stream, time): (Stream, Timestamp)) {
        let mut rest = text;
        while begun.text.len() + rest.len() > PIECE_LENGTH_MAX {
            let (taken, after) = rest.split_at(PIECE_LENGTH_MAX - begun.text.len());
            begun.text.extend_from_slice(taken);
            if begun.id.is_empty() {
                begun.id = new_id();
            }
            begun.ordinal += 1;
            let part = Some(Part { id: &begun.id, ordinal: begun.ordinal, is_last: false });
            self.add(&Piece { stream, time, text: &begun.text, is_complete: false, part });
            begun.text.clear();
            rest = after;
        }
        begun.text.extend_from_slice(rest);
    }

    /// Records the last piece of the line begun.
    fn end(&mut self, begun: &mut Begun, is_complete: bool, (stream, time): (Stream, Timestamp)) {
        let part =
            (begun.ordinal > 0).then_some(Part { id: &begun.id, ordinal: begun.ordinal + 1, is_last: true });
        self.add(&Piece { stream, time, text: &begun.text, is_complete, part });
        begun.text.clear();
        (begun.id, begun.ordinal) = (String::new(), 0);
    }

    /// Records what was begun and will not be ended.
    pub(super) fn finish(&mut self, time: Timestamp) {
        for stream in [Stream::Output, Stream::Error] {
            let mut begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                self.end(&mut begun, false, (stream, time));
            }
        }
        self.flush();
    }

    fn add(&mut self, piece: &Piece<'_>) {
        for driver in &mut self.drivers {
            driver.add(piece);
        }
    }

    /// Puts away more of what drivers have been given.
    pub(super) fn flush(&mut self) {
        for driver in &mut self.drivers {
            driver.flush();
        }
    }

    /// The receivers that are behind; to be flushed when what they are waited for has come.
    pub(super) fn backlog(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.drivers.iter().filter_map(|driver| driver.backlog())
    }

    /// Whether the container's output has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.drivers.iter().any(|driver| driver.is_full())
    }

    /// Waits until everything is put away, or a receiver has taken nothing for a while.
    pub(super) fn settle(&mut self) {
        outbox::settle(self, PATIENCE);
    }

    /// Gives memory back.
    pub(super) fn rest(&mut self) {
        self.drivers.iter_mut().for_each(|driver| driver.rest());
        self.begun.iter_mut().for_each(|begun| begun.text.shrink_to_fit());
    }
}

impl Begun {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.ordinal == 0
    }
}

fn open_driver(plan: &LogDriver) -> Result<Box<dyn Driver>, SetupError> {
    Ok(match plan {
        LogDriver::JsonFile { file, attributes } => Box::new(json::JsonFile::open(file, attributes)?),
        LogDriver::Local { file } => Box::new(local::Local::open(file)?),
        LogDriver::Syslog(plan) => Box::new(syslog::Syslog::open(plan)?),
        LogDriver::Journald(plan) => Box::new(journald::Journald::open(plan)?),
    })
}

/// A name for the pieces of one line: 64 random hexadecimal digits.
fn new_id() -> String {
    let mut bytes = [0_u8; 32];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().fold(String::with_capacity(64), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}
