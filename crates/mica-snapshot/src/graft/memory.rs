//! Digests of files remembered by their status, so that an unchanged context is not read again.
//!
//! ```text
//! "MICAHSH1"
//! length u16  path  device u64  inode u64  size u64  mtime i64 u32  ctime i64 u32  digest 32 bytes
//! ...                               in the order in which a walk comes to the paths
//! ```
//!
//! The file is read along with the walk and written anew beside it, so that memory does not grow
//! with the number of files. It may be deleted at any time.

use crate::disk::io_at;
use crate::error::Result;
use mica_model::Digest;
use rustix::fs::Stat;
use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MAGIC: &[u8; 8] = b"MICAHSH1";

/// How old a change must be to be told from a later one by the clock of the file system.
const CLOCK_STEP: Duration = Duration::from_millis(50);

/// What was known of files, and what is known now.
#[derive(Debug)]
pub struct HashMemory {
    known: Option<BufReader<File>>,
    next: Option<Known>,
    path: PathBuf,
    fresh: BufWriter<File>,
    fresh_path: PathBuf,
    /// Whether what is known now differs from what was.
    is_changed: bool,
    /// Changes after this may be followed by others that the clock cannot tell from them.
    settled_before: (i64, i64),
}

#[derive(Debug)]
struct Known {
    path: Vec<u8>,
    identity: Identity,
    digest: Digest,
}

/// What changes when a file does.
type Identity = [u8; 48];

impl HashMemory {
    /// Opens what `path` remembers; a file that is missing or damaged remembers nothing.
    ///
    /// # Errors
    /// When the new file cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        let fresh_path = path.with_extension(crate::store::random_name()?);
        let fresh = File::create(&fresh_path).map_err(io_at("make", &fresh_path))?;
        let mut fresh = BufWriter::with_capacity(64 << 10, fresh);
        fresh.write_all(MAGIC).map_err(io_at("write", &fresh_path))?;
        let settled = SystemTime::now()
            .checked_sub(CLOCK_STEP)
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
            .unwrap_or_default();
        let mut memory = Self {
            known: known(path),
            next: None,
            path: path.to_owned(),
            fresh,
            fresh_path,
            is_changed: false,
            settled_before: (i64::try_from(settled.as_secs()).unwrap_or(0), settled.subsec_nanos().into()),
        };
        memory.advance();
        Ok(memory)
    }

    /// The digest of the file at `path` if it is as it was; paths come in the order of a walk.
    pub(super) fn recall(&mut self, path: &[u8], stat: &Stat) -> Option<Digest> {
        while let Some(known) = &self.next {
            match walk_order(&known.path, path) {
                Ordering::Less => {
                    self.is_changed = true;
                    self.advance();
                }
                Ordering::Equal => {
                    let known = self.next.take()?;
                    self.advance();
                    return (known.identity == identity(stat)).then_some(known.digest);
                }
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// Remembers a digest; `is_known` if [`Self::recall`] gave it.
    pub(super) fn remember(
        &mut self,
        path: &[u8],
        stat: &Stat,
        (digest, is_known): (&Digest, bool),
    ) -> Result<()> {
        self.is_changed |= !is_known;
        let changed = (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0));
        let Ok(length) = u16::try_from(path.len()) else { return Ok(()) };
        if changed >= self.settled_before {
            return Ok(());
        }
        let mut write = |bytes: &[u8]| self.fresh.write_all(bytes);
        write(&length.to_le_bytes())
            .and_then(|()| write(path))
            .and_then(|()| write(&identity(stat)))
            .and_then(|()| write(digest.as_bytes()))
            .map_err(io_at("write", &self.fresh_path))
    }

    /// Puts what is known now in the place of what was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(mut self) -> Result<()> {
        if self.next.is_none() && !self.is_changed {
            return Ok(());
        }
        self.fresh.flush().map_err(io_at("write", &self.fresh_path))?;
        std::fs::rename(&self.fresh_path, &self.path).map_err(io_at("write", &self.path))
    }

    fn advance(&mut self) {
        self.next = self.known.as_mut().and_then(|reader| read_one(reader).ok());
    }
}

impl Drop for HashMemory {
    fn drop(&mut self) {
        // After a save it is not there any more.
        let _ = std::fs::remove_file(&self.fresh_path);
    }
}

fn known(path: &Path) -> Option<BufReader<File>> {
    let mut reader = BufReader::with_capacity(64 << 10, File::open(path).ok()?);
    let mut magic = [0; 8];
    reader.read_exact(&mut magic).ok()?;
    (&magic == MAGIC).then_some(reader)
}

fn read_one(reader: &mut impl Read) -> io::Result<Known> {
    let mut length = [0; 2];
    reader.read_exact(&mut length)?;
    let mut path = vec![0; usize::from(u16::from_le_bytes(length))];
    reader.read_exact(&mut path)?;
    let (mut identity, mut digest) = ([0; 48], [0; 32]);
    reader.read_exact(&mut identity)?;
    reader.read_exact(&mut digest)?;
    Ok(Known { path, identity, digest: Digest::from_bytes(digest) })
}

fn identity(stat: &Stat) -> Identity {
    let mut bytes = [0; 48];
    let nanoseconds = |value| u32::try_from(value).unwrap_or(0).to_le_bytes();
    bytes[..8].copy_from_slice(&stat.st_dev.to_le_bytes());
    bytes[8..16].copy_from_slice(&stat.st_ino.to_le_bytes());
    bytes[16..24].copy_from_slice(&stat.st_size.to_le_bytes());
    bytes[24..32].copy_from_slice(&stat.st_mtime.to_le_bytes());
    bytes[32..36].copy_from_slice(&nanoseconds(stat.st_mtime_nsec));
    bytes[36..44].copy_from_slice(&stat.st_ctime.to_le_bytes());
    bytes[44..].copy_from_slice(&nanoseconds(stat.st_ctime_nsec));
    bytes
}

/// The order in which a walk comes to two paths: by their components.
fn walk_order(one: &[u8], other: &[u8]) -> Ordering {
    let components = |path| <[u8]>::split(path, |byte: &u8| *byte == b'/');
    components(one).cmp(components(other))
}
