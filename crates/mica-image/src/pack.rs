//! Compression on the way out, by all processors at once. The same bytes always give the same ones, however many
//! threads worked: a stream is cut into blocks of one size, each compressed for itself.

use flate2::{Compress, Compression, Crc, FlushCompress};
use mica_model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How much is compressed at a time, in bytes. Blocks know nothing of each other, which costs about one
/// hundredth of the size.
const BLOCK_BYTES: usize = 1 << 20;
/// So many blocks of a stream may be on their way, in each form, whatever the number of processors.
const PENDING_MAX: usize = 8;
/// The head of a gzip stream without name or time (RFC 1952 section 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty last block of a deflate stream (RFC 1951 section 3.2.6).
const DEFLATE_END: [u8; 2] = [3, 0];

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackFormat {
    /// What everybody reads.
    Gzip,
    /// Smaller and faster, read by newer engines only.
    Zstd,
}

/// A format and how hard it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    format: PackFormat,
    level: i32,
}

impl PackFormat {
    /// The level that balances size and time.
    const fn level_default(self) -> i64 {
        match self {
            Self::Gzip => 6,
            Self::Zstd => 3,
        }
    }

    /// The levels that there are.
    pub const fn levels(self) -> std::ops::RangeInclusive<i64> {
        match self {
            Self::Gzip => 1..=9,
            Self::Zstd => 1..=19,
        }
    }

    /// The format with a name; `None` if there is no such.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl Packing {
    /// A format at a level, or at the one that is usual for it; `None` if it has no such level.
    pub fn new(format: PackFormat, level: Option<i64>) -> Option<Self> {
        let level = level.unwrap_or(format.level_default());
        let level = format.levels().contains(&level).then(|| i32::try_from(level).ok())??;
        Some(Self { format, level })
    }

    /// The media type of a layer that is compressed so.
    pub const fn layer_media_type(self) -> &'static str {
        match self.format {
            PackFormat::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            PackFormat::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// Compresses a block into an empty buffer.
    fn pack(self, block: &[u8], mut bytes: Vec<u8>) -> io::Result<Packed> {
        let mut crc = Crc::new();
        match self.format {
            PackFormat::Gzip => {
                crc.update(block);
                deflate(block, self.level, &mut bytes)?;
            }
            PackFormat::Zstd => {
                bytes.resize(zstd::zstd_safe::compress_bound(block.len()), 0);
                let length = zstd::bulk::compress_to_buffer(block, &mut bytes[..], self.level)?;
                bytes.truncate(length);
            }
        }
        Ok(Packed { bytes, crc })
    }
}

/// One block as a part of a deflate stream that others may follow.
fn deflate(block: &[u8], level: i32, packed: &mut Vec<u8>) -> io::Result<()> {
    let mut compress = Compress::new(Compression::new(level.unsigned_abs()), false);
    loop {
        let consumed = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = block.get(consumed..).unwrap_or_default();
        compress.compress_vec(rest, packed, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room that is left over says that nothing was held back.
        if packed.len() < packed.capacity() && compress.total_in() == block.len() as u64 {
            return Ok(());
        }
        packed.reserve(block.len() / 4 + 1024);
    }
}

#[derive(Debug)]
struct Packed {
    bytes: Vec<u8>,
    crc: Crc,
}

struct Job {
    packing: Packing,
    block: Vec<u8>,
    answer: SyncSender<io::Result<Packed>>,
}

/// Buffers that are used again and again: allocators keep more than twice as much for those that come and go in
/// several threads.
#[derive(Debug, Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer with room for a block, or for what becomes of one at worst.
    fn take(&self) -> Vec<u8> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 64 + 1024))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Threads that compress for any number of [`PackWriter`]s.
pub struct Packers {
    jobs: Option<Sender<Job>>,
    buffers: Arc<Buffers>,
    threads: Vec<JoinHandle<()>>,
}

impl fmt::Debug for Packers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Packers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Packers {
    /// So many threads.
    ///
    /// # Errors
    /// The system gives none.
    pub fn new(count: usize) -> io::Result<Self> {
        let (jobs, work) = channel::<Job>();
        let work = Arc::new(Mutex::new(work));
        let buffers = Arc::new(Buffers::default());
        let mut threads = Vec::new();
        for _ in 0..count.max(1) {
            let (work, buffers) = (Arc::clone(&work), Arc::clone(&buffers));
            let run = move || run(&work, &buffers);
            threads.push(std::thread::Builder::new().name("pack".to_owned()).spawn(run)?);
        }
        Ok(Self { jobs: Some(jobs), buffers, threads })
    }

    /// As many threads as there are processors.
    ///
    /// # Errors
    /// As [`Packers::new`].
    pub fn for_this_machine() -> io::Result<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }
}

impl Drop for Packers {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn run(work: &Mutex<Receiver<Job>>, buffers: &Buffers) {
    loop {
        let job = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { packing, block, answer }) = job else { return };
        let packed = packing.pack(&block, buffers.take());
        buffers.give(block);
        // Whoever asked may have given up.
        let _ = answer.send(packed);
    }
}

/// Compresses what is written to it and hands it on in order.
pub struct PackWriter<'p, W: Write> {
    packers: &'p Packers,
    packing: Packing,
    output: HashingWriter<W>,
    block: Vec<u8>,
    pending: VecDeque<Receiver<io::Result<Packed>>>,
    crc: Crc,
    is_begun: bool,
}

impl<W: Write> fmt::Debug for PackWriter<'_, W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PackWriter").field("packing", &self.packing).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<'p, W: Write> PackWriter<'p, W> {
    /// Compresses to `inner`.
    pub fn new(packers: &'p Packers, packing: Packing, inner: W) -> Self {
        Self {
            packers,
            packing,
            output: HashingWriter { inner, hasher: Sha256::new(), size: 0 },
            block: packers.buffers.take(),
            pending: VecDeque::new(),
            crc: Crc::new(),
            is_begun: false,
        }
    }

    /// Ends the stream; answers digest and length of what was handed on.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        if !self.block.is_empty() || self.packing.format == PackFormat::Zstd && !self.is_begun {
            self.submit()?;
        }
        while !self.pending.is_empty() {
            self.hand_on()?;
        }
        if self.packing.format == PackFormat::Gzip {
            self.begin()?;
            self.output.write_all(&DEFLATE_END)?;
            self.output.write_all(&self.crc.sum().to_le_bytes())?;
            self.output.write_all(&self.crc.amount().to_le_bytes())?;
        }
        self.output.inner.flush()?;
        self.packers.buffers.give(std::mem::take(&mut self.block));
        Ok((Digest::from_bytes(self.output.hasher.finalize().into()), self.output.size))
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.is_begun && self.packing.format == PackFormat::Gzip {
            self.output.write_all(&GZIP_HEAD)?;
        }
        self.is_begun = true;
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        let (answer, packed) = sync_channel(1);
        let block = std::mem::replace(&mut self.block, self.packers.buffers.take());
        let sent = self
            .packers
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(Job { packing: self.packing, block, answer }).is_ok());
        if !sent {
            return Err(io::Error::other("the threads that compress are gone"));
        }
        self.pending.push_back(packed);
        if self.pending.len() > self.packers.threads.len().min(PENDING_MAX - 1) {
            self.hand_on()?;
        }
        Ok(())
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let Some(packed) = self.pending.pop_front() else { return Ok(()) };
        let packed = packed.recv().map_err(|_| io::Error::other("a thread that compresses is gone"))??;
        self.begin()?;
        self.crc.combine(&packed.crc);
        self.output.write_all(&packed.bytes)?;
        self.packers.buffers.give(packed.bytes);
        Ok(())
    }
}

impl<W: Write> Write for PackWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK_BYTES {
            self.submit()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compression::WindowLimit;
    use crate::document::digest_of;
    use crate::layer::{LayerReader, Promise};
    use proptest::prelude::*;
    use std::io::Read;

    fn pack(threads: usize, packing: Packing, content: &[u8]) -> Vec<u8> {
        let packers = Packers::new(threads).unwrap();
        let mut bytes = Vec::new();
        let mut writer = PackWriter::new(&packers, packing, &mut bytes);
        writer.write_all(content).unwrap();
        let (digest, size) = writer.finish().unwrap();
        assert_eq!((digest, size), (digest_of(&bytes), bytes.len() as u64));
        bytes
    }

    fn packing(format: PackFormat) -> Packing {
        Packing::new(format, None).unwrap()
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let content: Vec<u8> = (0..BLOCK_BYTES * 3 + 5).map(|n| (n / 7 % 251) as u8).collect();
        for format in [PackFormat::Gzip, PackFormat::Zstd] {
            assert_eq!(pack(1, packing(format), &content), pack(5, packing(format), &content));
        }
    }

    #[test]
    fn another_reader_of_gzip_takes_the_stream_as_one_member() {
        let content: Vec<u8> = (0..BLOCK_BYTES * 2 + 1).map(|n| (n % 256 * (n >> 9)) as u8).collect();
        let packed = pack(3, packing(PackFormat::Gzip), &content);
        let mut decoder = flate2::read::GzDecoder::new(packed.as_slice());
        let mut unpacked = Vec::new();
        decoder.read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == content && decoder.into_inner().is_empty());
    }

    #[test]
    fn a_writer_that_fails_ends_it() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let packers = Packers::new(2).unwrap();
        let mut writer = PackWriter::new(&packers, packing(PackFormat::Zstd), Full);
        let written = writer.write_all(&vec![7; BLOCK_BYTES * 9]);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn only_levels_that_there_are() {
        assert!(Packing::new(PackFormat::Gzip, Some(10)).is_none());
        assert!(Packing::new(PackFormat::Gzip, Some(0)).is_none());
        assert!(Packing::new(PackFormat::Zstd, Some(19)).is_some());
        assert_eq!(PackFormat::from_name("lzma"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_packed_is_unpacked(
            seed in prop::collection::vec(any::<u8>(), 0..300),
            repeats in 1usize..9000,
            level in 1i64..=9,
        ) {
            let content = seed.repeat(repeats);
            for format in [PackFormat::Gzip, PackFormat::Zstd] {
                let packed = pack(2, Packing::new(format, Some(level)).unwrap(), &content);
                let promise = Promise { digest: digest_of(&packed), size: packed.len() as u64 };
                let digest = digest_of(&content);
                let limit = WindowLimit::Network;
                let mut reader = LayerReader::new(packed.as_slice(), Some(promise), &digest, limit).unwrap();
                let mut unpacked = Vec::new();
                reader.read_to_end(&mut unpacked).unwrap();
                prop_assert!(unpacked == content);
            }
        }
    }
}
