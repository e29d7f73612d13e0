//! Unpacks an archive that a container's owner may have shaped into a directory of this host.
//!
//! Nothing in it is trusted: each path is resolved below the destination without following any
//! link, so that an archive with `a -> /etc` and then `a/passwd` ends in an error.

use crate::command::container::cp::place::Placement;
use crate::report::plain;
use rustix::fs::{
    self, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use tar::{Entry, EntryType, Header};

/// Where to unpack.
#[derive(Debug)]
pub(super) struct Target {
    directory: OwnedFd,
    name: PathBuf,
    keeps_owner: bool,
}

/// Why unpacking stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// The archive cannot be read; it may have ended early.
    #[error("cannot read the archive: {}", plain(source))]
    Archive {
        /// Why.
        source: io::Error,
    },
    /// A path that leads out of the archive's own root.
    #[error("{} in the archive leads outside of it", path.display())]
    Outside {
        /// Which.
        path: PathBuf,
    },
    /// A directory where a file is to go, or the other way round.
    #[error("cannot overwrite {} with {}: one is a directory", path.display(), "what is copied")]
    Overwrite {
        /// Which.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("cannot write {}: {}", path.display(), plain(&io::Error::from(*source)))]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// The contents of a file could not be copied.
    #[error("cannot write {}: {}", path.display(), plain(source))]
    Contents {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl UnpackError {
    /// Whether the archive ended early, for which its writer has the better reason.
    pub(super) const fn is_truncation(&self) -> bool {
        matches!(self, Self::Archive { .. } | Self::Contents { .. })
    }
}

impl Target {
    /// Opens the directory of `placement`.
    pub(super) fn open(placement: &Placement, keeps_owner: impl Into<OwnerChoice>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(&placement.directory, flags, Mode::empty())?;
        let keeps_owner = keeps_owner.into() == OwnerChoice::Archive;
        Ok(Self { directory, name: placement.name.clone(), keeps_owner })
    }
}

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerChoice {
    /// Whom the archive names.
    Archive,
    /// Whoever unpacks.
    Caller,
}

impl From<bool> for OwnerChoice {
    fn from(keeps: bool) -> Self {
        if keeps { Self::Archive } else { Self::Caller }
    }
}

/// Unpacks all of `archive`; its first entry is the root, which gets the target's name.
pub(super) fn unpack(archive: impl Read, target: Target) -> Result<(), UnpackError> {
    let mut archive = tar::Archive::new(archive);
    let mut unpacker = Unpacker { target, root: None, directories: Vec::new() };
    let broken = |source| UnpackError::Archive { source };
    for entry in archive.entries().map_err(broken)? {
        unpacker.entry(&mut entry.map_err(broken)?)?;
    }
    unpacker.finish()?;
    // What follows the end of the archive is padding; the writer must not see a closed pipe.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop).map_err(broken)
}

struct Unpacker {
    target: Target,
    /// The path of the first entry.
    root: Option<PathBuf>,
    /// Directories whose modes and times are set when nothing more is written into them.
    directories: Vec<(PathBuf, Attributes)>,
}

/// What a header says beside name and type.
#[derive(Debug, Clone, Copy)]
struct Attributes {
    mode: Mode,
    seconds: i64,
    owner: Option<(u32, u32)>,
}

impl Unpacker {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let typed = entry.path().map_err(|source| UnpackError::Archive { source })?.into_owned();
        let path = self.place(&typed)?;
        let attributes = self.attributes(entry.header())?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // The destination itself keeps its attributes: they are its owner's.
            return Ok(());
        };
        let parent = self.open_parent(&path)?;
        let failure = |source| UnpackError::Write { path: path.clone(), source };
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            make_directory(&parent, &name, &path)?;
            self.directories.push((path, attributes));
            return Ok(());
        }
        clear(&parent, &name, &path)?;
        match kind {
            EntryType::Symlink => {
                let link =
                    entry.link_name().map_err(|source| UnpackError::Archive { source })?.unwrap_or_default();
                fs::symlinkat(&*link, &parent, &name).map_err(failure)?;
                set_link_attributes(&parent, &name, attributes).map_err(failure)
            }
            EntryType::Link => {
                let link =
                    entry.link_name().map_err(|source| UnpackError::Archive { source })?.unwrap_or_default();
                self.link(&link, &parent, &name)
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                make_node(&parent, &name, entry.header(), attributes).map_err(failure)
            }
            _ => write_file(&parent, entry, &path, attributes),
        }
    }

    /// The path below the destination, with the root's name replaced.
    fn place(&mut self, typed: &Path) -> Result<PathBuf, UnpackError> {
        let path = normal(typed)?;
        let root = self.root.get_or_insert_with(|| path.clone());
        match path.strip_prefix(root) {
            Ok(rest) if rest.as_os_str().is_empty() => Ok(self.target.name.clone()),
            Ok(rest) => Ok(self.target.name.join(rest)),
            Err(_) => Err(UnpackError::Outside { path }),
        }
    }

    fn open_parent(&self, path: &Path) -> Result<OwnedFd, UnpackError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.open_beneath(parent, OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|source| UnpackError::Write { path: path.to_owned(), source })
    }

    fn open_beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        fs::openat2(&self.target.directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    fn link(&mut self, link: &Path, parent: &OwnedFd, name: &OsStr) -> Result<(), UnpackError> {
        let source_path = self.place(link)?;
        let failure = |source| UnpackError::Write { path: source_path.clone(), source };
        let Some(source_name) = source_path.file_name() else {
            return Err(UnpackError::Outside { path: link.to_owned() });
        };
        let directory = self.open_parent(&source_path)?;
        fs::linkat(&directory, source_name, parent, name, AtFlags::empty()).map_err(failure)
    }

    fn attributes(&self, header: &Header) -> Result<Attributes, UnpackError> {
        let broken = |source| UnpackError::Archive { source };
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let owner = if self.target.keeps_owner {
            Some((number(header.uid().map_err(broken)?), number(header.gid().map_err(broken)?)))
        } else {
            None
        };
        Ok(Attributes {
            mode: Mode::from_raw_mode(header.mode().map_err(broken)? & 0o7777),
            seconds: i64::try_from(header.mtime().map_err(broken)?).unwrap_or(i64::MAX),
            owner,
        })
    }

    /// Sets the attributes of directories, deepest first.
    fn finish(self) -> Result<(), UnpackError> {
        for (path, attributes) in self.directories.iter().rev() {
            let failure = |source| UnpackError::Write { path: path.clone(), source };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let directory = self.open_beneath(path, flags).map_err(failure)?;
            set_attributes(directory.as_fd(), *attributes).map_err(failure)?;
        }
        Ok(())
    }
}

/// A relative path without `.`; `..` is refused.
fn normal(path: &Path) -> Result<PathBuf, UnpackError> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => return Err(UnpackError::Outside { path: path.to_owned() }),
        }
    }
    Ok(normal)
}

fn is_directory(parent: &OwnedFd, name: &OsStr) -> Result<Option<bool>, Errno> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode) == FileType::Directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_directory(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
    match fs::mkdirat(parent, name, Mode::RWXU) {
        Err(Errno::EXIST) => match is_directory(parent, name) {
            Ok(Some(true)) => Ok(()),
            _ => Err(UnpackError::Overwrite { path: path.to_owned() }),
        },
        answer => answer.map_err(|source| UnpackError::Write { path: path.to_owned(), source }),
    }
}

/// Removes what is at `name`, if it is no directory.
fn clear(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), UnpackError> {
    let failure = |source| UnpackError::Write { path: path.to_owned(), source };
    match is_directory(parent, name).map_err(failure)? {
        None => Ok(()),
        Some(true) => Err(UnpackError::Overwrite { path: path.to_owned() }),
        Some(false) => fs::unlinkat(parent, name, AtFlags::empty()).map_err(failure),
    }
}

fn write_file(
    parent: &OwnedFd,
    entry: &mut Entry<'_, impl Read>,
    path: &Path,
    attributes: Attributes,
) -> Result<(), UnpackError> {
    let failure = |source| UnpackError::Write { path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(failure)?);
    io::copy(entry, &mut file).map_err(|source| UnpackError::Contents { path: path.to_owned(), source })?;
    set_attributes(file.as_fd(), attributes).map_err(failure)
}

fn make_node(parent: &OwnedFd, name: &OsStr, header: &Header, attributes: Attributes) -> Result<(), Errno> {
    let number = |value: io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
    let device = fs::makedev(number(header.device_major()), number(header.device_minor()));
    let kind = match header.entry_type() {
        EntryType::Char => FileType::CharacterDevice,
        EntryType::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    fs::mknodat(parent, name, kind, attributes.mode, device)?;
    set_link_attributes(parent, name, attributes)
}

/// The owner comes first: changing it clears the set-user-ID bit.
fn set_attributes(file: BorrowedFd<'_>, attributes: Attributes) -> Result<(), Errno> {
    if let Some((user, group)) = attributes.owner {
        fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    fs::fchmod(file, attributes.mode)?;
    fs::futimens(file, &times(attributes))
}

/// What can be set without opening: owner and times.
fn set_link_attributes(parent: &OwnedFd, name: &OsStr, attributes: Attributes) -> Result<(), Errno> {
    if let Some((user, group)) = attributes.owner {
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        fs::chownat(parent, name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    fs::utimensat(parent, name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(attributes: Attributes) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: attributes.seconds, tv_nsec: 0 },
    }
}
