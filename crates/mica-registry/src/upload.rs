//! Blobs and manifests on their way to a registry.
//!
//! A blob goes in pieces. When a connection breaks, the registry is asked how much it has, and only what is missing of
//! the piece is sent again.

use crate::error::{Error, Result, without_query};
use crate::repository::Repository;
use crate::session::{Patience, Session, join};
use crate::token::encode;
use crate::wire::{Answer, Order, Payload};
use mica_model::Digest;
use std::io::Read;

/// How much of a blob is sent in one request, in bytes: what stores behind registries want at least.
const CHUNK_BYTES: usize = 5 << 20;
/// So much a registry can want at least.
const CHUNK_BYTES_MAX: usize = 32 << 20;

/// What became of the wish to send a blob.
#[derive(Debug)]
pub enum Begun<'r> {
    /// The registry took it over from another of its repositories.
    Mounted,
    /// It wants the bytes.
    Upload(Upload<'r>),
}

/// A blob whose bytes are being sent. Dropped without [`Upload::finish`], the registry forgets it some day.
#[derive(Debug)]
pub struct Upload<'r> {
    repository: &'r Repository<'r>,
    address: String,
    chunk_size: usize,
    /// How much the registry has for sure.
    sent: u64,
    gathered: Vec<u8>,
}

impl<'a> Repository<'a> {
    /// Whether the registry has a blob in this repository.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let session = self.origin()?;
        let path = session.path(&format!("/{}/blobs/{digest}", self.path()));
        match session.call(|| Order::new("HEAD", path.clone())) {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins to send a blob, unless the registry can take it over from its repository `from`.
    ///
    /// # Errors
    /// The registry lets nothing be sent.
    pub fn mount_or_begin(&self, digest: &Digest, from: Option<&str>) -> Result<Begun<'_>> {
        let query = from.map_or_else(String::new, |from| format!("?mount={digest}&from={}", encode(from)));
        let session = self.origin()?;
        let path = session.path(&format!("/{}/blobs/uploads/{query}", self.path()));
        let answer = session.call(|| Order::new("POST", path.clone()).body(Payload::Bytes(&[])))?;
        match answer.status().as_u16() {
            201 if from.is_some() => Ok(Begun::Mounted),
            202 => self.upload(&answer, &path).map(Begun::Upload),
            status => Err(Error::protocol(&path, format!("an upload begins with status {status}"))),
        }
    }

    fn upload(&self, answer: &Answer, path: &str) -> Result<Upload<'_>> {
        let wanted = answer.headers().get("oci-chunk-min-length");
        let wanted: Option<usize> = wanted.and_then(|value| value.to_str().ok()?.parse().ok());
        let chunk_size = wanted.unwrap_or(0).clamp(CHUNK_BYTES, CHUNK_BYTES_MAX);
        Ok(Upload {
            repository: self,
            address: self.location(answer, path)?,
            chunk_size,
            sent: 0,
            // What is not written to takes no memory; a buffer that grows takes twice as much.
            gathered: Vec::with_capacity(chunk_size),
        })
    }

    /// Puts a manifest in place under a tag or digest.
    ///
    /// # Errors
    /// The registry does not take it.
    pub fn put_manifest(&self, tag_or_digest: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let session = self.origin()?;
        let path = session.path(&format!("/{}/manifests/{tag_or_digest}", self.path()));
        let make =
            || Order::new("PUT", path.clone()).header("content-type", media_type).body(Payload::Bytes(bytes));
        session.call(make).map(drop)
    }

    /// Where an upload goes on. It may be at another host, which gets no credentials then.
    fn location(&self, answer: &Answer, base: &str) -> Result<String> {
        let session = self.origin()?;
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Error::protocol(base, "an upload without a place to go on"))?;
        let address = join(&session.wire.absolute(base), location);
        if !session.wire.is_plain() && !address.starts_with("https://") {
            return Err(Error::protocol(base, "refusing an upload that leaves TLS"));
        }
        Ok(address)
    }
}

impl<'r> Upload<'r> {
    /// Takes some more bytes of the blob and sends them when there are enough.
    ///
    /// # Errors
    /// The registry does not take them.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(self.chunk_size - self.gathered.len());
            self.gathered.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.gathered.len() == self.chunk_size {
                self.send_chunk()?;
            }
        }
        Ok(())
    }

    /// Sends all that `reader` gives, and tells of each piece how long it was.
    ///
    /// # Errors
    /// The reader fails, or the registry does not take it.
    pub fn push_all(&mut self, reader: &mut dyn Read, told: &dyn Fn(u64)) -> Result<()> {
        loop {
            let before = self.gathered.len();
            let missing = (self.chunk_size - before) as u64;
            reader
                .take(missing)
                .read_to_end(&mut self.gathered)
                .map_err(|source| Error::Source { source })?;
            told((self.gathered.len() - before) as u64);
            if self.gathered.len() < self.chunk_size {
                return Ok(());
            }
            self.send_chunk()?;
        }
    }

    fn lost(&self) -> Error {
        Error::UploadLost { address: without_query(&self.address).to_owned() }
    }

    fn session(&self) -> Result<&'r Session<'r>> {
        self.repository.origin()
    }

    fn send_chunk(&mut self) -> Result<()> {
        let session = self.session()?;
        let mut patience = session.patience();
        while !self.gathered.is_empty() {
            let range = format!("{}-{}", self.sent, self.sent + self.gathered.len() as u64 - 1);
            let mut order = Order::new("PATCH", self.address.clone())
                .header("content-type", "application/octet-stream")
                .header("content-range", range)
                .body(Payload::Bytes(&self.gathered));
            match session.attempt(&mut order, &mut patience) {
                Ok(Some(answer)) => {
                    self.address = self.repository.location(&answer, without_query(&self.address))?;
                    self.sent += self.gathered.len() as u64;
                    self.gathered.clear();
                }
                other => self.find_position(other.map(drop), &mut patience)?,
            }
        }
        Ok(())
    }

    /// After a failure: asks how much the registry has and keeps only what it lacks.
    fn find_position(&mut self, outcome: Result<()>, patience: &mut Patience) -> Result<()> {
        match outcome {
            // It says that what we send does not follow on what it has.
            Err(error) if error.has_status(416) && patience.take() => {}
            Err(error) if error.is_missing() => return Err(self.lost()),
            other => other?,
        }
        let session = self.session()?;
        let address = self.address.clone();
        let answer = session.call(|| Order::new("GET", address.clone()));
        let answer = answer.map_err(|error| if error.is_missing() { self.lost() } else { error })?;
        if answer.headers().contains_key("location") {
            self.address = self.repository.location(&answer, without_query(&address))?;
        }
        let range = answer.headers().get("range").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let position = position(range)
            .ok_or_else(|| Error::protocol(&address, "the registry does not say how much it has"))?;
        // Of one byte and of none registries say the same.
        let position = if position == 1 { self.sent } else { position };
        let taken = position
            .checked_sub(self.sent)
            .and_then(|taken| usize::try_from(taken).ok())
            .filter(|taken| *taken <= self.gathered.len())
            .ok_or_else(|| self.lost())?;
        self.gathered.drain(..taken);
        self.sent = position;
        Ok(())
    }

    /// Sends the rest and has the registry compare the whole with its digest.
    ///
    /// # Errors
    /// The registry does not take it.
    pub fn finish(mut self, digest: &Digest) -> Result<()> {
        if self.sent > 0 {
            self.send_chunk()?;
        }
        let separator = if self.address.contains('?') { '&' } else { '?' };
        let address = format!("{}{separator}digest={}", self.address, encode(&digest.to_string()));
        let make = || {
            Order::new("PUT", address.clone())
                .header("content-type", "application/octet-stream")
                .body(Payload::Bytes(&self.gathered))
        };
        match self.session()?.call(make) {
            Ok(_) => Ok(()),
            // Sent again after an answer that was lost on the way, it is there already.
            Err(error) => match self.repository.has_blob(digest) {
                Ok(true) => Ok(()),
                _ => Err(error),
            },
        }
    }
}

/// How many bytes `0-99` are.
fn position(range: &str) -> Option<u64> {
    let range = range.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    (first == "0").then_some(())?;
    last.parse::<u64>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_tells_how_much_is_there() {
        assert_eq!(position("0-99"), Some(100));
        assert_eq!(position("bytes=0-0"), Some(1));
        for wrong in ["", "5-9", "0-", "0--1", "x-1", "0-18446744073709551615"] {
            assert_eq!(position(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_range_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = position(&text);
        }
    }
}
