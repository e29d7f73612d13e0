//! Headers of the archives that we write: ustar, with extended headers only where ustar is too
//! small. The same entry always gives the same bytes.

use super::{BLOCK, Entry, EntryKind};

/// The largest id in seven octal digits.
const LARGEST_ID: u32 = 0o7_777_777;
/// The largest size and time in eleven octal digits.
const LARGEST_SIZE: u64 = 0o77_777_777_777;

/// All blocks that precede the content of `entry`. Only whole seconds of its time are written, as
/// docker does, so that file systems without finer times give the same archive.
pub(crate) fn encode(entry: &Entry) -> Vec<u8> {
    let records = records(entry);
    let mut blocks = Vec::with_capacity(BLOCK * 3);
    if !records.is_empty() {
        let mut name = b"PaxHeaders.0/".to_vec();
        let base = entry.name.rsplit(|&b| b == b'/').find(|part| !part.is_empty()).unwrap_or(b"file");
        name.extend_from_slice(&base[..base.len().min(80)]);
        name.retain(u8::is_ascii);
        let mut header = Block::new(&name, b'x');
        header.octal(100, 8, 0o644);
        header.octal(124, 12, records.len() as u64);
        blocks.extend_from_slice(&header.finish());
        blocks.extend_from_slice(&records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
    blocks.extend_from_slice(&main_header(entry));
    blocks
}

/// How many zero bytes follow content of `size` bytes.
pub(crate) const fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

fn main_header(entry: &Entry) -> [u8; BLOCK] {
    let (flag, target, device) = match &entry.kind {
        EntryKind::File | EntryKind::Ignored => (b'0', &[][..], None),
        EntryKind::HardLink { target } => (b'1', &target[..], None),
        EntryKind::Symlink { target } => (b'2', &target[..], None),
        EntryKind::CharDevice { major, minor } => (b'3', &[][..], Some((*major, *minor))),
        EntryKind::BlockDevice { major, minor } => (b'4', &[][..], Some((*major, *minor))),
        EntryKind::Directory => (b'5', &[][..], None),
        EntryKind::Fifo => (b'6', &[][..], None),
    };
    let metadata = &entry.metadata;
    let mut header = Block::new(&entry.name, flag);
    header.octal(100, 8, u64::from(metadata.mode));
    header.octal(108, 8, u64::from(if metadata.uid > LARGEST_ID { 0 } else { metadata.uid }));
    header.octal(116, 8, u64::from(if metadata.gid > LARGEST_ID { 0 } else { metadata.gid }));
    header.octal(124, 12, if entry.stored > LARGEST_SIZE { 0 } else { entry.stored });
    header.octal(
        136,
        12,
        u64::try_from(metadata.mtime.seconds).ok().filter(|t| *t <= LARGEST_SIZE).unwrap_or(0),
    );
    header.text(157, 100, target);
    if let Some((major, minor)) = device {
        header.octal(329, 8, u64::from(major));
        header.octal(337, 8, u64::from(minor));
    }
    header.finish()
}

fn records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let metadata = &entry.metadata;
    if !fits(&entry.name) {
        record(&mut records, b"path", &entry.name);
    }
    if let EntryKind::HardLink { target } | EntryKind::Symlink { target } = &entry.kind
        && !fits(target)
    {
        record(&mut records, b"linkpath", target);
    }
    if entry.stored > LARGEST_SIZE {
        record(&mut records, b"size", entry.stored.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], metadata.uid), (b"gid", metadata.gid)] {
        if id > LARGEST_ID {
            record(&mut records, key, id.to_string().as_bytes());
        }
    }
    if u64::try_from(metadata.mtime.seconds).map_or(true, |t| t > LARGEST_SIZE) {
        record(&mut records, b"mtime", metadata.mtime.seconds.to_string().as_bytes());
    }
    for (name, value) in &metadata.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// Names beyond ASCII go to an extended header, which is defined to be UTF-8.
fn fits(name: &[u8]) -> bool {
    name.len() <= 100 && name.is_ascii()
}

fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + digits(body);
    if body + digits(length) != length {
        length = body + digits(length);
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(name: &[u8], flag: u8) -> Self {
        let mut block = Self([0; BLOCK]);
        block.text(0, 100, name);
        block.0[156] = flag;
        block.text(257, 8, b"ustar\x0000");
        for (start, length) in [(100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8)] {
            block.octal(start, length, 0);
        }
        block
    }

    fn text(&mut self, start: usize, length: usize, text: &[u8]) {
        let text = &text[..text.len().min(length)];
        self.0[start..start + text.len()].copy_from_slice(text);
    }

    fn octal(&mut self, start: usize, length: usize, number: u64) {
        let digits = format!("{number:0width$o}\0", width = length - 1);
        self.text(start, length, digits.as_bytes());
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.text(148, 8, b"        ");
        let sum: u64 = self.0.iter().map(|&byte| u64::from(byte)).sum();
        self.text(148, 8, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::reader::{NoTap, Reader};
    use super::super::{Metadata, Time};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tar_34_what_is_written_is_read_back(
            name in proptest::collection::vec(1u8..=255, 1..300),
            link in proptest::collection::vec(1u8..=255, 1..300),
            ids in (0u32..u32::MAX, 0u32..u32::MAX, 0u32..0o10000),
            seconds in -10_000_000_000i64..100_000_000_000,
            value: Vec<u8>,
        ) {
            let mtime = Time { seconds, nanoseconds: 0 };
            let xattrs = vec![(b"user.a".to_vec(), value)];
            let entry = Entry {
                name,
                kind: EntryKind::Symlink { target: link },
                metadata: Metadata { mode: ids.2, uid: ids.0, gid: ids.1, mtime, xattrs },
                stored: 0,
                sparse: None,
            };
            let bytes = encode(&entry);
            prop_assert_eq!(Reader::new(&bytes[..], NoTap).next_entry().unwrap(), Some(entry));
        }
    }

    #[test]
    fn tar_34_sizes_beyond_8_gib_are_exact() {
        let entry = Entry {
            name: b"big".to_vec(),
            kind: EntryKind::File,
            metadata: Metadata::default(),
            stored: 9 << 30,
            sparse: None,
        };
        let bytes = encode(&entry);
        assert_eq!(Reader::new(&bytes[..], NoTap).next_entry().unwrap(), Some(entry));
    }
}
