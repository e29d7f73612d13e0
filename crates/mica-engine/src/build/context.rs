//! The files that a build may copy: read where they are, by descriptors, and never outside of their tree.

use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::build::{BuildContext, BuildFile, BuildRequest};
use mica_build::ignore::{IGNORE_FILE, IgnoreRules, ignore_file_of};
use mica_image::decompress;
use mica_model::ContainerId;
use mica_snapshot::archive::{WriteOptions, open_tree_root, write_archive};
use mica_snapshot::graft::{self, SourcePath, Verdict};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The largest Dockerfile or ignore file, in bytes.
const TEXT_SIZE_MAX: u64 = 16 << 20;

/// A tree of a user's files.
#[derive(Debug)]
pub(super) struct Tree {
    root: Option<OwnedFd>,
    rules: IgnoreRules,
}

/// The context of a build.
#[derive(Debug)]
pub(super) struct Context {
    tree: Tree,
    dockerfile: DockerfileText,
    /// Where an archive was unpacked; deleted at the end.
    _unpacked: Option<Unpacked>,
}

/// A Dockerfile, or why there is none.
#[derive(Debug)]
enum DockerfileText {
    Read(TextFile),
    Missing(String),
}

/// A text with its name for messages.
#[derive(Debug, Clone)]
pub(super) struct TextFile {
    pub(super) name: String,
    pub(super) text: String,
}

/// A directory like that of a container without a record, which is what a killed build leaves of it.
#[derive(Debug)]
struct Unpacked {
    directory: PathBuf,
    _lock: File,
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What stays is a leftover like any other.
        let _ = mica_snapshot::remove_tree(&self.directory);
    }
}

impl Context {
    /// Opens the context of a request.
    pub(super) fn open(local: &Local, request: &BuildRequest) -> Result<Self> {
        let mut unpacked = None;
        let root = match &request.context {
            BuildContext::Empty => None,
            BuildContext::Directory(path) => Some(open_tree_root(path)?),
            BuildContext::Archive(file) => {
                let (place, root) = unpack(local, file)?;
                unpacked = Some(place);
                Some(root)
            }
        };
        let mut tree = Tree { root, rules: IgnoreRules::default() };
        let dockerfile = find_dockerfile(&tree, request)?;
        let ignore = match (&request.ignore, &dockerfile) {
            (Some(text), _) => Some(text.clone()),
            (None, DockerfileText::Read(file)) => match tree.text(&ignore_file_of(&file.name))? {
                Some(text) => Some(text),
                None => tree.text(IGNORE_FILE)?,
            },
            (None, DockerfileText::Missing(_)) => None,
        };
        tree.rules = IgnoreRules::parse(&ignore.unwrap_or_default())
            .map_err(|error| Error::invalid(format!("failed to parse {IGNORE_FILE}: {error}")))?;
        Ok(Self { tree, dockerfile, _unpacked: unpacked })
    }

    pub(super) fn dockerfile(&self) -> Result<TextFile> {
        match &self.dockerfile {
            DockerfileText::Read(file) => Ok(file.clone()),
            DockerfileText::Missing(name) => Err(Error::invalid(format!(
                "failed to read dockerfile: open {name}: no such file or directory"
            ))),
        }
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Tree {
    /// A directory with an ignore file of its own.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut tree = Self { root: Some(open_tree_root(path)?), rules: IgnoreRules::default() };
        let ignore = tree.text(IGNORE_FILE)?.unwrap_or_default();
        tree.rules = IgnoreRules::parse(&ignore)
            .map_err(|error| Error::invalid(format!("failed to parse {IGNORE_FILE}: {error}")))?;
        Ok(tree)
    }

    pub(super) fn root(&self) -> Option<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd)
    }

    /// What is left out.
    pub(super) fn rules(&self) -> &IgnoreRules {
        &self.rules
    }

    /// Whether some of it may not be seen.
    pub(super) fn hides_anything(&self) -> bool {
        !self.rules.is_empty()
    }

    /// What of the tree may be seen.
    pub(super) fn verdict(&self, path: &SourcePath<'_>) -> Verdict {
        if self.rules.is_empty() || path.in_tree.is_empty() {
            return Verdict::Take;
        }
        let name = String::from_utf8_lossy(path.in_tree);
        match self.rules.ignores(&name) {
            false => Verdict::Take,
            true if path.is_directory && self.rules.may_include_below(&name) => Verdict::Skip,
            true => Verdict::SkipAll,
        }
    }

    /// A small text in the tree, ignored or not.
    fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(root) = self.root() else { return Ok(None) };
        let found = match graft::find(root, &literal(name), &|_| Verdict::Take) {
            Ok(found) => found,
            Err(mica_snapshot::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(source) = found.first() else { return Ok(None) };
        let mut text = Vec::new();
        let read = source.open()?.take(TEXT_SIZE_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| Error::io("read", Path::new(name), error))?;
        if text.len() as u64 > TEXT_SIZE_MAX {
            return Err(Error::invalid(format!("{name} is larger than {} MiB", TEXT_SIZE_MAX >> 20)));
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

fn find_dockerfile(tree: &Tree, request: &BuildRequest) -> Result<DockerfileText> {
    let (wanted, others): (&str, &[&str]) = match &request.dockerfile {
        Some(BuildFile::Text { name, text }) => {
            return Ok(DockerfileText::Read(TextFile { name: name.clone(), text: text.clone() }));
        }
        Some(BuildFile::InContext(path)) => (path, &[]),
        None => ("Dockerfile", &["dockerfile"]),
    };
    for name in [wanted].iter().chain(others) {
        if let Some(text) = tree.text(name)? {
            return Ok(DockerfileText::Read(TextFile { name: (*name).to_owned(), text }));
        }
    }
    Ok(DockerfileText::Missing(wanted.to_owned()))
}

/// A name as a pattern that means only itself.
pub(super) fn literal(name: &str) -> Vec<u8> {
    let mut pattern = Vec::new();
    for byte in name.bytes() {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

/// Unpacks an archive into a directory of its own.
fn unpack(local: &Local, file: &File) -> Result<(Unpacked, OwnedFd)> {
    let id = ContainerId::from_random(crate::system::random());
    let disk = local.disk.container(&id);
    let lock = crate::container::create::lock_new_directory(&disk, &id)?;
    let place = Unpacked { directory: disk.directory().to_owned(), _lock: lock };
    crate::disk::make_layer_directory(&disk.upper())?;
    let file = file.try_clone().map_err(|source| Error::io("read", Path::new("the context"), source))?;
    let root = open_tree_root(&disk.upper())?;
    write_archive(root.as_fd(), b"/", decompress(file)?, WriteOptions::default())?;
    Ok((place, root))
}
