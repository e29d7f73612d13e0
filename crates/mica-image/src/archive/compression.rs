//! Decompression in this process, chosen by the first bytes; no helper program is ever run, since
//! it might come from somewhere hostile (row TAR-28).

use crate::error::{Error, Result};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::{Condvar, Mutex, PoisonError};

/// The largest window of a zstd frame that is accepted; it bounds the memory that a hostile frame can
/// ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowLimit {
    /// 128 MiB, which is what `zstd --long` needs and what other engines accept.
    Archive,
    /// 8 MiB, what the format asks every decoder to take (RFC 8878 section 3.1.1.1.2), for many layers
    /// at once. One with a larger window, up to 32 MiB, waits until no other such layer is read.
    Network,
}

impl WindowLimit {
    /// As powers of two: what is always taken, and what is taken one at a time.
    const fn logarithms(self) -> (u32, u32) {
        match self {
            Self::Archive => (27, 27),
            Self::Network => (23, 25),
        }
    }
}

/// Whether a stream from the network with a large window is being read.
static LARGE_WINDOW: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// The right to be that stream.
pub(crate) struct Turn(());

impl Turn {
    fn wait() -> Self {
        let (taken, freed) = &LARGE_WINDOW;
        let mut guard = taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *guard {
            guard = freed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        *guard = true;
        Self(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *LARGE_WINDOW.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        LARGE_WINDOW.1.notify_one();
    }
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Looks at the first bytes. What is compressed in a way that Mica doesn't know is an error.
    pub(crate) fn detect(magic: &[u8]) -> Result<Self> {
        match magic {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // A frame, or one of the sixteen kinds of skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Ok(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => Err(Error::Compression { format: "lz4" }),
            [0x5d, 0, 0, ..] => Err(Error::Compression { format: "lzma" }),
            _ => Ok(Self::None),
        }
    }
}

/// A stream as it was before it was compressed.
pub(crate) enum Decoder<R: BufRead> {
    Plain(R),
    /// The option is empty only while one member is exchanged for the next.
    Gzip(Option<Box<GzDecoder<R>>>),
    /// A gzip stream after its last member.
    Finished(R),
    Zstd(
        zstd::stream::read::Decoder<'static, R>,
        #[expect(dead_code, reason = "held for as long as the window is")] Option<Turn>,
    ),
    /// In archives only.
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<R>>),
    /// In archives only.
    Xz(Box<lzma_rust2::XzReader<R>>),
}

/// The most memory that a block of an xz archive may ask for: twice what `xz -9` does.
const XZ_MEMORY_MAX_KIB: u32 = 128 << 10;

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
            Self::Zstd(..) => "Zstd",
            Self::Bzip2(_) => "Bzip2",
            Self::Xz(_) => "Xz",
        })
    }
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `raw` and chooses.
    pub(crate) fn new(raw: R, window: WindowLimit) -> Result<Self> {
        let mut raw = raw;
        let (compression, wanted) = loop {
            match raw.fill_buf() {
                Ok(magic) => break (Compression::detect(magic)?, window_logarithm(magic)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { source }),
            }
        };
        Ok(match compression {
            // No registry has layers like that.
            Compression::Bzip2 | Compression::Xz if window == WindowLimit::Network => {
                let format = if compression == Compression::Xz { "xz" } else { "bzip2" };
                return Err(Error::Compression { format });
            }
            Compression::Bzip2 => Self::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(raw))),
            Compression::Xz => {
                let decoder = lzma_rust2::XzReader::new_mem_limit(raw, true, XZ_MEMORY_MAX_KIB);
                Self::Xz(Box::new(decoder))
            }
            Compression::None => Self::Plain(raw),
            Compression::Gzip => Self::Gzip(Some(Box::new(GzDecoder::new(raw)))),
            Compression::Zstd => {
                let failed = |source| Error::Read { source };
                let mut decoder = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
                let (always, alone) = window.logarithms();
                let is_large = alone > always && wanted.is_some_and(|wanted| wanted > always);
                let turn = is_large.then(Turn::wait);
                decoder.window_log_max(if is_large { alone } else { always }).map_err(failed)?;
                Self::Zstd(decoder, turn)
            }
        })
    }

    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// The compressed stream, if it can still be reached.
    pub(crate) fn raw(&mut self) -> Option<&mut R> {
        match self {
            Self::Plain(raw) | Self::Finished(raw) => Some(raw),
            Self::Gzip(decoder) => decoder.as_mut().map(|decoder| decoder.get_mut()),
            Self::Zstd(decoder, _) => Some(decoder.get_mut()),
            Self::Bzip2(decoder) => Some(decoder.get_mut()),
            Self::Xz(_) => None,
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

/// The window that the first frame of a zstd stream wants, as a power of two rounded up, if its head
/// is there (RFC 8878 section 3.1.1.1).
fn window_logarithm(head: &[u8]) -> Option<u32> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = head else { return None };
    if descriptor & 0x20 == 0 {
        let window = *rest.first()?;
        return Some(10 + u32::from(window >> 3) + u32::from(window & 7 != 0));
    }
    // The whole content is the window.
    let length_of_dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length_of_size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let mut bytes = [0; 8];
    bytes[..length_of_size].copy_from_slice(rest.get(length_of_dictionary..)?.get(..length_of_size)?);
    Some(u64::from_le_bytes(bytes).max(1).checked_next_power_of_two().map_or(64, u64::trailing_zeros))
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match self {
                Self::Plain(raw) => return raw.read(buffer),
                Self::Zstd(decoder, _) => return decoder.read(buffer),
                Self::Bzip2(decoder) => return decoder.read(buffer),
                Self::Xz(decoder) => return decoder.read(buffer),
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
        let mut decoder = Decoder::new(raw, WindowLimit::Archive).map_err(io::Error::other)?;
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

    /// `content\n` as `xz` and `bzip2` pack it.
    const PACKED: [&[u8]; 2] = [
        b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x07content\x0a\x00\x16\x1a\xfd\xa1\x06\xce\xc3@\x00\x01 \x08\xbb\x19\xd9\xbb\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ",
        b"BZh91AY&SY\x06\xd7\xfb\xa4\x00\x00\x00\xc1\x80\x00\x10\x0a\x01\x84\x00 \x00\x22\x18h0\x01(S\xb0\xbb\x92)\xc2\x84\x806\xbf\xdd ",
    ];

    #[test]
    fn archives_may_be_packed_by_xz_and_bzip2_and_layers_may_not() {
        for packed in PACKED {
            assert_eq!(decoded(packed).unwrap(), b"content\n");
            // Several streams are one after the other.
            assert_eq!(decoded(&packed.repeat(2)).unwrap(), b"content\ncontent\n");
            assert!(decoded(&packed[..packed.len() - 9]).is_err());
            assert!(Decoder::new(packed, WindowLimit::Network).is_err());
        }
        let mut damaged = PACKED[0].to_vec();
        damaged[30] ^= 1;
        assert!(decoded(&damaged).is_err());
    }

    #[test]
    fn a_slow_pipe_does_not_hide_the_format() {
        let packed = zstd::encode_all(&b"content"[..], 1).unwrap();
        let mut decoder =
            Decoder::new(with_magic(Dripping(&packed), 64).unwrap(), WindowLimit::Archive).unwrap();
        let mut content = String::new();
        decoder.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
        let mut decoder =
            Decoder::new(with_magic(Dripping(b"abc"), 64).unwrap(), WindowLimit::Archive).unwrap();
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
    fn large_windows_from_the_network_wait_for_each_other() {
        // 16 MiB: exponent 14.
        let head = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3, 0x01, 0x00, 0x00];
        assert_eq!(window_logarithm(&head), Some(24));
        assert!(window_logarithm(&zstd::encode_all(&b"x"[..], 1).unwrap()).is_some_and(|window| window < 23));
        let first = Decoder::new(&head[..], WindowLimit::Network).unwrap();
        assert!(*LARGE_WINDOW.0.lock().unwrap());
        drop(first);
        let mut content = Vec::new();
        let mut second = Decoder::new(&head[..], WindowLimit::Network).unwrap();
        second.read_to_end(&mut content).unwrap();
        let huge = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 16 << 3, 0x01, 0x00, 0x00];
        drop(second);
        let mut third = Decoder::new(&huge[..], WindowLimit::Network).unwrap();
        assert!(third.read_to_end(&mut content).unwrap_err().to_string().contains("memory"));
    }

    #[test]
    fn names_the_compressions_that_it_lacks() {
        for (magic, name) in [(&b"\x5d\0\0junk"[..], "lzma"), (b"\x04\x22\x4d\x18", "lz4")] {
            let error = Decoder::new(magic, WindowLimit::Archive).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
