//! A layer in an archive, read as the tar archive that it is once uncompressed.

use super::compression::Decoder;
use super::source::{BUFFER_SIZE, Section};
use crate::error::{Error, Result};
use mica_model::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, BufReader, Read};

/// A layer as an archive has it.
#[derive(Debug, Clone)]
pub struct ArchiveLayer {
    /// The digest of the uncompressed content, from the image's config. Whoever unpacks the layer
    /// has to compare: a [`LayerReader`] doesn't compute it.
    pub diff_id: Digest,
    /// The digest of the bytes in the archive, if it says one.
    pub digest: Option<Digest>,
    /// The media type; empty in a docker archive, which has none.
    pub media_type: String,
    /// The length in the archive, in bytes.
    pub size: u64,
    pub(super) section: Section,
}

impl ArchiveLayer {
    /// Starts reading; as many readers as wanted may read at once.
    pub fn reader(&self) -> Result<LayerReader> {
        let hasher = self.digest.map(|_| Sha256::new());
        let raw = HashingReader { inner: self.section.clone(), hasher };
        let mut decoder = Decoder::new(BufReader::with_capacity(BUFFER_SIZE, raw))?;
        // Of an uncompressed layer both digests are of the same bytes, and the other is always
        // checked by whoever unpacks it; computing it twice would be half the cost of a load.
        if decoder.is_plain()
            && self.digest == Some(self.diff_id)
            && let Some(raw) = decoder.raw()
        {
            raw.get_mut().hasher = None;
        }
        Ok(LayerReader { decoder, expected: self.digest })
    }
}

/// The uncompressed bytes of a layer. The end is reported only after the stored bytes were found
/// to have their digest; errors of this crate are the inner error of the [`io::Error`].
#[derive(Debug)]
pub struct LayerReader {
    decoder: Decoder<BufReader<HashingReader>>,
    expected: Option<Digest>,
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.finish()?;
        }
        Ok(count)
    }
}

impl LayerReader {
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
        let (Some(hasher), Some(expected)) = (raw.get_mut().hasher.take(), self.expected) else {
            return Ok(());
        };
        let actual = Digest::from_bytes(hasher.finalize().into());
        if actual != expected {
            let what = format!("layer {expected} in the archive");
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                Error::DigestMismatch { what, expected, actual },
            ));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct HashingReader {
    inner: Section,
    hasher: Option<Sha256>,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}
