//! Decompression in this process, chosen by the first bytes; no helper program is ever run, since
//! it might come from somewhere hostile (row TAR-28).

use crate::error::{Error, Result};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// The largest window of a zstd frame that is accepted, as a power of two: 128 MiB, which is what
/// `zstd --long` needs and what other engines accept. It bounds the memory that a hostile frame
/// can ask for.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Looks at the first bytes. What is compressed in a way that Mica doesn't know is an error.
    pub(super) fn detect(magic: &[u8]) -> Result<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one of the sixteen kinds of skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Err(Error::Compression { format: "bzip2" }),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err(Error::Compression { format: "xz" }),
            [0x04, 0x22, 0x4d, 0x18, ..] => Err(Error::Compression { format: "lz4" }),
            [0x5d, 0, 0, ..] => Err(Error::Compression { format: "lzma" }),
            _ => Ok(Self::None),
        }
    }
}

/// A stream as it was before it was compressed.
pub(super) enum Decoder<R: BufRead> {
    Plain(R),
    /// The option is empty only while one member is exchanged for the next.
    Gzip(Option<Box<GzDecoder<R>>>),
    /// A gzip stream after its last member.
    Finished(R),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

/// A stream whose first buffer holds enough bytes to tell its compression by, even where a pipe
/// delivers them one by one.
pub(super) fn with_magic<R: Read>(mut input: R, buffer_size: usize) -> Result<BufReader<impl Read>> {
    let mut magic = Vec::with_capacity(MAGIC_LENGTH);
    let length = MAGIC_LENGTH as u64;
    (&mut input).take(length).read_to_end(&mut magic).map_err(|source| Error::Read { source })?;
    Ok(BufReader::with_capacity(buffer_size, Cursor::new(magic).chain(input)))
}

/// The most bytes that [`Compression::detect`] looks at.
const MAGIC_LENGTH: usize = 8;

impl<R: BufRead> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) | Self::Finished(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `raw` and chooses.
    pub(super) fn new(raw: R) -> Result<Self> {
        let mut raw = raw;
        let compression = loop {
            match raw.fill_buf() {
                Ok(magic) => break Compression::detect(magic)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { source }),
            }
        };
        Ok(match compression {
            Compression::None => Self::Plain(raw),
            Compression::Gzip => Self::Gzip(Some(Box::new(GzDecoder::new(raw)))),
            Compression::Zstd => {
                let failed = |source| Error::Read { source };
                let mut decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
                Self::Zstd(decoder)
            }
        })
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// The compressed stream, if it can still be reached.
    pub(super) fn raw(&mut self) -> Option<&mut R> {
        match self {
            Self::Plain(raw) | Self::Finished(raw) => Some(raw),
            Self::Gzip(decoder) => decoder.as_mut().map(|decoder| decoder.get_mut()),
            Self::Zstd(decoder) => Some(decoder.get_mut()),
        }
    }

    /// Begins the next member of a gzip stream. Padding and junk after the last one are no part of
    /// the content, as other engines have it (row TAR-23).
    fn next_member(&mut self) -> io::Result<bool> {
        let Self::Gzip(decoder) = self else { return Ok(false) };
        let Some(finished) = decoder.take() else { return Ok(false) };
        let mut raw = finished.into_inner();
        let has_more = raw.fill_buf()?.first() == Some(&0x1f);
        *self = if has_more { Self::Gzip(Some(Box::new(GzDecoder::new(raw)))) } else { Self::Finished(raw) };
        Ok(has_more)
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match self {
                Self::Plain(raw) => return raw.read(buffer),
                Self::Zstd(decoder) => return decoder.read(buffer),
                Self::Finished(_) | Self::Gzip(None) => return Ok(0),
                Self::Gzip(Some(decoder)) => decoder.read(buffer)?,
            };
            if count > 0 || !self.next_member()? {
                return Ok(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(raw: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut decoder = Decoder::new(raw).map_err(io::Error::other)?;
        decoder.read_to_end(&mut content)?;
        Ok(content)
    }

    /// A pipe whose writer sends a byte at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn a_slow_pipe_does_not_hide_the_format() {
        let packed = zstd::encode_all(&b"content"[..], 1).unwrap();
        let mut decoder = Decoder::new(with_magic(Dripping(&packed), 64).unwrap()).unwrap();
        let mut content = String::new();
        decoder.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let mut decoder = Decoder::new(with_magic(Dripping(b"abc"), 64).unwrap()).unwrap();
        content.clear();
        decoder.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
    }

    #[test]
    fn reads_all_members_and_frames() {
        assert_eq!(decoded(b"plain").unwrap(), b"plain");
        assert_eq!(decoded(b"").unwrap(), b"");
        assert_eq!(decoded(&[gzip(b"one "), gzip(b""), gzip(b"two")].concat()).unwrap(), b"one two");
        let frame = |content: &[u8]| zstd::encode_all(content, 1).unwrap();
        assert_eq!(decoded(&[frame(b"one "), frame(b"two")].concat()).unwrap(), b"one two");
    }

    #[test]
    fn tar_23_junk_after_gzip_is_not_content() {
        assert_eq!(decoded(&[gzip(b"one").as_slice(), &[0; 100]].concat()).unwrap(), b"one");
    }

    #[test]
    fn tar_22_truncated_streams_are_errors() {
        let content: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
        for raw in [gzip(&content), zstd::encode_all(&content[..], 1).unwrap()] {
            for length in [5, raw.len() / 2, raw.len() - 1] {
                assert!(decoded(&raw[..length]).is_err(), "{length} of {}", raw.len());
            }
        }
    }

    #[test]
    fn tar_25_a_huge_zstd_window_is_refused() {
        // A frame header of one window descriptor: exponent 31-10 = 21, a window of 2 GiB.
        let raw = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert!(decoded(&raw).unwrap_err().to_string().contains("memory"));
    }

    #[test]
    fn names_the_compressions_that_it_lacks() {
        for (magic, name) in
            [(&b"\xfd7zXZ\0junk"[..], "xz"), (b"BZh91AY&SY", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")]
        {
            let error = Decoder::new(magic).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
