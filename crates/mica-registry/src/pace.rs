//! How slowly the other side may go: no byte for too long is one thing, a byte now and then for ever another.

use crate::error::TransportError;
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Slower than this, in bytes a second, is as bad as nothing.
const RATE_MIN: u64 = 512;

/// How fast the other side has been of late; only the time that it was waited for counts.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Duration,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Looks at the rate once for every `window` of waiting.
    pub(crate) const fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, bytes: 0 }
    }

    /// Forgets what was so far.
    pub(crate) const fn restart(&mut self) {
        (self.waited, self.bytes) = (Duration::ZERO, 0);
    }

    /// Takes note that so many bytes came after so much waiting.
    pub(crate) fn came(&mut self, bytes: u64, waited: Duration) -> Result<(), TransportError> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.window {
            return Ok(());
        }
        let (bytes, waited) = (self.bytes, self.waited);
        self.restart();
        if u128::from(bytes) * 1000 >= u128::from(RATE_MIN) * waited.as_millis() {
            return Ok(());
        }
        Err(TransportError::Timeout {
            reason: format!("only {bytes} bytes came in {:.1} s", waited.as_secs_f64()),
        })
    }
}

/// Reads to the end, but at most `limit` bytes and not at a crawl.
pub(crate) fn read_at_pace(body: impl Read, limit: u64, window: Duration) -> io::Result<Vec<u8>> {
    let mut pace = Pace::new(window);
    let mut body = body.take(limit);
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 16 << 10];
    loop {
        let begun = Instant::now();
        let count = match body.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes.extend_from_slice(&buffer[..count]);
        pace.came(count as u64, begun.elapsed())
            .map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crawl_over_a_whole_window_is_too_slow() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(second * 2);
        assert!(pace.came(1, second).is_ok());
        assert!(pace.came(2000, second).is_ok());
        assert!(pace.came(1, second).is_ok());
        let slow = pace.came(1, second).unwrap_err().to_string();
        assert_eq!(slow, "only 2 bytes came in 2.0 s");
        assert!(pace.came(0, second).is_ok(), "a new window has begun");
    }

    #[test]
    fn no_more_than_the_limit_is_read() {
        let window = Duration::from_secs(1);
        assert_eq!(read_at_pace(io::repeat(1), 100_000, window).unwrap().len(), 100_000);
        assert_eq!(read_at_pace(&b"abc"[..], 100, window).unwrap(), b"abc");
    }
}
