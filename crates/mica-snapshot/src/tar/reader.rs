//! A tar archive as a stream of entries.
//!
//! One pass, bounded memory. Every byte of the archive goes either to the [`Tap`] as it is, or to
//! the caller as content of a file; so the tap together with the files is the whole archive.

use super::header::{Header, until_zero};
use super::pax::{self, Extension};
use super::sparse::{self, MapText, OldGnu};
use super::{BLOCK, Entry, EntryKind, LONGEST_EXTENSION, Metadata, SparseMap, TarError};
use std::io::{self, BufRead};

/// Receives all bytes that are not the content of a file.
pub(crate) trait Tap {
    /// The next bytes of the archive that only the archive has.
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The bytes of the archive just read as content are now `length` bytes of the file at `path`,
    /// from `offset` on.
    fn piece(&mut self, _path: &[u8], _offset: u64, _length: u64) -> io::Result<()> {
        Ok(())
    }

    /// How many pieces were told.
    fn pieces(&self) -> u64 {
        0
    }
}

/// For archives that need not be written again.
#[derive(Debug)]
pub(crate) struct NoTap;

impl Tap for NoTap {
    fn literal(&mut self, _bytes: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Whether content that is read also goes to the tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It can be found in a file later.
    Elsewhere,
    /// The archive is the only place.
    Literal,
}

/// Reads entries; see the module.
#[derive(Debug)]
pub(crate) struct Reader<S, T> {
    source: S,
    tap: T,
    position: u64,
    content_left: u64,
    padding: usize,
}

/// What precedes an entry: long names and extended headers.
#[derive(Debug, Default)]
struct Preamble {
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    extension: Option<Extension>,
}

impl<S: BufRead, T: Tap> Reader<S, T> {
    /// Starts at the first byte of an archive.
    pub(crate) const fn new(source: S, tap: T) -> Self {
        Self { source, tap, position: 0, content_left: 0, padding: 0 }
    }

    /// The tap, to record in it where content went.
    pub(crate) const fn tap_mut(&mut self) -> &mut T {
        &mut self.tap
    }

    /// Gives source and tap back.
    pub(crate) fn into_parts(self) -> (S, T) {
        (self.source, self.tap)
    }

    /// The next entry. Content of the one before that was not read goes to the tap. At the end of
    /// the archive, whatever follows it in the stream goes there too.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut preamble = Preamble::default();
        loop {
            self.finish_content()?;
            let offset = self.position;
            let Some(block) = self.header_block()? else {
                self.drain()?;
                return Ok(None);
            };
            let header = Header { block: &block, offset };
            header.check()?;
            match header.type_flag() {
                b'x' => {
                    let text = self.extension_text(header)?;
                    preamble.extension = Some(pax::parse(&text, offset)?);
                }
                // Neither docker nor containerd let global records change entries. They are read,
                // so that a malformed one is noticed, and have no effect.
                b'g' => {
                    let text = self.extension_text(header)?;
                    pax::parse(&text, offset)?;
                }
                b'L' => preamble.long_name = Some(until_zero(&self.extension_text(header)?).to_vec()),
                b'K' => preamble.long_link = Some(until_zero(&self.extension_text(header)?).to_vec()),
                _ => return self.entry(header, preamble).map(Some),
            }
        }
    }

    /// Streams what is left of the current entry's content.
    pub(crate) fn copy_content<E: From<TarError>>(
        &mut self,
        keep: Keep,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.copy_some(u64::MAX, keep, &mut sink)
    }

    /// As [`Self::copy_content`], but at most `limit` bytes.
    pub(crate) fn copy_some<E: From<TarError>>(
        &mut self,
        limit: u64,
        keep: Keep,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = limit.min(self.content_left);
        while left > 0 {
            let chunk = fill(&mut self.source)?;
            if chunk.is_empty() {
                return Err(TarError::Truncated.into());
            }
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
            if keep == Keep::Literal {
                self.tap.literal(&chunk[..length]).map_err(|source| TarError::Read { source })?;
            }
            sink(&chunk[..length])?;
            self.source.consume(length);
            self.position += length as u64;
            self.content_left -= length as u64;
            left -= length as u64;
        }
        Ok(())
    }

    /// The next block that is a header; `None` at the end of the archive, with or without the two
    /// zero blocks that should mark it.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().any(|&byte| byte != 0) {
            return Ok(Some(block));
        }
        let offset = self.position;
        match self.block()? {
            Some(second) if second.iter().any(|&byte| byte != 0) => Err(TarError::Checksum { offset }),
            _ => Ok(None),
        }
    }

    /// One block, to the tap too; `None` if the stream ends exactly here.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let chunk = fill(&mut self.source)?;
            if chunk.is_empty() {
                return if filled == 0 { Ok(None) } else { Err(TarError::Truncated) };
            }
            let length = chunk.len().min(BLOCK - filled);
            block[filled..filled + length].copy_from_slice(&chunk[..length]);
            self.source.consume(length);
            filled += length;
        }
        self.position += BLOCK as u64;
        self.tap.literal(&block).map_err(|source| TarError::Read { source })?;
        Ok(Some(block))
    }

    fn finish_content(&mut self) -> Result<(), TarError> {
        self.copy_content(Keep::Literal, |_| Ok::<(), TarError>(()))?;
        self.content_left = self.padding as u64;
        self.padding = 0;
        self.copy_content(Keep::Literal, |_| Ok::<(), TarError>(()))
    }

    fn drain(&mut self) -> Result<(), TarError> {
        loop {
            let chunk = fill(&mut self.source)?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.tap.literal(chunk).map_err(|source| TarError::Read { source })?;
            let length = chunk.len();
            self.source.consume(length);
            self.position += length as u64;
        }
    }

    /// Content of a header that extends the next one. Its size is a claim: what is not there
    /// cannot make the buffer grow.
    fn extension_text(&mut self, header: Header<'_>) -> Result<Vec<u8>, TarError> {
        let size = header.natural(124, 12, "size")?;
        if size > LONGEST_EXTENSION {
            return Err(TarError::Extended { offset: header.offset, problem: "longer than 1 MiB" });
        }
        self.set_content(size);
        let mut text = Vec::new();
        self.copy_content(Keep::Literal, |chunk| {
            text.extend_from_slice(chunk);
            Ok::<(), TarError>(())
        })?;
        Ok(text)
    }

    const fn set_content(&mut self, size: u64) {
        self.content_left = size;
        self.padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
    }

    fn entry(&mut self, header: Header<'_>, preamble: Preamble) -> Result<Entry, TarError> {
        let extension = preamble.extension.unwrap_or_default();
        let number_error = |field| TarError::Number { offset: header.offset, field };
        let claimed = match extension.size {
            Some(size) => size,
            None => header.natural(124, 12, "size")?,
        };
        if claimed > i64::MAX as u64 - BLOCK as u64 {
            return Err(number_error("size"));
        }
        let name = extension.path.clone().or(preamble.long_name).unwrap_or_else(|| header.name());
        let link = extension.link_path.clone().or(preamble.long_link).unwrap_or_else(|| header.link_name());
        let kind = entry_kind(header, &name, link)?;
        // As Go's archive/tar, which docker uses: only these types have content.
        let stored = if matches!(kind, EntryKind::File | EntryKind::Ignored) { claimed } else { 0 };
        self.set_content(stored);
        let metadata = Metadata {
            #[expect(clippy::cast_sign_loss, reason = "masked to 12 bits")]
            mode: (header.number(100, 8, "mode")? & 0o7777) as u32,
            uid: owner(extension.uid, header, (108, "uid"))?,
            gid: owner(extension.gid, header, (116, "gid"))?,
            mtime: match extension.mtime {
                Some(time) => time,
                None => super::Time { seconds: header.number(136, 12, "mtime")?, nanoseconds: 0 },
            },
            xattrs: extension.xattrs.clone(),
        };
        let mut entry = Entry { name, kind, metadata, stored, sparse: None };
        self.read_sparse_map(header, extension, &mut entry)?;
        Ok(entry)
    }

    fn read_sparse_map(
        &mut self,
        header: Header<'_>,
        extension: Extension,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let records = extension.sparse;
        let offset = header.offset;
        let is_version_1 = records.version == (Some(1), Some(0));
        if header.type_flag() == b'S' && header.is_gnu() {
            entry.sparse = Some(self.old_gnu_map(header, entry.stored)?);
        } else if entry.kind != EntryKind::File {
        } else if is_version_1 {
            let real_size = records.real_size.ok_or(TarError::Sparse { offset, problem: "no size" })?;
            let numbers = self.leading_map()?;
            entry.stored = self.content_left;
            entry.sparse = Some(sparse::checked(&numbers, real_size, entry.stored, offset)?);
            entry.name = records.name.unwrap_or_else(|| entry.name.clone());
        } else if let Some(numbers) = records.numbers {
            let real_size = records.real_size.ok_or(TarError::Sparse { offset, problem: "no size" })?;
            entry.sparse = Some(sparse::checked(&numbers, real_size, entry.stored, offset)?);
            entry.name = records.name.unwrap_or_else(|| entry.name.clone());
        }
        Ok(())
    }

    fn old_gnu_map(&mut self, header: Header<'_>, stored: u64) -> Result<SparseMap, TarError> {
        let real_size = header.natural(483, 12, "sparse size")?;
        let mut numbers = Vec::new();
        let mut continues = sparse::old_gnu_pairs(header, OldGnu::Header, &mut numbers)?;
        while continues {
            let offset = self.position;
            let block = self.block()?.ok_or(TarError::Truncated)?;
            let continuation = Header { block: &block, offset };
            continues = sparse::old_gnu_pairs(continuation, OldGnu::Continuation, &mut numbers)?;
        }
        sparse::checked(&numbers, real_size, stored, header.offset)
    }

    fn leading_map(&mut self) -> Result<Vec<u64>, TarError> {
        let mut map = MapText::default();
        loop {
            let offset = self.position;
            if self.content_left < BLOCK as u64 {
                return Err(TarError::Sparse { offset, problem: "the map leaves the content" });
            }
            let block = self.block()?.ok_or(TarError::Truncated)?;
            self.content_left -= BLOCK as u64;
            if map.take(&block, offset)? {
                return Ok(map.numbers);
            }
        }
    }
}

fn fill<S: BufRead>(source: &mut S) -> Result<&[u8], TarError> {
    source.fill_buf().map_err(|source| TarError::Read { source })
}

/// chown(2) takes 2^32-1 as "leave as it is", so that number can be no owner.
fn owner(extended: Option<u64>, header: Header<'_>, field: (usize, &'static str)) -> Result<u32, TarError> {
    let number = match extended {
        Some(number) => number,
        None => header.natural(field.0, 8, field.1)?,
    };
    u32::try_from(number)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or(TarError::Number { offset: header.offset, field: field.1 })
}

fn entry_kind(header: Header<'_>, name: &[u8], target: Vec<u8>) -> Result<EntryKind, TarError> {
    let device = || {
        let number = |start, field| {
            let number = header.natural(start, 8, field)?;
            u32::try_from(number).map_err(|_| TarError::Number { offset: header.offset, field })
        };
        Ok((number(329, "device major")?, number(337, "device minor")?))
    };
    Ok(match header.type_flag() {
        // Before POSIX, a slash at the end was all that marked a directory.
        0 | b'0' if name.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' => EntryKind::File,
        b'S' if header.is_gnu() => EntryKind::File,
        b'1' => EntryKind::HardLink { target },
        b'2' => EntryKind::Symlink { target },
        b'3' => device().map(|(major, minor)| EntryKind::CharDevice { major, minor })?,
        b'4' => device().map(|(major, minor)| EntryKind::BlockDevice { major, minor })?,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => EntryKind::Ignored,
    })
}
