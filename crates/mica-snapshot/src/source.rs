//! The bytes of an archive on their way to the unpacker or back from the tree, hashed by a second
//! thread.
//!
//! SHA-256 runs at about 1.3 GB/s with the CPU's instructions for it; making or reading files takes
//! as long again, so the two overlap.

use mica_model::Digest;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// How many chunks the hash, or the output, may be behind.
const BEHIND: usize = 8;

type Piece = (Arc<Vec<u8>>, usize);

/// Reads an archive and passes all of it on to a hasher.
pub(crate) struct Source<R> {
    inner: R,
    to_hasher: SyncSender<Piece>,
    pool: Pool,
    chunk: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

/// Takes an archive and passes all of it on to a hasher and to a writer.
pub(crate) struct Output {
    to_hasher: SyncSender<Piece>,
    to_writer: SyncSender<Piece>,
    pool: Pool,
    chunk: Arc<Vec<u8>>,
    filled: usize,
}

/// Chunks that the hasher may still be busy with, the oldest first.
#[derive(Debug)]
struct Pool {
    used: VecDeque<Arc<Vec<u8>>>,
    chunk_size: usize,
}

/// Runs `work` on a source over `reader`, and answers the digest of all that was read with its
/// result.
pub(crate) fn with_hash<R: Read, T>(reader: R, work: impl FnOnce(Source<R>) -> T) -> (T, Digest) {
    beside_hasher(|to_hasher| {
        let chunk = Arc::new(Vec::new());
        work(Source { inner: reader, to_hasher, pool: Pool::new(CHUNK), chunk, start: 0, end: 0 })
    })
}

/// Runs `work` on a thread of its own with an output to `writer`, and answers the digest of all that
/// was written with its result. What `work` did not [`Output::finish`] is lost.
///
/// # Errors
/// Those of `writer`, before any of `work`.
pub(crate) fn with_written_hash<T: Send>(
    mut writer: impl Write,
    work: impl FnOnce(Output) -> T + Send,
) -> io::Result<(T, Digest)> {
    let (to_writer, pieces) = sync_channel::<Piece>(BEHIND);
    let (outcome, digest) = beside_hasher(|to_hasher| {
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let mut pool = Pool::new(CHUNK);
                let chunk = pool.free_chunk();
                work(Output { to_hasher, to_writer, pool, chunk, filled: 0 })
            });
            let written = write_all(&mut writer, &pieces);
            // A worker that still has something learns so that nobody wants it.
            drop(pieces);
            match worker.join() {
                Ok(result) => written.map(|()| result),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    });
    outcome.map(|result| (result, digest))
}

fn write_all(writer: &mut impl Write, pieces: &Receiver<Piece>) -> io::Result<()> {
    while let Ok((chunk, length)) = pieces.recv() {
        writer.write_all(&chunk[..length])?;
    }
    writer.flush()
}

fn beside_hasher<T>(work: impl FnOnce(SyncSender<Piece>) -> T) -> (T, Digest) {
    let (to_hasher, pieces) = sync_channel(BEHIND);
    std::thread::scope(|scope| {
        let hasher = scope.spawn(move || hash(&pieces));
        let result = work(to_hasher);
        match hasher.join() {
            Ok(digest) => (result, digest),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn hash(pieces: &Receiver<Piece>) -> Digest {
    let mut state = Sha256::new();
    while let Ok((chunk, length)) = pieces.recv() {
        state.update(&chunk[..length]);
    }
    Digest::from_bytes(state.finalize().into())
}

impl Pool {
    const fn new(chunk_size: usize) -> Self {
        Self { used: VecDeque::new(), chunk_size }
    }

    /// A chunk that the hasher is done with, or a new one.
    fn free_chunk(&mut self) -> Arc<Vec<u8>> {
        if self.used.len() > 1
            && self.used.front().is_some_and(|chunk| Arc::strong_count(chunk) == 1)
            && let Some(chunk) = self.used.pop_front()
        {
            return chunk;
        }
        Arc::new(vec![0; self.chunk_size])
    }

    fn give_back(&mut self, chunk: Arc<Vec<u8>>) {
        if !chunk.is_empty() {
            self.used.push_back(chunk);
        }
    }
}

impl Output {
    /// Lets `fill` put bytes into a part of the archive that is at most `limit` long and not empty,
    /// and answers how many it put there.
    pub(crate) fn fill(
        &mut self,
        limit: u64,
        fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(chunk) = Arc::get_mut(&mut self.chunk) else { return Err(io::ErrorKind::Other.into()) };
        let space = &mut chunk[self.filled..];
        let length = space.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let count = fill(&mut space[..length])?;
        self.filled += count;
        if self.filled == self.chunk.len() {
            self.hand_on()?;
        }
        Ok(count)
    }

    /// Hands on what was gathered.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.hand_on()
    }

    fn hand_on(&mut self) -> io::Result<()> {
        let length = std::mem::take(&mut self.filled);
        let next = self.pool.free_chunk();
        let full = std::mem::replace(&mut self.chunk, next);
        for receiver in [&self.to_hasher, &self.to_writer] {
            if receiver.send((Arc::clone(&full), length)).is_err() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        self.pool.give_back(full);
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.fill(bytes.len() as u64, |space| {
            space.copy_from_slice(&bytes[..space.len()]);
            Ok(space.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<R: Read> Source<R> {
    fn refill(&mut self) -> io::Result<()> {
        let mut next = self.pool.free_chunk();
        let mut length = 0;
        if let Some(buffer) = Arc::get_mut(&mut next) {
            while length < buffer.len() {
                match self.inner.read(&mut buffer[length..]) {
                    Ok(0) => break,
                    Ok(read) => length += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if length > 0 && self.to_hasher.send((Arc::clone(&next), length)).is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let old = std::mem::replace(&mut self.chunk, next);
        self.pool.give_back(old);
        (self.start, self.end) = (0, length);
        Ok(())
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.refill()?;
        }
        Ok(&self.chunk[self.start..self.end])
    }

    fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_hands_on_all_bytes() {
        let bytes: Vec<u8> = (0..3_000_001u32).map(|i| (i % 251) as u8).collect();
        let (read, digest) = with_hash(&bytes[..], |mut source| {
            let mut all = Vec::new();
            source.read_to_end(&mut all).unwrap();
            all
        });
        assert!(read == bytes);
        assert_eq!(digest, Digest::from_bytes(Sha256::digest(&bytes).into()));
    }

    #[test]
    fn writes_and_hashes_all_bytes() {
        let bytes: Vec<u8> = (0..3_000_001u32).map(|i| (i % 253) as u8).collect();
        let mut written = Vec::new();
        let (result, digest) = with_written_hash(&mut written, |mut output| {
            output.write_all(&bytes[..7])?;
            let mut rest = &bytes[7..2_000_000];
            while !rest.is_empty() {
                output.fill(rest.len() as u64, |space| rest.read(space))?;
            }
            output.write_all(&bytes[2_000_000..])?;
            output.finish()
        })
        .unwrap();
        result.unwrap();
        assert!(written == bytes);
        assert_eq!(digest, Digest::from_bytes(Sha256::digest(&bytes).into()));
    }

    #[test]
    fn a_writer_that_fails_ends_the_work() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let endless = |mut output: Output| loop {
            if let Err(error) = output.write_all(&[0; 1 << 16]) {
                return error.kind();
            }
        };
        assert_eq!(with_written_hash(Full, endless).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
