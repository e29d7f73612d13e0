//! The stored bytes of a layer, read as the tar archive that they are once uncompressed.

use crate::archive::compression::{Decoder, WindowLimit};
use crate::error::{Error, Result};
use mica_model::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, BufReader, Read};

/// How much of the stored bytes is read at once.
const BUFFER_SIZE: usize = 128 << 10;
/// More than the longest head of a format, in bytes.
const HEAD_LENGTH: usize = 32;

/// What the stored bytes have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Their digest.
    pub digest: Digest,
    /// Their length.
    pub size: u64,
}

/// The uncompressed bytes of a layer. The end is reported only after the stored bytes were found
/// to have their size and digest; errors of this crate are the inner error of the [`io::Error`].
#[derive(Debug)]
pub struct LayerReader<R: Read> {
    decoder: Decoder<BufReader<HashingReader<R>>>,
    promise: Option<Promise>,
}

impl<R: Read> LayerReader<R> {
    /// Reads `raw`, which shall be what was promised. `diff_id` is the digest of the uncompressed
    /// bytes; whoever unpacks them has to compare it.
    pub fn new(raw: R, promise: Option<Promise>, diff_id: &Digest, window: WindowLimit) -> Result<Self> {
        let hasher = promise.map(|_| Sha256::new());
        let limit = promise.map_or(u64::MAX, |promise| promise.size);
        let raw = HashingReader { inner: raw, hasher, size: 0, limit };
        let mut decoder = Decoder::new(BufReader::with_capacity(BUFFER_SIZE, raw), window)?;
        // Of an uncompressed layer both digests are of the same bytes, and the other is always
        // checked by whoever unpacks it; computing it twice would be half the cost of a load.
        if decoder.is_plain()
            && promise.is_some_and(|promise| promise.digest == *diff_id)
            && let Some(raw) = decoder.raw()
        {
            raw.get_mut().hasher = None;
        }
        Ok(Self { decoder, promise })
    }

    /// Whether the stored bytes are the tar archive itself.
    pub fn is_plain(&self) -> bool {
        self.decoder.is_plain()
    }

    /// Reads what follows the compressed stream, since the digest covers it, and compares.
    fn finish(&mut self) -> io::Result<()> {
        let Some(raw) = self.decoder.raw() else { return Ok(()) };
        loop {
            let rest = raw.fill_buf()?.len();
            if rest == 0 {
                break;
            }
            raw.consume(rest);
        }
        let Some(Promise { digest, size }) = self.promise else { return Ok(()) };
        let actual = raw.get_ref().size;
        let what = format!("layer {digest}");
        if actual != size {
            return Err(invalid(Error::SizeMismatch { what, expected: size, actual }));
        }
        let Some(hasher) = raw.get_mut().hasher.take() else { return Ok(()) };
        let actual = Digest::from_bytes(hasher.finalize().into());
        if actual != digest {
            return Err(invalid(Error::DigestMismatch { what, expected: digest, actual }));
        }
        Ok(())
    }
}

impl<R: Read> Read for LayerReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.finish()?;
        }
        Ok(count)
    }
}

/// Hashes what is read through it.
#[derive(Debug)]
pub struct DigestReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> DigestReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    /// The digest of all that was read.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Bytes that shall be what was promised, as they are. The end is reported only after they were found to have their size
/// and digest; errors of this crate are the inner error of the [`io::Error`].
#[derive(Debug)]
pub struct PromisedReader<R> {
    inner: R,
    promise: Promise,
    hasher: Option<Sha256>,
    size: u64,
}

impl<R: Read> PromisedReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R, promise: Promise) -> Self {
        Self { inner, promise, hasher: Some(Sha256::new()), size: 0 }
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let Promise { digest, size } = self.promise;
        let what = format!("blob {digest}");
        if self.size != size {
            return Err(invalid(Error::SizeMismatch { what, expected: size, actual: self.size }));
        }
        let actual = Digest::from_bytes(hasher.finalize().into());
        if actual != digest {
            return Err(invalid(Error::DigestMismatch { what, expected: digest, actual }));
        }
        Ok(())
    }
}

impl<R: Read> Read for PromisedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.finish()?;
            return Ok(0);
        }
        self.size += count as u64;
        if self.size > self.promise.size {
            let (what, expected) = (format!("blob {}", self.promise.digest), self.promise.size);
            return Err(invalid(Error::SizeMismatch { what, expected, actual: self.size }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[derive(Debug)]
struct HashingReader<R> {
    inner: R,
    hasher: Option<Sha256>,
    size: u64,
    limit: u64,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = self.inner.read(buffer)?;
        // The compression is told by the first bytes, which may come one by one.
        while self.size == 0 && count > 0 && count < HEAD_LENGTH.min(buffer.len()) {
            match self.inner.read(&mut buffer[count..])? {
                0 => break,
                more => count += more,
            }
        }
        self.size += count as u64;
        if self.size > self.limit {
            let what = "a layer".to_owned();
            return Err(invalid(Error::SizeMismatch { what, expected: self.limit, actual: self.size }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::digest_of;
    use std::io::Write;

    fn read(raw: &[u8], promise: Promise) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let reader = LayerReader::new(raw, Some(promise), &digest_of(b"content"), WindowLimit::Archive);
        reader.map_err(io::Error::other)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn bytes_end_only_as_promised() {
        let promise = Promise { digest: digest_of(b"content"), size: 7 };
        let read = |promise| {
            let mut content = Vec::new();
            PromisedReader::new(&b"content"[..], promise).read_to_end(&mut content).map(|_| content)
        };
        assert_eq!(read(promise).unwrap(), b"content");
        assert!(read(Promise { size: 6, ..promise }).is_err());
        assert!(read(Promise { size: 8, ..promise }).is_err());
        assert!(read(Promise { digest: digest_of(b"x"), ..promise }).is_err());
    }

    #[test]
    fn the_end_is_told_only_of_what_was_promised() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"content").unwrap();
        for raw in [encoder.finish().unwrap(), b"content".to_vec()] {
            let promise = Promise { digest: digest_of(&raw), size: raw.len() as u64 };
            assert_eq!(read(&raw, promise).unwrap(), b"content");
            let other = Promise { digest: digest_of(b"x"), ..promise };
            assert!(read(&raw, other).is_err());
            for size in [promise.size - 1, promise.size + 1] {
                assert!(read(&raw, Promise { size, ..promise }).is_err(), "{size}");
            }
        }
    }
}
