//! Tar archives: what an entry is, how one is read and how one is written.
//!
//! Formats: POSIX.1-2001 "pax" (IEEE 1003.1, `pax`), ustar, and the GNU extensions described in the
//! manual of GNU tar, "Tar Internals". Everything read is hostile until proven otherwise: sizes
//! are claims, names are bytes, and no memory is set aside for a claim.

pub(crate) mod header;
pub(crate) mod pax;
pub(crate) mod reader;
pub(crate) mod sparse;
pub(crate) mod write;

use std::io;

/// The unit of a tar archive.
pub(crate) const BLOCK: usize = 512;

/// The longest extended header and the longest GNU long name that are believed.
pub(crate) const LONGEST_EXTENSION: u64 = 1 << 20;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream that the archive comes from failed.
    #[error("read the archive")]
    Read {
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// It ends within a header or within the content of a file.
    #[error("archive ends in the middle of an entry")]
    Truncated,
    /// A header block whose checksum does not fit: no tar archive, or a damaged one.
    #[error("header at byte {offset} has a wrong checksum")]
    Checksum {
        /// Where in the archive.
        offset: u64,
    },
    /// A field that is no number, or one outside of what the field may hold.
    #[error("header at byte {offset} has an invalid {field}")]
    Number {
        /// Where in the archive.
        offset: u64,
        /// Which field.
        field: &'static str,
    },
    /// An extended header that does not follow its grammar.
    #[error("extended header at byte {offset} is malformed: {problem}")]
    Extended {
        /// Where in the archive.
        offset: u64,
        /// What is wrong, as a fragment.
        problem: &'static str,
    },
    /// A map of a sparse file that contradicts itself or the sizes.
    #[error("sparse file at byte {offset}: {problem}")]
    Sparse {
        /// Where in the archive.
        offset: u64,
        /// What is wrong, as a fragment.
        problem: &'static str,
    },
}

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A file with content.
    File,
    /// Another name of an earlier file.
    HardLink {
        /// The earlier name.
        target: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// Its text, any bytes but zero.
        target: Vec<u8>,
    },
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A type that makes no file: volume labels, GNU dumps, unknown letters.
    Ignored,
}

/// Seconds and nanoseconds since 1970; the nanoseconds always count upward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    /// May be negative.
    pub(crate) seconds: i64,
    /// 0..1_000_000_000
    pub(crate) nanoseconds: u32,
}

impl From<mica_model::Timestamp> for Time {
    fn from(time: mica_model::Timestamp) -> Self {
        let nanoseconds = time.nanoseconds();
        Self {
            seconds: nanoseconds.div_euclid(1_000_000_000),
            nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0),
        }
    }
}

/// Everything about a file but its name, type and content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Metadata {
    /// Permission, set-id and sticky bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Time of last modification.
    pub(crate) mtime: Time,
    /// Extended attributes in the order of the archive.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One entry, all extensions applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Name as in the archive: any bytes, not checked.
    pub(crate) name: Vec<u8>,
    /// What it makes.
    pub(crate) kind: EntryKind,
    /// Its metadata.
    pub(crate) metadata: Metadata,
    /// Bytes of content in the archive.
    pub(crate) stored: u64,
    /// Size of the file and where the stored bytes belong, for a sparse file.
    pub(crate) sparse: Option<SparseMap>,
}

/// Where the stored bytes of a sparse file belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    /// Size of the whole file.
    pub(crate) real_size: u64,
    /// Offset and length of each stored piece, ascending, within `real_size`.
    pub(crate) pieces: Vec<(u64, u64)>,
}
