//! Writing trees as archives, always in the order of the bytes of the names, so that the same tree
//! gives the same archive.

use crate::error::{Error, Result};
use crate::node;
use crate::tar::write::{encode, padding};
use crate::tar::{BLOCK, Entry, EntryKind, Metadata};
use crate::walk::{Visit, Walk};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where an archive goes.
pub(crate) trait Sink {
    /// Bytes that only the archive has.
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Exactly `size` bytes of content of the file at `path` of the tree.
    fn content(&mut self, path: &[u8], file: OwnedFd, size: u64) -> io::Result<()>;
}

/// Everything goes to a writer.
pub(crate) struct Plain<W>(pub(crate) W);

impl<W: Write> Sink for Plain<W> {
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn content(&mut self, _path: &[u8], file: OwnedFd, size: u64) -> io::Result<()> {
        each_piece(&file, size, |piece| self.0.write_all(piece))
    }
}

/// Calls `take` with exactly `size` bytes: a file that shrank meanwhile is filled up with zeros,
/// one that grew is cut off, because its header is written already.
fn each_piece(file: &OwnedFd, size: u64, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 256 << 10)];
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let length = match rustix::io::read(file, &mut buffer[..wanted]) {
            Ok(0) => {
                buffer[..wanted].fill(0);
                wanted
            }
            Ok(length) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        take(&buffer[..length])?;
        left -= length as u64;
    }
    Ok(())
}

/// Whether overlayfs' marks become those of layer archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// As they are.
    Ordinary,
    /// `char 0:0` and opaque directories become `.wh.` entries.
    Whiteouts,
}

/// Writes nodes to a sink, with hard links among them.
pub(crate) struct Packer<S> {
    pub(crate) sink: S,
    marks: Marks,
    cleans: bool,
    names: HashMap<(u64, u64), Vec<u8>>,
    /// How many entries were written, whiteouts not counted.
    pub(crate) entries: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
}

impl<S: Sink> Packer<S> {
    pub(crate) fn new(sink: S, marks: Marks) -> Self {
        Self { sink, marks, cleans: false, names: HashMap::new(), entries: 0, bytes: 0 }
    }

    /// Has overlayfs' notes taken off the files that are written.
    pub(crate) fn cleaning(self) -> Self {
        Self { cleans: true, ..self }
    }

    /// Writes the tree below `root`, each name after `prefix`.
    pub(crate) fn tree(&mut self, root: BorrowedFd<'_>, prefix: &[u8]) -> Result<()> {
        let device = rustix::fs::fstat(root).map_err(Error::io("examine", prefix))?.st_dev;
        let mut walk = Walk::new(root)?;
        while let Some(visit) = walk.step()? {
            let Visit::Node { name, stat } = visit else { continue };
            let shown = [prefix, walk.path()].concat();
            let is_directory = node::file_type(&stat) == FileType::Directory;
            if !self.node(walk.directory(), (&name, &stat), &shown)? {
                continue;
            }
            let is_foreign = stat.st_dev != device;
            if is_directory && !(is_foreign && is_kernel_view(walk.directory(), &name)) {
                walk.descend(&name)?;
                self.opaque_mark(&walk, &shown)?;
            }
        }
        Ok(())
    }

    /// Writes one node under the name `shown`. False if it vanished or cannot be in an archive.
    pub(crate) fn node(
        &mut self,
        parent: BorrowedFd<'_>,
        (name, stat): (&CStr, &Stat),
        shown: &[u8],
    ) -> Result<bool> {
        if self.marks == Marks::Whiteouts && node::is_whiteout(stat) {
            return self.whiteout(shown, stat).map(|()| false);
        }
        if node::file_type(stat) == FileType::RegularFile && !self.is_further_name(stat) {
            return self.file(parent, name, shown);
        }
        let described = match node::describe(parent, name, stat) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.map_err(Error::io("examine", shown))?,
        };
        let Some((mut kind, metadata)) = described else { return Ok(false) };
        let mut shown = shown.to_vec();
        let is_directory = kind == EntryKind::Directory;
        if !is_directory && let Some(first) = self.first_name(stat, &shown) {
            kind = EntryKind::HardLink { target: first };
        }
        if is_directory && !shown.ends_with(b"/") {
            shown.push(b'/');
        }
        self.header(&Entry { name: shown, kind, metadata, stored: 0, sparse: None })?;
        self.entries += 1;
        Ok(true)
    }

    /// Marks the end of the archive and gives the sink back.
    pub(crate) fn finish(mut self) -> Result<S> {
        self.sink.literal(&[0; BLOCK * 2]).map_err(Error::io("write", b"the archive"))?;
        Ok(self.sink)
    }

    /// Whether a node was written under another name.
    fn is_further_name(&self, stat: &Stat) -> bool {
        stat.st_nlink > 1 && self.names.contains_key(&(stat.st_dev, stat.st_ino))
    }

    /// The name under which a node was written; if it was not, it is now.
    fn first_name(&mut self, stat: &Stat, shown: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let identity = (stat.st_dev, stat.st_ino);
        let first = self.names.get(&identity).cloned();
        if first.is_none() {
            self.names.insert(identity, shown.to_vec());
        }
        first
    }

    fn file(&mut self, parent: BorrowedFd<'_>, name: &CStr, shown: &[u8]) -> Result<bool> {
        // A FIFO swapped in must not block us, a link must not lead us elsewhere.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP) => return Ok(false),
            other => other.map_err(Error::io("open", shown))?,
        };
        let stat = rustix::fs::fstat(&file).map_err(Error::io("examine", shown))?;
        if node::file_type(&stat) != FileType::RegularFile {
            return Ok(false);
        }
        self.first_name(&stat, shown);
        let xattrs = node::xattrs_of(file.as_fd()).map_err(Error::io("examine", shown))?;
        for (key, _) in xattrs.iter().filter(|(key, _)| self.cleans && node::is_overlay_note(key)) {
            node::remove_xattr(parent, name, key).map_err(Error::io("clean", shown))?;
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (name, metadata) = (shown.to_vec(), node::metadata(&stat, xattrs));
        let entry = Entry { name, kind: EntryKind::File, metadata, stored: size, sparse: None };
        self.header(&entry)?;
        self.sink.content(&entry.name, file, size).map_err(Error::io("archive", &entry.name))?;
        self.sink.literal(&[0; BLOCK][..padding(size)]).map_err(Error::io("write", b"the archive"))?;
        self.entries += 1;
        self.bytes += size;
        Ok(true)
    }

    fn whiteout(&mut self, shown: &[u8], stat: &Stat) -> Result<()> {
        let start = shown.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
        let name = [&shown[..start], b".wh.", &shown[start..]].concat();
        self.mark(name, stat)
    }

    fn opaque_mark(&mut self, walk: &Walk, shown: &[u8]) -> Result<()> {
        if self.marks == Marks::Whiteouts
            && node::is_opaque(walk.directory()).map_err(Error::io("examine", shown))?
        {
            let stat = rustix::fs::fstat(walk.directory()).map_err(Error::io("examine", shown))?;
            self.mark([shown, b"/.wh..wh..opq"].concat(), &stat)?;
        }
        Ok(())
    }

    fn mark(&mut self, name: Vec<u8>, stat: &Stat) -> Result<()> {
        let metadata = Metadata { mtime: node::mtime(stat), ..Metadata::default() };
        self.header(&Entry { name, kind: EntryKind::File, metadata, stored: 0, sparse: None })
    }

    fn header(&mut self, entry: &Entry) -> Result<()> {
        self.sink.literal(&encode(entry)).map_err(Error::io("write", b"the archive"))
    }
}

/// Whether a directory is a file system such as procfs, whose files are not the container's.
fn is_kernel_view(parent: BorrowedFd<'_>, name: &CStr) -> bool {
    node::open_directory(parent, name).is_ok_and(|directory| node::shows_the_kernel(directory.as_fd()))
}

/// Writes a whole tree as one archive, as `docker export` does.
///
/// # Errors
/// What reading the tree or writing to `out` gives.
pub fn export_tree(root: BorrowedFd<'_>, out: impl Write) -> Result<()> {
    let mut packer = Packer::new(Plain(out), Marks::Ordinary);
    packer.tree(root, b"")?;
    packer.finish()?.0.flush().map_err(Error::io("write", b"the archive"))
}

/// The parts of a tree that [`Walk`] visits from a single node.
pub(crate) fn pack_node<S: Sink>(
    packer: &mut Packer<S>,
    parent: BorrowedFd<'_>,
    name: &CString,
    shown: &[u8],
) -> Result<()> {
    let Some(stat) = node::stat(parent, name).map_err(Error::io("examine", shown))? else {
        return Err(Error::io("examine", shown)(Errno::NOENT));
    };
    let written = packer.node(parent, (name, &stat), shown)?;
    if written && node::file_type(&stat) == FileType::Directory {
        let directory = node::open_directory(parent, name).map_err(Error::io("open", shown))?;
        if node::shows_the_kernel(directory.as_fd()) {
            return Ok(());
        }
        let prefix = if shown.ends_with(b"/") { shown.to_vec() } else { [shown, b"/"].concat() };
        packer.tree(directory.as_fd(), &prefix)?;
    }
    Ok(())
}
