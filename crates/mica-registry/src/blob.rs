//! A blob on its way here: a reader that goes on where a connection broke.

use crate::error::{Error, Result, TransportError, without_query};
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
/// Slower than this, in bytes a second, is as bad as nothing.
const RATE_MIN: u64 = 512;
/// Over how long the rate is looked at.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// The bytes of a blob, at most as many as were promised. Whether they are the right ones is for
/// the reader's user to check.
pub struct BlobReader<'r> {
    session: &'r Session<'r>,
    path: String,
    size: u64,
    offset: u64,
    body: Option<BodyReader<'static>>,
    failures: u32,
    /// Where the count of failures was last begun anew.
    mark: u64,
    rate: Rate,
}

/// How fast the other side has been of late; only the time that it was waited for counts.
#[derive(Debug, Default)]
struct Rate {
    waited: Duration,
    bytes: u64,
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
    pub(crate) fn open(session: &'r Session<'r>, path: String, size: u64, offset: u64) -> Result<Self> {
        let rate = Rate::default();
        let mut reader = Self { session, path, size, offset, body: None, failures: 0, mark: offset, rate };
        // Nothing is missing; a registry would refuse to send nothing.
        if offset < size || size == 0 {
            reader.connect()?;
        }
        Ok(reader)
    }

    fn connect(&mut self) -> Result<()> {
        let (path, offset) = (self.path.clone(), self.offset);
        let answer = self.session.call(|| {
            let order = Order::new("GET", path.clone());
            if offset > 0 { order.header("range", format!("bytes={offset}-")) } else { order }
        })?;
        let skipped = self.skipped(&answer)?;
        let length = answer.body().content_length();
        if let Some(length) = length.filter(|length| *length != self.size - self.offset + skipped) {
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
        Err(Error::protocol(&self.path, "the registry sends another range than was asked for"))
    }

    fn what(&self) -> String {
        format!("blob {}", self.path.rsplit('/').next().unwrap_or_default())
    }

    fn broken(&self, error: &io::Error) -> Error {
        Error::Transport {
            method: "GET",
            address: without_query(&format!("{}{}", self.session.endpoint.authority, self.path)).to_owned(),
            source: io_error(error),
        }
    }

    /// Connects again after a failure, unless that happened too often.
    fn resume(&mut self, error: &io::Error) -> Result<()> {
        self.body = None;
        if self.offset - self.mark >= WORTH_BYTES {
            (self.mark, self.failures) = (self.offset, 0);
        }
        self.failures += 1;
        if self.failures > RESUMPTIONS_MAX {
            return Err(self.broken(error));
        }
        std::thread::sleep(PAUSE * (1 << (self.failures - 1)));
        match self.connect() {
            // The next read tries again, as often as is left.
            Err(Error::Transport { source, .. }) if source.is_passing() => Ok(()),
            other => other,
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(body) = &mut self.body else { return Err(io::ErrorKind::NotConnected.into()) };
        let left = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let begun = Instant::now();
        let count = body.read(&mut buffer[..length])?;
        self.rate.waited += begun.elapsed();
        self.rate.bytes += count as u64;
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }

    /// Whether it would take for ever.
    fn check_rate(&mut self) -> Result<()> {
        if self.rate.waited < RATE_WINDOW {
            return Ok(());
        }
        let Rate { waited, bytes } = std::mem::take(&mut self.rate);
        if bytes >= RATE_MIN * waited.as_secs() {
            return Ok(());
        }
        Err(Error::Transport {
            method: "GET",
            address: format!("{}{}", self.session.endpoint.authority, self.path),
            source: TransportError::Timeout {
                reason: format!("only {bytes} bytes came in {} s", waited.as_secs()),
            },
        })
    }

    /// Whether more comes than was promised.
    fn check_end(&mut self) -> Result<()> {
        let mut more = [0];
        let is_longer =
            self.body.take().is_some_and(|mut body| body.read(&mut more).is_ok_and(|count| count > 0));
        if is_longer {
            return Err(Error::Size { what: self.what(), expected: self.size, actual: self.size + 1 });
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
                Ok(count) => {
                    self.offset += count as u64;
                    self.check_rate().map_err(io::Error::other)?;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.resume(&error).map_err(io::Error::other)?,
            }
        }
    }
}
