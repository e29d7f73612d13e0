//! A blob on its way here: a reader that goes on where a connection broke, at another host if need be.

use crate::error::{Error, Result, TransportError, without_query};
use crate::pace::Pace;
use crate::session::Session;
use crate::wire::{Answer, Order, io_error};
use std::io::{self, Read};
use std::time::{Duration, Instant};
use ureq::BodyReader;

/// How often a blob is taken up again without [`WORTH_BYTES`] having come in between.
const RESUMPTIONS_MAX: u32 = 5;
/// So much progress makes a broken connection forgotten.
const WORTH_BYTES: u64 = 1 << 20;
/// The pause before the first resumption; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// The bytes of a blob, at most as many as were promised. Whether they are the right ones is for
/// the reader's user to check.
pub struct BlobReader<'r> {
    /// Who may be asked: the one in use, then those that were not tried yet. Never empty.
    sessions: Vec<&'r Session<'r>>,
    /// The address below the prefix of a host.
    path: String,
    size: u64,
    offset: u64,
    body: Option<BodyReader<'static>>,
    failures: u32,
    /// Where the count of failures was last begun anew.
    mark: u64,
    pace: Pace,
}

impl std::fmt::Debug for BlobReader<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BlobReader")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl<'r> BlobReader<'r> {
    pub(crate) fn open(sessions: Vec<&'r Session<'r>>, path: String, size: u64, offset: u64) -> Result<Self> {
        let Some(first) = sessions.first() else {
            return Err(Error::protocol(&path, "no configured host can do this"));
        };
        let pace = Pace::new(first.idle());
        let mut reader = Self { sessions, path, size, offset, body: None, failures: 0, mark: offset, pace };
        // Nothing is missing; a registry would refuse to send nothing.
        if offset < size || size == 0 {
            reader.connect()?;
        }
        Ok(reader)
    }

    /// Connects to the first host that has the rest; the failure of the last is the one to tell.
    fn connect(&mut self) -> Result<()> {
        loop {
            match self.connect_here() {
                Err(_) if self.sessions.len() > 1 => self.go_on_elsewhere(),
                outcome => return outcome,
            }
        }
    }

    fn go_on_elsewhere(&mut self) {
        self.sessions.remove(0);
        (self.failures, self.mark) = (0, self.offset);
        self.pace.restart();
    }

    fn connect_here(&mut self) -> Result<()> {
        let session = self.sessions[0];
        let (path, offset) = (session.path(&self.path), self.offset);
        let answer = session.call(|| {
            let order = Order::new("GET", path.clone());
            if offset > 0 { order.header("range", format!("bytes={offset}-")) } else { order }
        })?;
        let skipped = self.skipped(&answer)?;
        let length = answer.body().content_length();
        if let Some(length) = length.filter(|length| Some(*length) != self.left().checked_add(skipped)) {
            let actual = (self.offset - skipped).saturating_add(length);
            return Err(Error::Size { what: self.what(), expected: self.size, actual });
        }
        let mut body = answer.into_body().into_reader();
        let came = io::copy(&mut (&mut body).take(skipped), &mut io::sink());
        if came.map_err(|error| self.broken(&error))? != skipped {
            return Err(self.broken(&io::ErrorKind::UnexpectedEof.into()));
        }
        self.body = Some(body);
        Ok(())
    }

    /// How many bytes of an answer are there already: none, or all if the range was not heeded.
    fn skipped(&self, answer: &Answer) -> Result<u64> {
        if answer.status() != 206 {
            return Ok(self.offset);
        }
        let range = answer.headers().get("content-range").and_then(|value| value.to_str().ok());
        let start =
            range.and_then(|range| range.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if start == Some(self.offset) {
            return Ok(0);
        }
        Err(Error::protocol(&self.address(), "the registry sends another range than was asked for"))
    }

    const fn left(&self) -> u64 {
        self.size - self.offset
    }

    fn what(&self) -> String {
        format!("blob {}", self.path.rsplit('/').next().unwrap_or_default())
    }

    fn address(&self) -> String {
        let endpoint = &self.sessions[0].endpoint;
        without_query(&format!("{}{}{}", endpoint.authority, endpoint.prefix, self.path)).to_owned()
    }

    fn broken(&self, error: &io::Error) -> Error {
        self.failed(io_error(error))
    }

    fn failed(&self, source: TransportError) -> Error {
        Error::Transport { method: "GET", address: self.address(), source }
    }

    /// Connects again after a failure, unless that happened too often.
    fn resume(&mut self, error: &io::Error) -> Result<()> {
        self.body = None;
        if self.offset - self.mark >= WORTH_BYTES {
            (self.mark, self.failures) = (self.offset, 0);
        }
        self.failures += 1;
        if self.failures > RESUMPTIONS_MAX {
            if self.sessions.len() == 1 {
                return Err(self.broken(error));
            }
            self.go_on_elsewhere();
            return self.connect();
        }
        std::thread::sleep(PAUSE * (1 << (self.failures - 1)));
        match self.connect() {
            // The next read tries again, as often as is left.
            Err(Error::Transport { source, .. }) if source.is_passing() => Ok(()),
            other => other,
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Duration)> {
        let length = buffer.len().min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        let Some(body) = &mut self.body else { return Err(io::ErrorKind::NotConnected.into()) };
        let begun = Instant::now();
        let count = body.read(&mut buffer[..length])?;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((count, begun.elapsed())) }
    }

    /// A host that would take for ever is as good as none.
    fn keep_pace(&mut self, count: usize, waited: Duration) -> Result<()> {
        let Err(slow) = self.pace.came(count as u64, waited) else { return Ok(()) };
        if self.sessions.len() == 1 {
            return Err(self.failed(slow));
        }
        self.go_on_elsewhere();
        if self.left() == 0 { Ok(()) } else { self.connect() }
    }

    /// Whether more comes than was promised.
    fn check_end(&mut self) -> Result<()> {
        let mut more = [0];
        let is_longer =
            self.body.take().is_some_and(|mut body| body.read(&mut more).is_ok_and(|count| count > 0));
        if is_longer {
            let actual = self.size.saturating_add(1);
            return Err(Error::Size { what: self.what(), expected: self.size, actual });
        }
        Ok(())
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.offset == self.size {
            self.check_end().map_err(io::Error::other)?;
            return Ok(0);
        }
        loop {
            match self.read_some(buffer) {
                Ok((count, waited)) => {
                    self.offset += count as u64;
                    self.keep_pace(count, waited).map_err(io::Error::other)?;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.resume(&error).map_err(io::Error::other)?,
            }
        }
    }
}
