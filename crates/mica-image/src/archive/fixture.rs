//! Archives made in memory, for the tests of this folder.

use super::source::Section;
use std::io::Write;

/// A tar archive being made, sound or not.
#[derive(Debug, Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn header_with_size_field(mut self, name: &str, kind: u8, size: &[u8]) -> Self {
        self.push_header(name, kind, size, "");
        self
    }

    fn push_header(&mut self, name: &str, kind: u8, size: &[u8], link: &str) {
        let mut block = [0u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..124 + size.len()].copy_from_slice(size);
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0.extend(block);
    }

    pub(super) fn raw_header(self, name: &str, kind: u8, size: u64) -> Self {
        self.header_with_size_field(name, kind, format!("{size:011o}").as_bytes())
    }

    pub(super) fn raw(mut self, content: &[u8]) -> Self {
        self.0.extend(content);
        let padding = self.0.len().next_multiple_of(512) - self.0.len();
        self.0.extend(vec![0; padding]);
        self
    }

    pub(super) fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw_header(name, b'0', content.len() as u64).raw(content)
    }

    pub(super) fn link(mut self, kind: u8, name: &str, target: &str) -> Self {
        self.push_header(name, kind, b"0", target);
        self
    }

    pub(super) fn long_name(self, kind: u8, name: &str) -> Self {
        let content = [name.as_bytes(), b"\0"].concat();
        self.raw_header("././@LongLink", kind, content.len() as u64).raw(&content)
    }

    fn records(records: &[(&str, &str)]) -> Vec<u8> {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
            writeln!(content, "{length} {key}={value}").unwrap();
        }
        content
    }

    pub(super) fn pax(self, records: &[(&str, &str)]) -> Self {
        let content = Self::records(records);
        self.raw_header("pax", b'x', content.len() as u64).raw(&content)
    }

    pub(super) fn global(self, records: &[(&str, &str)]) -> Self {
        let content = Self::records(records);
        self.raw_header("pax", b'g', content.len() as u64).raw(&content)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// A section over a file with these bytes.
pub(super) fn section(bytes: &[u8]) -> Section {
    Section::from_file(file(bytes), 0).unwrap()
}

/// An open file with these bytes, at its beginning.
pub(super) fn file(bytes: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    file
}
