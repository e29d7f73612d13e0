//! From the upper directory of an overlay to a layer.

use crate::disk::{FORMAT, LayerRecord, io_at};
use crate::error::{Error, Result};
use crate::hashing::HashedStream;
use crate::ingest::{IngestedLayer, Workspace};
use crate::node;
use crate::pack::{Marks, Packer, Plain, Sink};
use crate::recipe::RecipeWriter;
use crate::remove::open_root;
use crate::settle::Debts;
use crate::store::LayerStore;
use crate::tar::Time;
use crate::tar::reader::Tap;
use crate::walk::{Visit, Walk};
use mica_model::Timestamp;
use rustix::fs::{AtFlags, FileType};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

/// What becomes of an upper directory that was made a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpperSource {
    /// It stays as it is; the layer is a copy.
    Copy,
    /// It becomes the layer and is gone, also if this fails. No overlay may be mounted on it, and
    /// it must be on the file system of the store.
    Consume,
}

/// Writes the changes in an upper directory as a layer archive.
///
/// # Errors
/// What reading the tree or writing to `out` gives.
pub fn tar_of_changes(upper: &Path, out: impl Write) -> Result<()> {
    let root = open_root(upper)?;
    let mut packer = Packer::new(Plain(out), Marks::Whiteouts);
    packer.tree(root.as_fd(), b"")?;
    packer.finish()?.0.flush().map_err(Error::io("write", b"the archive"))
}

impl LayerStore {
    /// Makes a layer of an upper directory. It has no debts.
    ///
    /// # Errors
    /// What reading the tree or making the layer gives.
    pub fn ingest_upper(&self, upper: &Path, source: UpperSource) -> Result<IngestedLayer> {
        match source {
            UpperSource::Consume => self.consume(upper, None),
            UpperSource::Copy => self.copy(upper),
        }
    }

    /// Makes a layer of an upper directory, which becomes it, in which nothing was changed after
    /// `latest`: what was is said to have been changed then.
    ///
    /// # Errors
    /// As [`Self::ingest_upper`].
    pub fn ingest_upper_until(&self, upper: &Path, latest: Option<Timestamp>) -> Result<IngestedLayer> {
        self.consume(upper, latest)
    }

    fn copy(&self, upper: &Path) -> Result<IngestedLayer> {
        let (reader, writer) = io::pipe().map_err(io_at("make a pipe for", upper))?;
        // Larger pieces, fewer switches between the threads; the default does as well.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, 1 << 20);
        std::thread::scope(|scope| {
            let packing =
                scope.spawn(move || tar_of_changes(upper, BufWriter::with_capacity(256 << 10, writer)));
            let layer = self.ingest(reader);
            let packed = match packing.join() {
                Ok(packed) => packed,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // If unpacking failed, packing only saw a closed pipe.
            let layer = layer?;
            packed?;
            Ok(layer)
        })
    }

    fn consume(&self, upper: &Path, latest: Option<Timestamp>) -> Result<IngestedLayer> {
        let workspace = Workspace::new(self)?;
        let tree = workspace.directory.diff();
        std::fs::rename(upper, &tree).map_err(io_at("take over", upper))?;
        let root = open_root(&tree)?;
        strip(root.as_fd(), latest)?;
        let recipe_path = workspace.directory.recipe();
        let file = File::create(&recipe_path).map_err(io_at("make", &recipe_path))?;
        let recipe = RecipeWriter::new(BufWriter::new(file)).map_err(io_at("write", &recipe_path))?;
        let recording = Recording { recipe, stream: HashedStream::new(), writing: None };
        let mut packer = Packer::new(recording, Marks::Whiteouts).cleaning();
        packer.tree(root.as_fd(), b"")?;
        let (size, entries) = (packer.bytes, packer.entries);
        let Recording { recipe, stream, .. } = packer.finish()?;
        let (writer, archive_size) = recipe.finish().map_err(io_at("write", &recipe_path))?;
        writer.into_inner().map_err(|error| io_at("write", &recipe_path)(error.into_error()))?;
        let diff_id = stream.finish().map_err(io_at("hash", &tree))?;
        let displaced = Vec::new();
        let record =
            LayerRecord { version: FORMAT, diff_id, archive_size, size, entries, chain: None, displaced };
        Ok(IngestedLayer::new(workspace, record, Debts::default()))
    }
}

/// What lies behind this much of a layer goes to the disk while the rest is hashed, so that there is less to wait for at
/// the end. Most layers are smaller, and some are never kept.
const WRITTEN_AT_THE_END: u64 = 16 << 20;

/// How many files may wait to be written to the disk. Nobody waits for room: what finds none is written later.
const WAITING: usize = 64;

/// Hashes the archive and writes the recipe instead of it: the files are where they shall be.
struct Recording<W: Write> {
    recipe: RecipeWriter<W>,
    stream: HashedStream,
    /// The way to the thread that has files written to the disk.
    writing: Option<SyncSender<OwnedFd>>,
}

/// Starts a thread that has the files written which it is given; it ends when nobody gives it any more.
fn start_writing() -> io::Result<SyncSender<OwnedFd>> {
    let (files, waiting) = sync_channel::<OwnedFd>(WAITING);
    std::thread::Builder::new().name("write out".to_owned()).spawn(move || {
        for file in waiting {
            // Only a matter of time: who relies on the layer waits for the disk.
            let _ = mica_sys::write_out::begin_writing(file.as_fd());
        }
    })?;
    Ok(files)
}

impl<W: Write> Sink for Recording<W> {
    fn literal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.bytes(bytes)?;
        self.recipe.literal(bytes)
    }

    fn content(&mut self, path: &[u8], file: OwnedFd, size: u64) -> io::Result<()> {
        self.stream.file(&file, size)?;
        if size == 0 {
            return Ok(());
        }
        if self.stream.length() > WRITTEN_AT_THE_END {
            if self.writing.is_none() {
                self.writing = Some(start_writing()?);
            }
            self.writing.as_ref().map(|files| files.try_send(file));
        }
        self.recipe.piece(path, 0, size)
    }
}

/// Removes what a layer must not have: sockets, the overlay's own notes except those on regular files, which the packer
/// opens anyway, and times after `latest`.
fn strip(root: BorrowedFd<'_>, latest: Option<Timestamp>) -> Result<()> {
    strip_notes(root, c".", b"")?;
    let mut walk = Walk::new(root)?;
    while let Some(visit) = walk.step()? {
        let (name, stat) = match visit {
            Visit::Node { name, stat } => (name, stat),
            Visit::Left { name } => {
                // Only now, for stripping what is in it has changed it.
                limit_time(walk.directory(), &name, latest)?;
                continue;
            }
        };
        match node::file_type(&stat) {
            FileType::Socket => rustix::fs::unlinkat(walk.directory(), &name, AtFlags::empty())
                .map_err(Error::io("remove", walk.path()))?,
            FileType::Directory => {
                strip_notes(walk.directory(), &name, walk.path())?;
                walk.descend(&name)?;
            }
            kind => {
                if kind != FileType::RegularFile {
                    strip_notes(walk.directory(), &name, walk.path())?;
                }
                limit_time(walk.directory(), &name, latest)?;
            }
        }
    }
    limit_time(root, c".", latest)
}

fn limit_time(directory: BorrowedFd<'_>, name: &std::ffi::CStr, latest: Option<Timestamp>) -> Result<()> {
    let Some(latest) = latest else { return Ok(()) };
    let error = |errno| Error::io::<rustix::io::Errno>("set the time of", name.to_bytes())(errno);
    let Some(stat) = node::stat(directory, name).map_err(error)? else { return Ok(()) };
    let latest = Time::from(latest);
    let changed = node::mtime(&stat);
    if (changed.seconds, changed.nanoseconds) <= (latest.seconds, latest.nanoseconds) {
        return Ok(());
    }
    rustix::fs::utimensat(directory, name, &node::timestamps(latest), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(error)
}

fn strip_notes(directory: BorrowedFd<'_>, name: &std::ffi::CStr, path: &[u8]) -> Result<()> {
    for (key, _) in node::xattrs(directory, name).map_err(Error::io("examine", path))? {
        if node::is_overlay_note(&key) {
            node::remove_xattr(directory, name, &key).map_err(Error::io("clean", path))?;
        }
    }
    Ok(())
}
