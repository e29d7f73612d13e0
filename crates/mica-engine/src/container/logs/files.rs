//! The files of a log: the current one, and the older ones `.1`, `.2`, … or `.1.gz`, `.2.gz`, …
//!
//! They are turned over and compressed while they are read, so a file is known by an identity that
//! a compressed one has in its header: by name it would be read twice or not at all.

use flate2::bufread::GzDecoder;
use mica_runtime::log_file_identity;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much is read at once.
const READ_LENGTH: usize = 256 << 10;

/// How often the names are looked at again when they change meanwhile.
const LOOKS_MAX: usize = 100;

/// What a file is known by, also after it was compressed.
pub(super) type Identity = String;

/// All files of one log.
#[derive(Debug)]
pub(super) struct LogFiles {
    current: PathBuf,
}

/// A file that is being read.
pub(super) struct Source {
    identity: Identity,
    content: Content,
}

enum Content {
    Plain(File),
    Compressed(Box<GzDecoder<BufReader<File>>>),
}

impl LogFiles {
    pub(super) fn new(current: PathBuf) -> Self {
        Self { current }
    }

    /// Which files there are, the oldest first.
    pub(super) fn identities(&self) -> Vec<Identity> {
        let mut before = self.look();
        for _ in 0..LOOKS_MAX {
            let now = self.look();
            if now == before {
                break;
            }
            before = now;
        }
        before
    }

    fn look(&self) -> Vec<Identity> {
        let mut identities: Vec<Identity> =
            (1..).map_while(|number| self.open_numbered(number)).map(|source| source.identity).collect();
        identities.reverse();
        identities.extend(open_plain(&self.current).map(|source| source.identity));
        identities.dedup();
        identities
    }

    /// Opens the file of that identity, whatever its name is now.
    pub(super) fn open(&self, identity: &Identity) -> Option<Source> {
        for _ in 0..LOOKS_MAX {
            let all = open_plain(&self.current).into_iter();
            let all = all.chain((1..).map_while(|number| self.open_numbered(number)));
            if let Some(found) = all.into_iter().find(|source| source.identity == *identity) {
                return Some(found);
            }
            if !self.identities().contains(identity) {
                return None;
            }
        }
        None
    }

    fn open_numbered(&self, number: u32) -> Option<Source> {
        let named = |ending: &str| {
            let mut path = self.current.clone().into_os_string();
            path.push(format!(".{number}{ending}"));
            PathBuf::from(path)
        };
        // The compressed one is there before the plain one goes.
        open_plain(&named("")).or_else(|| open_compressed(&named(".gz")))
    }
}

fn open_plain(path: &Path) -> Option<Source> {
    let file = File::open(path).ok()?;
    let identity = log_file_identity(&file).ok()?;
    Some(Source { identity, content: Content::Plain(file) })
}

fn open_compressed(path: &Path) -> Option<Source> {
    let file = File::open(path).ok()?;
    let own = log_file_identity(&file).ok()?;
    let decoder = GzDecoder::new(BufReader::with_capacity(64 << 10, file));
    let comment = decoder.header().and_then(flate2::GzHeader::comment);
    let identity = comment.and_then(|comment| String::from_utf8(comment.to_vec()).ok());
    // One that somebody else compressed has an identity of its own.
    Some(Source { identity: identity.unwrap_or(own), content: Content::Compressed(Box::new(decoder)) })
}

impl Source {
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Appends what comes next to `buffer`; answers how much it was.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>) -> usize {
        let start = buffer.len();
        buffer.resize(start + READ_LENGTH, 0);
        let read = loop {
            let read = match &mut self.content {
                Content::Plain(file) => file.read(&mut buffer[start..]),
                Content::Compressed(decoder) => decoder.read(&mut buffer[start..]),
            };
            match read {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // A damaged file ends where the damage begins.
                other => break other.unwrap_or(0),
            }
        };
        buffer.truncate(start + read);
        read
    }

    /// Whether the file is shorter now than what was read of it.
    pub(super) fn was_cut_short(&mut self) -> bool {
        match &mut self.content {
            Content::Plain(file) => {
                let place = file.stream_position().unwrap_or(0);
                file.metadata().is_ok_and(|file| file.len() < place)
            }
            Content::Compressed(_) => false,
        }
    }

    /// Goes to `length` bytes before the end; `false` when there is no such place.
    pub(super) fn go_near_end(&mut self, length: u64) -> bool {
        let Content::Plain(file) = &mut self.content else { return false };
        let Ok(whole) = file.metadata().map(|file| file.len()) else { return false };
        whole > length && file.seek(SeekFrom::Start(whole - length)).is_ok()
    }

    /// Goes back to the beginning.
    pub(super) fn rewind(&mut self) {
        if let Content::Plain(file) = &mut self.content {
            let _ = file.rewind();
        }
    }
}
