//! Making files from the entries of an archive.

pub(crate) mod name;
pub(crate) mod place;

use crate::error::{Error, Result, path_of};
use crate::node;
use crate::recipe::Displaced;
use crate::tar::reader::{Keep, Reader, Tap};
use crate::tar::{Entry, EntryKind, Metadata, TarError, Time};
use name::Meaning;
use place::{Flavor, Missing, Place};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

/// The longest path that a recipe refers to; content of files with longer ones is kept in it.
const LONGEST_REFERENCE: usize = 60_000;
/// A run of zeros of at least this many bytes becomes a hole.
const SHORTEST_HOLE: usize = 32 << 10;

/// How entries are to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnpackOptions {
    /// What the tree is.
    pub(crate) flavor: Flavor,
    /// Refuse to replace a directory by something else and the other way round.
    pub(crate) keep_kinds: bool,
    /// Give all files to this user and group.
    pub(crate) owner: Option<(u32, u32)>,
}

/// A hard link whose target is not in the archive.
pub(crate) type LinkDebt = (Vec<CString>, Vec<CString>);

/// Makes files; see the module.
pub(crate) struct Unpacker {
    options: UnpackOptions,
    /// Where entries go, below this path of the root.
    base: Vec<CString>,
    pub(crate) place: Place,
    /// Where replaced files go, for a layer.
    displaced_directory: Option<OwnedFd>,
    pub(crate) displaced: Vec<Displaced>,
    pub(crate) links: Vec<LinkDebt>,
    directory_times: BTreeMap<Vec<u8>, Time>,
    pieces: u64,
    /// How many entries were made.
    pub(crate) entries: u64,
    /// Bytes of content of regular files.
    pub(crate) bytes: u64,
}

impl Unpacker {
    /// Entries go below `base` in `root`. A layer needs a `displaced` directory.
    pub(crate) const fn new(
        root: OwnedFd,
        base: Vec<CString>,
        displaced: Option<OwnedFd>,
        options: UnpackOptions,
    ) -> Self {
        Self {
            place: Place::new(root, options.flavor),
            options,
            base,
            displaced_directory: displaced,
            displaced: Vec::new(),
            links: Vec::new(),
            directory_times: BTreeMap::new(),
            pieces: 0,
            entries: 0,
            bytes: 0,
        }
    }

    /// Makes all entries of the archive, then sets the times of the directories.
    pub(crate) fn unpack<S: BufRead, T: Tap>(&mut self, reader: &mut Reader<S, T>) -> Result<()> {
        while let Some(entry) = reader.next_entry()? {
            if entry.kind != EntryKind::Ignored {
                self.apply(reader, entry)?;
            }
        }
        let times = std::mem::take(&mut self.directory_times);
        for (path, time) in times {
            let components = if path.is_empty() { Vec::new() } else { name::components(&path)? };
            if self.place.enter(&components, Missing::Report)? {
                rustix::fs::utimensat(self.place.directory(), ".", &node::timestamps(time), AtFlags::empty())
                    .map_err(Error::io("set the time of", &path))?;
            }
        }
        Ok(())
    }

    fn apply<S: BufRead, T: Tap>(&mut self, reader: &mut Reader<S, T>, mut entry: Entry) -> Result<()> {
        let components = name::limited_components(&entry.name)?;
        self.pieces = reader.tap_mut().pieces();
        if let Some((uid, gid)) = self.options.owner {
            (entry.metadata.uid, entry.metadata.gid) = (uid, gid);
        }
        let meaning = match self.options.flavor {
            Flavor::Layer => name::meaning(&components)?,
            Flavor::Plain => Meaning::Ordinary,
        };
        let Some((last, parents)) = components.split_last() else {
            return self.apply_to_root(&entry);
        };
        let parents = [&self.base[..], parents].concat();
        match meaning {
            Meaning::Bookkeeping => return Ok(()),
            Meaning::Opaque => {
                self.place.enter(&parents, Missing::Make)?;
                return self.mark_opaque();
            }
            Meaning::Whiteout(hidden) => {
                self.place.enter(&parents, Missing::Make)?;
                return self.white_out(&hidden);
            }
            Meaning::Ordinary => {}
        }
        let is_whiteout = matches!(entry.kind, EntryKind::CharDevice { major: 0, minor: 0 });
        if self.options.flavor == Flavor::Layer && is_whiteout {
            return Ok(());
        }
        self.entries += 1;
        self.place.enter(&parents, Missing::Make)?;
        match &entry.kind {
            EntryKind::Directory => self.make_directory(last, &entry),
            EntryKind::HardLink { target } => {
                let target = name::limited_components(target)?;
                self.make_link(last, &target)
            }
            EntryKind::File => self.make_file(last, &entry, reader),
            _ => self.make_special(last, &entry),
        }
    }

    /// The entry `./`: a layer says what its root is like; `docker cp` leaves the directory alone.
    fn apply_to_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != EntryKind::Directory {
            return Err(name::refused(&entry.name, "replaces the root"));
        }
        if self.options.flavor == Flavor::Layer {
            self.place.enter(&[], Missing::Report)?;
            node::apply_metadata(self.place.root(), c".", &entry.metadata, false)?;
            self.directory_times.insert(Vec::new(), entry.metadata.mtime);
        }
        Ok(())
    }

    fn mark_opaque(&mut self) -> Result<()> {
        let path = name::join(self.place.names());
        // The lower directory is hidden, but its owner and mode are still what an implied one gets.
        node::set_xattr(self.place.directory(), c".", node::OPAQUE, b"y")
            .map_err(Error::io("mark as opaque", &path))
    }

    /// Whiteouts concern lower layers only, so what this layer has of that name stays.
    fn white_out(&mut self, hidden: &CString) -> Result<()> {
        let path = self.place.path_of(hidden);
        let directory = self.place.directory();
        match node::stat(directory, hidden).map_err(Error::io("examine", &path))? {
            None => rustix::fs::mknodat(directory, hidden, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(Error::io("make whiteout", &path)),
            Some(stat) if node::file_type(&stat) == FileType::Directory => {
                node::set_xattr(directory, hidden, node::OPAQUE, b"y")
                    .map_err(Error::io("mark as opaque", &path))?;
                self.place.implied.remove(&path);
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    fn make_directory(&mut self, name: &CString, entry: &Entry) -> Result<()> {
        let path = self.place.path_of(name);
        let cleared = self.clear(name, &path, &entry.kind)?;
        let directory = self.place.directory();
        if cleared != Cleared::KeptDirectory {
            rustix::fs::mkdirat(directory, name, Mode::RWXU).map_err(Error::io("make directory", &path))?;
        }
        if cleared == Cleared::Whiteout {
            node::set_xattr(directory, name, node::OPAQUE, b"y")
                .map_err(Error::io("mark as opaque", &path))?;
        }
        node::apply_metadata(directory, name, &entry.metadata, false)?;
        self.place.implied.remove(&path);
        self.directory_times.insert(path, entry.metadata.mtime);
        Ok(())
    }

    fn make_file<S: BufRead, T: Tap>(
        &mut self,
        name: &CString,
        entry: &Entry,
        reader: &mut Reader<S, T>,
    ) -> Result<()> {
        let path = self.place.path_of(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = self.first_mode(&entry.metadata);
        let open = |place: &Place| rustix::fs::openat(place.directory(), name, flags, mode);
        // Almost never is anything in the way, so that is not asked first.
        let file = match open(&self.place) {
            Err(Errno::EXIST) => {
                self.clear(name, &path, &entry.kind)?;
                open(&self.place)
            }
            other => other,
        };
        let file = file.map_err(Error::io("make", &path))?;
        let error = |action| Error::io::<Errno>(action, &path);
        let whole = [(0, entry.stored)];
        let (size, pieces) =
            entry.sparse.as_ref().map_or((entry.stored, &whole[..]), |map| (map.real_size, &map.pieces));
        let mut end = 0;
        for piece in pieces {
            end = copy_piece(reader, &file, &path, *piece)?.max(end);
        }
        // Holes are not written, so one at the end must be claimed.
        if end < size {
            rustix::fs::ftruncate(&file, size).map_err(error("extend"))?;
        }
        self.bytes += size;
        node::finish_file(&file, &path, &entry.metadata)
    }

    /// The permissions that a file is made with. What is made in a layer, nobody can look at yet, so that mostly they
    /// need no change; a tree that is in use shows nothing to others before the owner is right.
    fn first_mode(&self, metadata: &Metadata) -> Mode {
        match self.options.flavor {
            Flavor::Layer => Mode::from_raw_mode(metadata.mode & 0o777),
            Flavor::Plain => Mode::RUSR | Mode::WUSR,
        }
    }

    fn make_special(&mut self, name: &CString, entry: &Entry) -> Result<()> {
        let path = self.place.path_of(name);
        let (file_type, device) = match &entry.kind {
            EntryKind::CharDevice { major, minor } => (FileType::CharacterDevice, Some((*major, *minor))),
            EntryKind::BlockDevice { major, minor } => (FileType::BlockDevice, Some((*major, *minor))),
            EntryKind::Fifo => (FileType::Fifo, None),
            _ => (FileType::Symlink, None),
        };
        // Linux has 12 bits for the major and 20 for the minor number; more would be cut off and
        // name another device.
        if device.is_some_and(|(major, minor)| major > 0xfff || minor > 0xf_ffff) {
            return Err(Error::Entry {
                path: path_of(&path),
                problem: "has a device number that does not exist",
            });
        }
        self.clear(name, &path, &entry.kind)?;
        let directory = self.place.directory();
        if let EntryKind::Symlink { target } = &entry.kind {
            rustix::fs::symlinkat(&target[..], directory, name).map_err(Error::io("make link", &path))?;
        } else {
            let device = device.map_or(0, |(major, minor)| rustix::fs::makedev(major, minor));
            rustix::fs::mknodat(directory, name, file_type, Mode::RUSR | Mode::WUSR, device)
                .map_err(Error::io("make node", &path))?;
        }
        node::apply_metadata(directory, name, &entry.metadata, file_type == FileType::Symlink)
    }

    fn make_link(&mut self, name: &CString, target: &[CString]) -> Result<()> {
        let path = self.place.path_of(name);
        let parents = self.place.names().to_vec();
        let target = [&self.base[..], target].concat();
        let missing = || Error::LinkTarget { path: path_of(&path), target: path_of(&name::join(&target)) };
        let (target_name, target_parents) = target.split_last().ok_or_else(missing)?;
        let is_there = self.place.enter(target_parents, Missing::Report)?;
        let found = if is_there {
            let target_path = self.place.path_of(target_name);
            if target_path == path {
                return Err(missing());
            }
            node::stat(self.place.directory(), target_name).map_err(Error::io("examine", &target_path))?
        } else {
            None
        };
        let from = self.place.directory().try_clone_to_owned().map_err(Error::io("open", &path))?;
        self.place.enter(&parents, Missing::Make)?;
        let Some(stat) = found else {
            if self.options.flavor == Flavor::Plain {
                return Err(missing());
            }
            self.clear(name, &path, &EntryKind::File)?;
            self.links.push(([&parents[..], std::slice::from_ref(name)].concat(), target));
            return Ok(());
        };
        if node::file_type(&stat) == FileType::Directory || node::is_whiteout(&stat) {
            return Err(missing());
        }
        let existing = node::stat(self.place.directory(), name).map_err(Error::io("examine", &path))?;
        if existing.is_some_and(|old| (old.st_dev, old.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        self.clear(name, &path, &EntryKind::File)?;
        rustix::fs::linkat(&from, target_name, self.place.directory(), name, AtFlags::empty())
            .map_err(Error::io("link", &path))
    }

    /// Makes room for an entry: the last one of a name is the one that counts.
    fn clear(&mut self, name: &CString, path: &[u8], kind: &EntryKind) -> Result<Cleared> {
        let directory = self.place.directory();
        let Some(stat) = node::stat(directory, name).map_err(Error::io("examine", path))? else {
            return Ok(Cleared::Nothing);
        };
        let old = node::file_type(&stat);
        match (old == FileType::Directory, *kind == EntryKind::Directory) {
            (true, true) => return Ok(Cleared::KeptDirectory),
            (was, is) if was != is && self.options.keep_kinds => {
                let kind = if was { "directory" } else { "non-directory" };
                return Err(Error::Overwrite { kind, path: path_of(path) });
            }
            _ => {}
        }
        self.place.forget(path);
        let directory = self.place.directory();
        if self.options.flavor == Flavor::Layer && node::is_whiteout(&stat) {
            rustix::fs::unlinkat(directory, name, AtFlags::empty()).map_err(Error::io("remove", path))?;
            return Ok(Cleared::Whiteout);
        }
        match &self.displaced_directory {
            // The recipe may need its content.
            Some(displaced) if matches!(old, FileType::Directory | FileType::RegularFile) => {
                let number = self.displaced.len().to_string();
                rustix::fs::renameat(directory, name, displaced.as_fd(), &number[..])
                    .map_err(Error::io("set aside", path))?;
                self.displaced.push(Displaced { path: path.to_vec(), before: self.pieces, name: number });
            }
            _ => crate::remove::remove_at(directory, name)?,
        }
        if old == FileType::Directory {
            let below = [path, b"/"].concat();
            self.links.retain(|(link, _)| !name::join(link).starts_with(&below));
            self.directory_times.retain(|known, _| known != path && !known.starts_with(&below));
        }
        Ok(Cleared::Something)
    }
}

/// What was in the way of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cleared {
    Nothing,
    /// A directory that the new one is merged with.
    KeptDirectory,
    /// The mark that this layer hides the lower file of that name.
    Whiteout,
    Something,
}

/// Answers where the last byte that was written is, plus one.
fn copy_piece<S: BufRead, T: Tap>(
    reader: &mut Reader<S, T>,
    file: &OwnedFd,
    path: &[u8],
    (start, length): (u64, u64),
) -> Result<u64> {
    let keep = if path.len() > LONGEST_REFERENCE { Keep::Literal } else { Keep::Elsewhere };
    let (mut position, mut end) = (start, 0);
    reader.copy_some(length, keep, &mut |chunk: &[u8]| {
        if chunk.len() < SHORTEST_HOLE || chunk.iter().any(|&byte| byte != 0) {
            write_all_at(file, chunk, position).map_err(Error::io("write", path))?;
            end = position + chunk.len() as u64;
        }
        position += chunk.len() as u64;
        Ok::<(), Error>(())
    })?;
    if keep == Keep::Elsewhere && length > 0 {
        let broken = |source| Error::Tar { source: TarError::Read { source } };
        reader.tap_mut().piece(path, start, length).map_err(broken)?;
    }
    Ok(end)
}

fn write_all_at(file: &OwnedFd, mut bytes: &[u8], mut position: u64) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, position) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                bytes = &bytes[written..];
                position += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
