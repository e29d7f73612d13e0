//! The table of a tar archive's entries: where each regular file's bytes lie, and where links lead.
//!
//! Strict where leniency let others be fooled (rows TAR-17 to TAR-22 and TAR-33): sizes are checked
//! against the archive before anything is believed, long names are bounded, no sparse files.
//! Formats: POSIX pax Interchange, and GNU tar's `L` and `K` headers.

use super::pax;
use super::source::Section;
use crate::error::{Error, Result};
use std::collections::HashMap;

const BLOCK: u64 = 512;
/// More entries than any image has; it bounds the memory of the table.
const ENTRY_COUNT_MAX: usize = 100_000;
/// The longest name or link, in bytes: the kernel's PATH_MAX.
const NAME_LENGTH_MAX: u64 = 4096;
/// The longest extended header, in bytes.
const PAX_LENGTH_MAX: u64 = 1 << 20;
/// How many links may follow one another.
const LINK_COUNT_MAX: usize = 16;

/// The entries by normalised name; of entries with the same name the last counts, as for `tar x`.
#[derive(Debug, Default)]
pub(super) struct TarIndex {
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File { offset: u64, size: u64 },
    Symlink { target: String },
    Hardlink { target: String },
    Other,
}

/// What headers before the real one said about it.
#[derive(Debug, Default)]
struct Pending {
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl TarIndex {
    /// Reads all headers of the archive.
    pub(super) fn read(archive: &Section) -> Result<Self> {
        let mut index = Self::default();
        let mut pending = Pending::default();
        let mut offset = 0;
        let mut header = [0u8; BLOCK as usize];
        loop {
            let count = archive.read_at(&mut header, offset).map_err(|source| Error::Read { source })?;
            // Archives without the two zero blocks at their end are common (row TAR-23).
            if count == 0 || (count == header.len() && header.iter().all(|byte| *byte == 0)) {
                break;
            }
            if count < header.len() {
                return Err(Error::Tar { offset, reason: "it ends within a header" });
            }
            let parsed = Header::parse(&header).map_err(|reason| Error::Tar { offset, reason })?;
            let data = offset + BLOCK;
            let size = index
                .take(archive, &parsed, &mut pending, data)
                .map_err(|reason| Error::Tar { offset, reason })?;
            // Sizes were checked against the archive, so this doesn't overflow.
            offset = data + size.div_ceil(BLOCK) * BLOCK;
        }
        Ok(index)
    }

    /// Takes one header in and tells how many bytes of data follow it.
    fn take(
        &mut self,
        archive: &Section,
        header: &Header,
        pending: &mut Pending,
        data: u64,
    ) -> std::result::Result<u64, &'static str> {
        let extended = |limit| -> std::result::Result<Vec<u8>, &'static str> {
            if header.size > limit {
                return Err("an extended header or a long name is too long");
            }
            let mut bytes = vec![0u8; usize::try_from(header.size).map_err(|_| "too long")?];
            let count = archive.read_at(&mut bytes, data).map_err(|_| "it can't be read")?;
            if count < bytes.len() { Err("it ends within an extended header") } else { Ok(bytes) }
        };
        match header.kind {
            b'L' => pending.name = Some(text(until_nul(&extended(NAME_LENGTH_MAX)?))),
            b'K' => pending.link = Some(text(until_nul(&extended(NAME_LENGTH_MAX)?))),
            b'x' => {
                let records = pax::parse(&extended(PAX_LENGTH_MAX)?)?;
                pending.name = records.path.or(pending.name.take());
                pending.link = records.link_path.or(pending.link.take());
                pending.size = records.size;
            }
            // Nothing global can name or measure one entry (row TAR-20), but it must be well formed.
            b'g' => {
                pax::parse(&extended(PAX_LENGTH_MAX)?)?;
            }
            _ => return self.add(archive, header, std::mem::take(pending), data),
        }
        Ok(header.size)
    }

    fn add(
        &mut self,
        archive: &Section,
        header: &Header,
        pending: Pending,
        data: u64,
    ) -> std::result::Result<u64, &'static str> {
        let name = pending.name.unwrap_or_else(|| header.name());
        let link = pending.link.unwrap_or_else(|| text(until_nul(&header.link)));
        if name.len() as u64 > NAME_LENGTH_MAX || link.len() as u64 > NAME_LENGTH_MAX {
            return Err("a name is too long");
        }
        let is_file = matches!(header.kind, 0 | b'0' | b'7') && !name.ends_with('/');
        // These have no data whatever their size field says.
        let has_data = is_file || !matches!(header.kind, 0 | b'1'..=b'6');
        let size = if has_data { pending.size.unwrap_or(header.size) } else { 0 };
        if archive.part(data, size).is_none() && size > 0 {
            return Err("it ends within an entry");
        }
        let entry = match header.kind {
            _ if is_file => Entry::File { offset: data, size },
            b'1' => Entry::Hardlink { target: link },
            b'2' => Entry::Symlink { target: link },
            b'S' => return Err("it has a sparse file, which no image archive needs"),
            _ => Entry::Other,
        };
        let name = normalized("", &name).ok_or("an entry's name leads out of the archive")?;
        if self.entries.len() >= ENTRY_COUNT_MAX && !self.entries.contains_key(&name) {
            return Err("it has too many entries");
        }
        self.entries.insert(name, entry);
        Ok(size)
    }

    /// Where the bytes of the file `name` lie: offset and length. Links are followed, within this
    /// table only (rows TAR-30 and TAR-32).
    pub(super) fn find(&self, name: &str) -> Result<Option<(u64, u64)>> {
        let outside = |name: &str| Error::EntryOutside { name: name.chars().take(300).collect() };
        let mut current = normalized("", name).ok_or_else(|| outside(name))?;
        for _ in 0..LINK_COUNT_MAX {
            let (directory, target) = match self.entries.get(&current) {
                None | Some(Entry::Other) => return Ok(None),
                Some(Entry::File { offset, size }) => return Ok(Some((*offset, *size))),
                Some(Entry::Hardlink { target }) => ("", target),
                Some(Entry::Symlink { target }) if target.starts_with('/') => return Err(outside(target)),
                Some(Entry::Symlink { target }) => {
                    (current.rsplit_once('/').map_or("", |(directory, _)| directory), target)
                }
            };
            current = normalized(directory, target).ok_or_else(|| outside(target))?;
        }
        Err(outside(name))
    }
}

/// The parts of a header block that matter.
#[derive(Debug)]
struct Header {
    prefix: Vec<u8>,
    short_name: Vec<u8>,
    link: Vec<u8>,
    kind: u8,
    size: u64,
}

impl Header {
    fn parse(block: &[u8; BLOCK as usize]) -> std::result::Result<Self, &'static str> {
        let stored = number(&block[148..156]).ok_or("a header has no checksum")?;
        let sum = |value: fn(u8) -> i64| -> i64 {
            block
                .iter()
                .enumerate()
                .map(|(at, byte)| value(if (148..156).contains(&at) { b' ' } else { *byte }))
                .sum()
        };
        // Some old programs added the bytes up as signed numbers.
        let sums = [sum(i64::from), sum(|byte| i64::from(byte.cast_signed()))];
        if !sums.iter().any(|sum| u64::try_from(*sum) == Ok(stored)) {
            return Err("a header's checksum is wrong");
        }
        let is_posix = &block[257..263] == b"ustar\0";
        Ok(Self {
            prefix: if is_posix { until_nul(&block[345..500]).to_vec() } else { Vec::new() },
            short_name: until_nul(&block[..100]).to_vec(),
            link: block[157..257].to_vec(),
            kind: block[156],
            size: number(&block[124..136]).ok_or("an entry's size is not a number from 0 to 2^63")?,
        })
    }

    fn name(&self) -> String {
        let mut name = self.prefix.clone();
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend(&self.short_name);
        text(&name)
    }
}

/// A number in octal digits, or in GNU's binary form; not negative and below 2^63.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return i64::try_from(value).ok().map(i64::cast_unsigned);
    }
    let digits = field.split(|byte| matches!(byte, b' ' | 0)).find(|part| !part.is_empty()).unwrap_or(b"0");
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Names that matter to an image are ASCII; those of other entries need only not collide often.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `name` as seen from `directory`, without `.`, `..` and doubled slashes. Nothing if it would
/// lead out.
fn normalized(directory: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests;
