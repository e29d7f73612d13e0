//! Writes a tree of this host as a tar archive.

use crate::command::container::cp::place::Kind;
use crate::report::plain;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What is to be packed.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// What it is.
    pub(super) kind: Kind,
}

/// Why it could not be packed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {}", path.display(), plain(source))]
pub(super) struct PackError {
    path: PathBuf,
    source: io::Error,
}

impl PackError {
    /// Whether the reader of the archive has gone.
    pub(super) fn is_broken_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

impl Source {
    /// Looks at what is to be packed; a link at the end of the path is itself packed, unless it
    /// is to be followed or the path says that a directory is meant.
    pub(super) fn open(path: &str, follows_link: impl Into<LinkChoice>) -> io::Result<Self> {
        let is_directory_meant = path.ends_with('/') || path.ends_with("/.");
        let follows = follows_link.into() == LinkChoice::Follow || is_directory_meant;
        let found = if follows { fs::metadata(path)? } else { fs::symlink_metadata(path)? };
        let path = if follows { fs::canonicalize(path)? } else { PathBuf::from(path) };
        Ok(Self { path, kind: kind(&found) })
    }
}

/// What to do with a symbolic link at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkChoice {
    /// Take what it points to.
    Follow,
    /// Take the link.
    Keep,
}

impl From<bool> for LinkChoice {
    fn from(follows: bool) -> Self {
        if follows { Self::Follow } else { Self::Keep }
    }
}

/// Writes `source` under `name`; its contents alone where `name` is empty.
pub(super) fn pack(source: &Source, name: &Path, out: impl Write) -> Result<(), PackError> {
    let mut builder = tar::Builder::new(out);
    builder.follow_symlinks(false);
    builder.mode(tar::HeaderMode::Complete);
    let root = if name.as_os_str().is_empty() { Path::new(".") } else { name };
    append(&mut builder, &source.path, root)?;
    let finish = |source| PackError { path: PathBuf::from("the archive"), source };
    builder.into_inner().and_then(|mut out| out.flush()).map_err(finish)
}

fn append<W: Write>(builder: &mut tar::Builder<W>, path: &Path, name: &Path) -> Result<(), PackError> {
    let failure = |source| PackError { path: path.to_owned(), source };
    let found = fs::symlink_metadata(path).map_err(failure)?;
    let file_type = found.file_type();
    if file_type.is_dir() {
        builder.append_dir(name, path).map_err(failure)?;
        let mut children: Vec<_> = fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| entry.map(|found| found.file_name())).collect())
            .map_err(failure)?;
        children.sort_unstable();
        return children.iter().try_for_each(|child| append(builder, &path.join(child), &name.join(child)));
    }
    if file_type.is_file() {
        // The name may have become a link since it was looked at.
        let mut file = open(path).map_err(failure)?;
        return builder.append_file(name, &mut file).map_err(failure);
    }
    if file_type.is_socket() {
        // A socket means nothing without the program that listens on it; docker leaves it out too.
        return Ok(());
    }
    builder.append_path_with_name(path, name).map_err(failure)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::from_ne_bytes(flags.bits().to_ne_bytes());
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn kind(found: &Metadata) -> Kind {
    if found.is_dir() {
        Kind::Directory
    } else if found.is_symlink() {
        Kind::Link
    } else {
        Kind::File
    }
}
