//! Copying sources into a tree.

use super::digest::open;
use super::fill::{Fill, Filler};
use super::visit::{Visited, visit};
use super::{Filter, ModeChange, Source};
use crate::error::{Error, Result, path_of};
use crate::node;
use crate::remove::remove_at;
use crate::tar::{EntryKind, Metadata, Time};
use crate::unpack::name::components;
use crate::unpack::place::{Flavor, Missing, Place};
use mica_model::Timestamp;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::Scope;

/// How nodes change on their way.
#[derive(Debug, Clone, Default)]
pub struct GraftOptions {
    /// The user and group that get everything; without it owners stay, or are root's where
    /// `keep_owners` is off.
    pub owner: Option<(u32, u32)>,
    /// Whether owners mean something in the source: they do in an image, not in a build context.
    pub keep_owners: bool,
    /// What becomes of the permissions.
    pub mode: Option<ModeChange>,
    /// Whether a directory that was named gives its permissions and owner to a new one. If not, what is in it
    /// goes into one like those above it.
    pub keep_top: bool,
    /// When everything is said to have been changed last; without it, when it really was.
    pub time: Option<Timestamp>,
}

/// Where sources go.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The tree.
    pub root: BorrowedFd<'a>,
    /// A path in it; links are followed within the tree.
    pub path: &'a [u8],
    /// Whether the path names the directory that the sources go into, rather than the new name of
    /// the only one.
    pub is_directory: bool,
}

/// Copies what `filter` leaves of `source`: of a directory what is in it, of anything else itself.
/// What is in the way is replaced, except for directories.
///
/// # Errors
/// [`Error::Overwrite`], [`Error::NotDirectory`], and what reading and writing gives.
pub fn graft(
    source: &Source,
    filter: Filter<'_>,
    destination: &Destination<'_>,
    options: &GraftOptions,
) -> Result<()> {
    std::thread::scope(|scope| {
        let mut copy = Copy::new(destination, options, scope)?;
        let into = copy.target(source, destination)?;
        visit(source, filter, &mut |visited| {
            if visited.below.is_empty() && visited.is_directory() {
                return copy.enter_top(visited, &into);
            }
            let below = if visited.below.is_empty() { Vec::new() } else { components(visited.below)? };
            let path = [&into[..], &below[..]].concat();
            copy.node(visited, &path)
        })?;
        copy.finish()
    })
}

/// Makes a directory and those above it. Tells whether anything was missing.
///
/// # Errors
/// [`Error::NotDirectory`], and what making it gives.
pub fn make_directory(destination: &Destination<'_>, options: &GraftOptions) -> Result<bool> {
    std::thread::scope(|scope| {
        let mut copy = Copy::new(destination, options, scope)?;
        let path = plain_components(destination.path)?;
        if copy.place.enter(&path, Missing::Report)? {
            return Ok(false);
        }
        copy.make_parents(&path)?;
        copy.finish()?;
        Ok(true)
    })
}

/// The components of a path as an instruction has it: `..` never leads out.
fn plain_components(path: &[u8]) -> Result<Vec<CString>> {
    let parts = super::cleaned(path).join(&b'/');
    if parts.is_empty() { Ok(Vec::new()) } else { components(&parts) }
}

struct Copy<'scope, 'env> {
    place: Place,
    options: &'env GraftOptions,
    filler: Filler<'scope, 'env>,
    /// First names of files that have several.
    links: HashMap<(u64, u64), Vec<CString>>,
    /// Times of directories, set when nothing changes in them any more.
    times: BTreeMap<Vec<CString>, Time>,
}

impl<'scope, 'env> Copy<'scope, 'env> {
    fn new(
        destination: &Destination<'_>,
        options: &'env GraftOptions,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Self> {
        let root = node::open_directory(destination.root, c".").map_err(Error::io("open", b"/"))?;
        let place = Place::new(root, Flavor::Plain);
        let filler = Filler::new(scope);
        Ok(Self { place, options, filler, links: HashMap::new(), times: BTreeMap::new() })
    }

    /// Where a source goes: its name in the directory, or the name given.
    fn target(&mut self, source: &Source, destination: &Destination<'_>) -> Result<Vec<CString>> {
        let mut path = plain_components(destination.path)?;
        let is_directory = destination.is_directory || source.is_directory() || self.is_directory(&path)?;
        if !is_directory {
            if let Some((_, parents)) = path.split_last() {
                self.make_parents(parents)?;
            }
            return Ok(path);
        }
        self.make_parents(&path)?;
        if !source.is_directory() {
            let name =
                CString::new(source.asked()).map_err(|_| Error::io("copy", source.path())(Errno::INVAL))?;
            path.push(name);
        }
        Ok(path)
    }

    fn is_directory(&mut self, path: &[CString]) -> Result<bool> {
        match self.place.enter(path, Missing::Report) {
            Err(Error::NotDirectory { .. }) => Ok(false),
            other => other,
        }
    }

    /// Makes what is missing of a directory's path, for the owner that everything gets.
    fn make_parents(&mut self, path: &[CString]) -> Result<()> {
        for depth in 1..=path.len() {
            if self.place.enter(&path[..depth], Missing::Report)? {
                continue;
            }
            self.place.enter(&path[..depth], Missing::Make)?;
            let (uid, gid) = self.options.owner.unwrap_or_default();
            let mtime = self.options.time.map_or_else(now, Time::from);
            let metadata = Metadata { mode: 0o755, uid, gid, mtime, ..Metadata::default() };
            node::apply_metadata(self.place.directory(), c".", &metadata, false)?;
            self.times.insert(self.place.names().to_vec(), mtime);
        }
        Ok(())
    }

    /// The directory itself that was named.
    fn enter_top(&mut self, visited: &Visited<'_>, into: &[CString]) -> Result<()> {
        self.place.enter(into, Missing::Make)?;
        if self.options.keep_top && self.times.contains_key(self.place.names()) {
            let Some((_, metadata)) = self.describe(visited, None)? else { return Ok(()) };
            node::apply_metadata(self.place.directory(), c".", &metadata, false)?;
            self.times.insert(self.place.names().to_vec(), metadata.mtime);
        }
        Ok(())
    }

    /// What a node is to be; of a regular file by its descriptor.
    fn describe(
        &self,
        visited: &Visited<'_>,
        file: Option<&OwnedFd>,
    ) -> Result<Option<(EntryKind, Metadata)>> {
        let described = match file {
            Some(file) => node::xattrs_of(file.as_fd())
                .map(|xattrs| Some((EntryKind::File, node::metadata(visited.stat, xattrs)))),
            None => node::describe(visited.parent, visited.name, visited.stat),
        };
        let Some((kind, mut metadata)) = described.map_err(Error::io("examine", visited.below))? else {
            return Ok(None);
        };
        match self.options.owner {
            Some((uid, gid)) => (metadata.uid, metadata.gid) = (uid, gid),
            None if !self.options.keep_owners => (metadata.uid, metadata.gid) = (0, 0),
            None => {}
        }
        if let Some(change) = &self.options.mode {
            metadata.mode = change.apply(metadata.mode, kind == EntryKind::Directory);
        }
        if let Some(time) = self.options.time {
            metadata.mtime = time.into();
        }
        Ok(Some((kind, metadata)))
    }

    fn node(&mut self, visited: &Visited<'_>, path: &[CString]) -> Result<()> {
        let from = match node::file_type(visited.stat) {
            FileType::RegularFile => Some(open(visited)?),
            _ => None,
        };
        let Some((kind, metadata)) = self.describe(visited, from.as_ref())? else { return Ok(()) };
        let Some((name, parents)) = path.split_last() else { return Ok(()) };
        self.place.enter(parents, Missing::Make)?;
        if kind == EntryKind::Directory {
            return self.directory(name, &metadata);
        }
        let shown = self.place.path_of(name);
        if visited.stat.st_nlink > 1 {
            let identity = (visited.stat.st_dev, visited.stat.st_ino);
            let here = [self.place.names(), std::slice::from_ref(name)].concat();
            if let Some(first) = self.links.get(&identity).cloned() {
                return self.link(&first, (name, parents));
            }
            self.links.insert(identity, here);
        }
        let directory = self.place.directory();
        let is_symlink = matches!(kind, EntryKind::Symlink { .. });
        // Almost never is anything in the way, so that is not asked first.
        let made = match make(directory, name, &kind) {
            Err(Errno::EXIST) => {
                clear(directory, name, &shown)?;
                make(directory, name, &kind)
            }
            other => other,
        };
        let (Some(file), Some(from)) = (made.map_err(Error::io("make", &shown))?, from) else {
            return node::apply_metadata(directory, name, &metadata, is_symlink);
        };
        let to = file.into();
        self.filler.take(Fill { from: from.into(), to, stat: *visited.stat, metadata, shown })
    }

    /// A directory that is there keeps what is in it and gets the permissions of the copied one.
    fn directory(&mut self, name: &CString, metadata: &Metadata) -> Result<()> {
        let shown = self.place.path_of(name);
        let parents = self.place.names().to_vec();
        let mut path = [&parents[..], std::slice::from_ref(name)].concat();
        match rustix::fs::mkdirat(self.place.directory(), name, Mode::RWXU) {
            Ok(()) => {}
            // A link to a directory is as good as one.
            Err(Errno::EXIST) if self.is_directory(&path)? => path = self.place.names().to_vec(),
            Err(Errno::EXIST) => {
                let kind = "non-directory";
                return Err(Error::Overwrite { kind, path: path_of(&shown) });
            }
            Err(other) => return Err(Error::io("make directory", &shown)(other)),
        }
        self.place.enter(&path, Missing::Report)?;
        node::apply_metadata(self.place.directory(), c".", metadata, false)?;
        self.times.insert(path, metadata.mtime);
        Ok(())
    }

    fn link(&mut self, first: &[CString], (name, parents): (&CString, &[CString])) -> Result<()> {
        let shown = self.place.path_of(name);
        let Some((first_name, first_parents)) = first.split_last() else { return Ok(()) };
        self.place.enter(first_parents, Missing::Report)?;
        let from = self.place.directory().try_clone_to_owned().map_err(Error::io("open", &shown))?;
        self.place.enter(parents, Missing::Make)?;
        let link = || rustix::fs::linkat(&from, first_name, self.place.directory(), name, AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                clear(self.place.directory(), name, &shown)?;
                link().map_err(Error::io("link", &shown))
            }
            other => other.map_err(Error::io("link", &shown)),
        }
    }

    /// Waits for the contents and sets the times of directories, the deepest first.
    fn finish(mut self) -> Result<()> {
        self.filler.finish()?;
        for (path, time) in std::mem::take(&mut self.times).into_iter().rev() {
            if self.place.enter(&path, Missing::Report)? {
                rustix::fs::utimensat(self.place.directory(), ".", &node::timestamps(time), AtFlags::empty())
                    .map_err(Error::io("set the time of", b"a directory"))?;
            }
        }
        Ok(())
    }
}

/// Makes an empty node; of a regular file the descriptor.
pub(super) fn make(
    directory: BorrowedFd<'_>,
    name: &CString,
    kind: &EntryKind,
) -> rustix::io::Result<Option<OwnedFd>> {
    let mode = Mode::RUSR | Mode::WUSR;
    let device = |kind, (major, minor)| {
        rustix::fs::mknodat(directory, name, kind, mode, rustix::fs::makedev(major, minor)).map(|()| None)
    };
    match kind {
        EntryKind::Symlink { target } => rustix::fs::symlinkat(&target[..], directory, name).map(|()| None),
        EntryKind::CharDevice { major, minor } => device(FileType::CharacterDevice, (*major, *minor)),
        EntryKind::BlockDevice { major, minor } => device(FileType::BlockDevice, (*major, *minor)),
        EntryKind::Fifo => device(FileType::Fifo, (0, 0)),
        _ => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, mode).map(Some)
        }
    }
}

/// Takes away what is in the way of something that is no directory.
fn clear(directory: BorrowedFd<'_>, name: &CString, shown: &[u8]) -> Result<()> {
    match node::stat(directory, name).map_err(Error::io("examine", shown))? {
        Some(stat) if node::file_type(&stat) == FileType::Directory => {
            Err(Error::Overwrite { kind: "directory", path: path_of(shown) })
        }
        Some(_) => remove_at(directory, name),
        None => Ok(()),
    }
}

fn now() -> Time {
    Timestamp::from(std::time::SystemTime::now()).into()
}

/// Takes a node away that has nothing in it: an empty file or directory. Anything else stays.
///
/// # Errors
/// What the kernel says, but not that there is nothing.
pub fn remove_empty(root: BorrowedFd<'_>, path: &[u8]) -> Result<()> {
    let all = |_: &super::SourcePath<'_>| super::Verdict::Take;
    let literal: Vec<u8> = path
        .iter()
        .flat_map(|&byte| match byte {
            b'*' | b'?' | b'[' | b'\\' => vec![b'\\', byte],
            byte => vec![byte],
        })
        .collect();
    let found = match super::find(root, &literal, &all) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let Some(source) = found.first().filter(|source| !source.path.is_empty()) else { return Ok(()) };
    let flags = match node::file_type(&source.stat) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if source.stat.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    match rustix::fs::unlinkat(&source.parent, &source.name, flags) {
        Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => Ok(()),
        Err(other) => Err(Error::io("remove", path)(other)),
    }
}
