//! Where an archive's bytes lie: in the given file itself, or in an unlinked temporary copy if it
//! came through a pipe or was compressed.

use super::compression::{Compression, Decoder, WindowLimit, with_magic};
use crate::error::{Error, Result};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// How much is read and written at once where nothing else says so, in bytes.
pub(super) const BUFFER_SIZE: usize = 256 << 10;

/// A range of a file that many threads may read at once, as each keeps its own position.
#[derive(Debug, Clone)]
pub(super) struct Section {
    file: Arc<File>,
    position: u64,
    end: u64,
}

impl Section {
    /// All of a file from `start` on.
    pub(super) fn from_file(file: File, start: u64) -> Result<Self> {
        let size = file.metadata().map_err(|source| Error::Read { source })?.len();
        Ok(Self { file: Arc::new(file), position: start.min(size), end: size })
    }

    /// Bytes left.
    pub(super) fn len(&self) -> u64 {
        self.end - self.position
    }

    /// `length` bytes from `offset` on, or nothing if there aren't so many.
    pub(super) fn part(&self, offset: u64, length: u64) -> Option<Self> {
        let position = self.position.checked_add(offset)?;
        let end = position.checked_add(length)?;
        (end <= self.end).then(|| Self { file: Arc::clone(&self.file), position, end })
    }

    /// Fills `buffer` from `offset` on as far as there are bytes.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.len().saturating_sub(offset);
        let wanted = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < wanted {
            let position = self.position + offset + filled as u64;
            match self.file.read_at(&mut buffer[filled..wanted], position) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.len()).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        if count == 0 && wanted > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive became shorter while it was read",
            ));
        }
        Ok(count)
    }
}

/// The plain tar archive in `input`: in place if it is a regular file and not compressed, else as
/// a copy without a name in `spool_directory`.
pub(super) fn plain(input: File, spool_directory: &Path) -> Result<Section> {
    let failed = |source| Error::Read { source };
    let status = rustix::fs::fstat(&input).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
        // Redirected standard input may have been read from by others before.
        let start = rustix::fs::tell(&input).map_err(|error| failed(error.into()))?;
        let mut magic = [0u8; 8];
        let section = Section::from_file(input.try_clone().map_err(failed)?, start)?;
        let count = section.read_at(&mut magic, 0).map_err(failed)?;
        if Compression::detect(&magic[..count])? == Compression::None {
            return Ok(section);
        }
        rustix::fs::seek(&input, SeekFrom::Start(start)).map_err(|error| failed(error.into()))?;
    }
    spool(input, spool_directory)
}

/// A file without a name in `directory`, gone when it is closed.
fn unnamed_file(directory: &Path) -> Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600))
        .map_err(|source| Error::file("create a temporary file in", directory, source))?;
    Ok(File::from(file))
}

fn spool(input: File, directory: &Path) -> Result<Section> {
    let mut file = unnamed_file(directory)?;
    let mut decoder = Decoder::new(with_magic(input, BUFFER_SIZE)?, WindowLimit::Archive)?;
    let mut buffer = vec![0u8; BUFFER_SIZE];
    loop {
        let count = match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(Error::Read { source }),
        };
        file.write_all(&buffer[..count])
            .map_err(|source| Error::file("write a temporary file in", directory, source))?;
    }
    Section::from_file(file, 0)
}
