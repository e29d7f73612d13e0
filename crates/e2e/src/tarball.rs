//! Writes tar streams byte by byte, honest ones and those that no honest tool would write.
//!
//! The format is the one of POSIX `pax(1)` (ustar with extended headers) and GNU tar's additions. Nothing is checked:
//! names may escape, sizes may lie, checksums may be wrong. That is what it is for.

/// The unit that everything in a tar stream is padded to, in bytes.
pub const BLOCK: usize = 512;

/// One member of an archive: its header, extended headers before it, and its data.
#[derive(Debug, Clone)]
pub struct Entry {
    name: Vec<u8>,
    link: Vec<u8>,
    kind: u8,
    mode: u32,
    user: u64,
    group: u64,
    modified_seconds: u64,
    device: (u32, u32),
    data: Vec<u8>,
    claimed_size: Option<Vec<u8>>,
    checksum: Option<u32>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
    patches: Vec<(usize, Vec<u8>)>,
}

impl Entry {
    /// An entry of any type flag, honest or not.
    pub fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            kind,
            mode: 0o644,
            user: 0,
            group: 0,
            modified_seconds: 1_700_000_000,
            device: (0, 0),
            data: Vec::new(),
            claimed_size: None,
            checksum: None,
            records: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// A regular file.
    pub fn file(name: impl AsRef<[u8]>, data: impl Into<Vec<u8>>) -> Self {
        Self { data: data.into(), ..Self::new(b'0', name) }
    }

    /// A directory.
    pub fn directory(name: impl AsRef<[u8]>) -> Self {
        Self::new(b'5', name).mode(0o755)
    }

    /// A symbolic link.
    pub fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(b'2', name) }.mode(0o777)
    }

    /// Another name of an earlier entry.
    pub fn hardlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self { link: target.as_ref().to_vec(), ..Self::new(b'1', name) }
    }

    /// A character device.
    pub fn character_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(b'3', name) }
    }

    /// A block device.
    pub fn block_device(name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..Self::new(b'4', name) }
    }

    /// A named pipe.
    pub fn fifo(name: impl AsRef<[u8]>) -> Self {
        Self::new(b'6', name)
    }

    /// A global extended header, which holds for all entries after it.
    pub fn global(records: &[(&str, &str)]) -> Self {
        let data =
            records.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value.as_bytes())).collect();
        Self { data, ..Self::new(b'g', "pax_global_header") }
    }

    /// GNU tar's way of giving the next entry a long name.
    pub fn gnu_long_name(name: impl AsRef<[u8]>) -> Self {
        let mut data = name.as_ref().to_vec();
        data.push(0);
        Self { data, ..Self::new(b'L', "././@LongLink") }
    }

    /// GNU tar's way of giving the next entry a long link target.
    pub fn gnu_long_link(target: impl AsRef<[u8]>) -> Self {
        let mut data = target.as_ref().to_vec();
        data.push(0);
        Self { data, ..Self::new(b'K', "././@LongLink") }
    }

    /// Sets the permission bits, set-user-id and the like included.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the owner; values that do not fit the octal field are written in GNU's base-256.
    #[must_use]
    pub fn owner(mut self, user: u64, group: u64) -> Self {
        (self.user, self.group) = (user, group);
        self
    }

    /// Sets the modification time, in seconds since 1970.
    #[must_use]
    pub fn modified(mut self, seconds: u64) -> Self {
        self.modified_seconds = seconds;
        self
    }

    /// Gives an entry of any type some data.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// Adds a record to the extended header before this entry, such as `path`, `size` or `SCHILY.xattr.user.x`.
    #[must_use]
    pub fn pax(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.records.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Makes the header tell another size than the data has.
    #[must_use]
    pub fn claimed_size(mut self, size: u64) -> Self {
        self.claimed_size = Some(number(size, 12));
        self
    }

    /// Writes these very bytes into the size field (12 bytes), such as a negative base-256 number.
    #[must_use]
    pub fn size_field(mut self, field: [u8; 12]) -> Self {
        self.claimed_size = Some(field.to_vec());
        self
    }

    /// Writes this checksum, right or wrong.
    #[must_use]
    pub fn checksum(mut self, checksum: u32) -> Self {
        self.checksum = Some(checksum);
        self
    }

    /// Overwrites bytes of the header at an offset, before the checksum is made.
    #[must_use]
    pub fn patch(mut self, offset: usize, bytes: impl Into<Vec<u8>>) -> Self {
        self.patches.push((offset, bytes.into()));
        self
    }

    fn header(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        put(&mut block, 0, &self.name[..self.name.len().min(100)]);
        put(&mut block, 100, &number(u64::from(self.mode), 8));
        put(&mut block, 108, &number(self.user, 8));
        put(&mut block, 116, &number(self.group, 8));
        let size = self.claimed_size.clone().unwrap_or_else(|| number(self.data.len() as u64, 12));
        put(&mut block, 124, &size);
        put(&mut block, 136, &number(self.modified_seconds, 12));
        block[156] = self.kind;
        put(&mut block, 157, &self.link[..self.link.len().min(100)]);
        put(&mut block, 257, b"ustar\x0000");
        put(&mut block, 329, &number(u64::from(self.device.0), 8));
        put(&mut block, 337, &number(u64::from(self.device.1), 8));
        for (offset, bytes) in &self.patches {
            put(&mut block, *offset, bytes);
        }
        put(&mut block, 148, b"        ");
        let sum = self.checksum.unwrap_or_else(|| block.iter().map(|&byte| u32::from(byte)).sum());
        put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
        block
    }

    /// The extended records of this entry; a name or target too long for its field adds one of its own.
    fn extended(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in [("path", &self.name), ("linkpath", &self.link)] {
            if value.len() > 100 {
                bytes.extend(pax_record(key.as_bytes(), value));
            }
        }
        for (key, value) in &self.records {
            bytes.extend(pax_record(key, value));
        }
        bytes
    }
}

/// A tar stream in the making.
#[derive(Debug, Clone, Default)]
pub struct Tarball {
    bytes: Vec<u8>,
}

impl Tarball {
    /// An archive with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    #[must_use]
    pub fn with(mut self, entry: Entry) -> Self {
        self.add(&entry);
        self
    }

    /// Adds an entry, in place.
    pub fn add(&mut self, entry: &Entry) {
        let extended = entry.extended();
        if !extended.is_empty() {
            self.add(&Entry { data: extended, ..Entry::new(b'x', "PaxHeaders/entry") });
        }
        self.bytes.extend(entry.header());
        self.bytes.extend(&entry.data);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend(bytes);
        self
    }

    /// The archive with its two closing blocks.
    pub fn finish(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK]).bytes
    }

    /// The archive as it is, without an end.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive cut off after so many bytes.
    pub fn truncated(self, length: usize) -> Vec<u8> {
        let mut bytes = self.finish();
        bytes.truncate(length);
        bytes
    }
}

/// One record of an extended header: `LENGTH KEY=VALUE\n`, where the length counts itself.
pub fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A number as octal text, or as GNU's base-256 when it does not fit.
fn number(value: u64, width: usize) -> Vec<u8> {
    let text = format!("{value:0digits$o}\0", digits = width - 1);
    if text.len() == width {
        return text.into_bytes();
    }
    let mut field = vec![0; width];
    let bytes = value.to_be_bytes();
    let taken = bytes.len().min(width - 1);
    field[width - taken..].copy_from_slice(&bytes[bytes.len() - taken..]);
    field[0] |= 0x80;
    field
}

fn put(block: &mut [u8; BLOCK], offset: usize, bytes: &[u8]) {
    block[offset..offset + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// What the system's own tar sees in an archive.
    fn listed(archive: &[u8]) -> String {
        let mut tar = Command::new("tar")
            .args(["-tvf", "-", "--numeric-owner", "--utc"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(archive).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn honest_archives_are_read_by_the_system() {
        let long = format!("{}/end", "d".repeat(120));
        let archive = Tarball::new()
            .with(Entry::directory("etc/"))
            .with(Entry::file("etc/motd", "hello").mode(0o4755).owner(3_000_000, 7))
            .with(Entry::symlink("link", "etc/motd"))
            .with(Entry::hardlink("again", "etc/motd"))
            .with(Entry::file(&long, ""))
            .finish();
        let text = listed(&archive);
        assert!(text.contains("-rwsr-xr-x 3000000/7"), "{text}");
        assert!(text.contains("link -> etc/motd") && text.contains("again link to etc/motd"), "{text}");
        assert!(text.contains(&long), "{text}");
    }

    #[test]
    fn records_count_their_own_length() {
        assert_eq!(pax_record(b"path", b"x"), b"9 path=x\n");
        assert_eq!(pax_record(b"path", b""), b"8 path=\n");
        for length in 80..120 {
            let record = pax_record(b"k", &vec![b'v'; length]);
            let told: usize = String::from_utf8_lossy(&record).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(told, record.len());
        }
    }

    #[test]
    fn lies_are_written_as_told() {
        let lie =
            Tarball::new().with(Entry::file("a", "x").claimed_size(1 << 32).checksum(0o17)).unfinished();
        assert_eq!(&lie[124..136], b"40000000000\0");
        assert_eq!(&lie[148..154], b"000017");
    }
}
