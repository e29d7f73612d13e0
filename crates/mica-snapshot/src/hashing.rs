//! The digest of a long stream: of a short one it is taken on the way, of a long one by a thread beside the reading.

use mica_model::Digest;
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes that are digested at once.
const CHUNK: usize = 256 << 10;

/// From how many bytes on a thread is worth its start.
const WORTH_A_THREAD: u64 = 2 << 20;

/// How many chunks may wait for the thread.
const WAITING: usize = 4;

/// A stream of which the digest is wanted.
pub(crate) struct HashedStream {
    chunk: Vec<u8>,
    /// How much of the chunk is filled.
    filled: usize,
    /// Bytes before the chunk.
    before: u64,
    hasher: Hasher,
}

enum Hasher {
    Here(Sha256),
    Beside { full: SyncSender<Vec<u8>>, empty: Receiver<Vec<u8>>, thread: JoinHandle<Sha256> },
}

impl HashedStream {
    pub(crate) fn new() -> Self {
        // Most streams are a few headers; the chunk grows when it has to.
        Self { chunk: vec![0; 8 << 10], filled: 0, before: 0, hasher: Hasher::Here(Sha256::new()) }
    }

    /// How long the stream is by now.
    pub(crate) fn length(&self) -> u64 {
        self.before + self.filled as u64
    }

    /// Appends bytes.
    pub(crate) fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room(bytes.len())?;
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    /// Appends exactly `size` bytes of a file: one that shrank meanwhile is filled up with zeros, one that grew is cut
    /// off.
    pub(crate) fn file(&mut self, file: &OwnedFd, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            let room = self.room(wanted)?;
            let wanted = wanted.min(room.len());
            let length = match rustix::io::read(file, &mut room[..wanted]) {
                Ok(0) => {
                    room[..wanted].fill(0);
                    wanted
                }
                Ok(length) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            self.filled += length;
            left -= length as u64;
        }
        Ok(())
    }

    /// The digest of all.
    pub(crate) fn finish(mut self) -> io::Result<Digest> {
        self.flush()?;
        let hash = match self.hasher {
            Hasher::Here(hash) => hash,
            Hasher::Beside { full, thread, .. } => {
                drop(full);
                match thread.join() {
                    Ok(hash) => hash,
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        };
        Ok(Digest::from_bytes(hash.finalize().into()))
    }

    /// What may be filled next, at least a byte.
    fn room(&mut self, wanted: usize) -> io::Result<&mut [u8]> {
        if self.chunk.len() < CHUNK && self.filled + wanted > self.chunk.len() {
            self.chunk.resize(CHUNK, 0);
        }
        if self.filled == self.chunk.len() {
            self.flush()?;
        }
        Ok(&mut self.chunk[self.filled..])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.before += self.filled as u64;
        if let Hasher::Here(hash) = &mut self.hasher {
            hash.update(&self.chunk[..self.filled]);
            self.filled = 0;
            if self.before >= WORTH_A_THREAD {
                self.hasher = beside(hash.clone())?;
            }
            return Ok(());
        }
        let Hasher::Beside { full, empty, .. } = &mut self.hasher else { return Ok(()) };
        let mut chunk = std::mem::replace(&mut self.chunk, empty.try_recv().unwrap_or_default());
        chunk.truncate(self.filled);
        self.chunk.resize(CHUNK, 0);
        self.filled = 0;
        // The thread ends before us only by a panic, which is seen when it is joined.
        full.send(chunk).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Goes on in a thread. One that nobody waits for ends with the stream.
fn beside(mut hash: Sha256) -> io::Result<Hasher> {
    let (full, to_hash) = sync_channel::<Vec<u8>>(WAITING);
    let (hashed, empty) = sync_channel(WAITING + 1);
    let thread = std::thread::Builder::new().name("layer hash".to_owned()).spawn(move || {
        for chunk in to_hash {
            hash.update(&chunk);
            // Where nobody wants it back it is freed.
            let _ = hashed.try_send(chunk);
        }
        hash
    })?;
    Ok(Hasher::Beside { full, empty, thread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(Sha256::digest(bytes).into())
    }

    #[test]
    fn pieces_of_any_size_give_the_digest_of_the_whole() {
        let all: Vec<u8> =
            (0..7_000_003_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for step in [1 << 20, 100_003, 7777] {
            let mut stream = HashedStream::new();
            all.chunks(step).for_each(|piece| stream.bytes(piece).unwrap());
            assert_eq!(stream.length(), all.len() as u64);
            assert_eq!(stream.finish().unwrap(), digest(&all));
        }
        assert_eq!(HashedStream::new().finish().unwrap(), digest(b""));
    }

    #[test]
    fn a_file_counts_with_the_size_it_was_said_to_have() {
        let content = vec![7; 3_000_000];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        for size in [0, 1, 2_999_999, 3_000_000, 3_000_001, 9_000_000] {
            file.rewind().unwrap();
            let mut stream = HashedStream::new();
            stream.bytes(b"head").unwrap();
            stream.file(&file.try_clone().unwrap().into(), size as u64).unwrap();
            let mut expected = [b"head", &content[..]].concat();
            expected.resize(4 + size, 0);
            assert_eq!(stream.finish().unwrap(), digest(&expected), "{size}");
        }
    }
}
