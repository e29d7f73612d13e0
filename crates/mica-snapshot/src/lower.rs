//! Looking a path up in a stack of layers, as overlayfs would.

use crate::error::{Error, Result};
use crate::node;
use crate::remove::open_root;
use crate::unpack::name::join;
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// Open layers, the topmost first.
#[derive(Debug)]
pub(crate) struct Lowers(Vec<OwnedFd>);

/// A node of the topmost layer that has it.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory it is in.
    pub(crate) directory: OwnedFd,
    /// Its status.
    pub(crate) stat: Stat,
}

/// What one layer says about a path.
enum Answer {
    Found(Found),
    /// It has nothing of that name; ask the next.
    Nothing,
    /// It hides what is below.
    Hidden,
}

impl Lowers {
    /// Opens the trees of layers, the topmost first, down to the first that hides the rest.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let paths = crate::overlay::visible_lowers(paths)?;
        paths.iter().map(|path| open_root(path)).collect::<Result<_>>().map(Self)
    }

    /// The node at `path`, without following links.
    pub(crate) fn find(&self, path: &[CString]) -> Result<Option<Found>> {
        for layer in &self.0 {
            match look(layer, path)? {
                Answer::Found(found) => return Ok(Some(found)),
                Answer::Hidden => return Ok(None),
                Answer::Nothing => {}
            }
        }
        Ok(None)
    }

    /// Names in the merged directory at `path`.
    pub(crate) fn names(&self, path: &[CString]) -> Result<Vec<CString>> {
        let error = |errno: Errno| Error::io("read", &join(path))(errno);
        let mut visible = BTreeMap::new();
        for layer in &self.0 {
            let directory = match look(layer, path)? {
                Answer::Nothing => continue,
                Answer::Hidden => break,
                Answer::Found(found) => match path.last() {
                    Some(name) if node::file_type(&found.stat) == FileType::Directory => {
                        node::open_directory(found.directory.as_fd(), name).map_err(error)?
                    }
                    Some(_) => break,
                    None => found.directory,
                },
            };
            for name in node::names(directory.as_fd()).map_err(error)? {
                let Some(stat) = node::stat(directory.as_fd(), &name).map_err(error)? else { continue };
                visible.entry(name).or_insert_with(|| !node::is_whiteout(&stat));
            }
            if node::is_opaque(directory.as_fd()).map_err(error)? {
                break;
            }
        }
        Ok(visible.into_iter().filter_map(|(name, is_visible)| is_visible.then_some(name)).collect())
    }
}

fn look(layer: &OwnedFd, path: &[CString]) -> Result<Answer> {
    let error = |errno: Errno| Error::io("examine", &join(path))(errno);
    let mut directory = layer.try_clone().map_err(Error::io("open", b""))?;
    let mut is_opaque = false;
    let Some((last, parents)) = path.split_last() else {
        let stat = rustix::fs::fstat(&directory).map_err(error)?;
        return Ok(Answer::Found(Found { directory, stat }));
    };
    let absent = |is_opaque| if is_opaque { Answer::Hidden } else { Answer::Nothing };
    for name in parents {
        directory = match node::open_directory(directory.as_fd(), name) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(absent(is_opaque)),
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Answer::Hidden),
            Err(other) => return Err(error(other)),
        };
        is_opaque |= node::is_opaque(directory.as_fd()).map_err(error)?;
    }
    Ok(match node::stat(directory.as_fd(), last).map_err(error)? {
        None => absent(is_opaque),
        Some(stat) if node::is_whiteout(&stat) => Answer::Hidden,
        Some(stat) => Answer::Found(Found { directory, stat }),
    })
}
