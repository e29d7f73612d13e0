//! The files that a build may copy: read where they are, by descriptors, and never outside of their tree.

use super::archive;
use super::remote::{GIT_DIRECTORY, Remotes};
use crate::error::{Error, Result};
use mica_api::types::build::{BuildContext, BuildFile, BuildRequest};
use mica_build::ignore::{IGNORE_FILE, IgnoreRules, ignore_file_of};
use mica_image::decompress;
use mica_model::{GitSource, HttpSource, RemoteSource};
use mica_snapshot::archive::{WriteOptions, open_tree_root, write_archive};
use mica_snapshot::graft::{self, SourcePath, Verdict};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The largest Dockerfile or ignore file, in bytes.
pub(super) const TEXT_SIZE_MAX: u64 = 16 << 20;

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
}

/// What an address has brought.
enum Brought {
    /// A directory, and what is hidden in it.
    Directory(OwnedFd, &'static [&'static str]),
    /// A file that is no archive.
    File(HttpSource),
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

impl Context {
    /// Opens the context of a request.
    pub(super) fn open(remotes: &Remotes<'_>, request: &BuildRequest<'_>) -> Result<Self> {
        let mut hidden: &[&str] = &[];
        let mut only_file = None;
        let root = match &request.context {
            BuildContext::Empty => None,
            BuildContext::Directory(path) => Some(open_tree_root(path)?),
            BuildContext::Archive(file) => {
                let file = file.try_clone();
                let file = file.map_err(|source| Error::io("read", Path::new("the context"), source))?;
                Some(unpack(remotes, file)?)
            }
            BuildContext::Remote(address) => match bring(remotes, address, keeps_git_dir(request))? {
                Brought::Directory(root, left_out) => {
                    hidden = left_out;
                    Some(root)
                }
                Brought::File(file) => {
                    only_file = Some(file);
                    None
                }
            },
        };
        let mut tree = Tree { root, rules: IgnoreRules::default() };
        let dockerfile = match (&only_file, &request.dockerfile) {
            // A lone file is the Dockerfile of a build without any others.
            (Some(file), None | Some(BuildFile::InContext(_))) => {
                DockerfileText::Read(web_text(remotes, file, "Dockerfile")?)
            }
            (_, Some(BuildFile::Remote(address))) => match RemoteSource::parse(address) {
                Ok(Some(RemoteSource::Http(file))) => {
                    DockerfileText::Read(web_text(remotes, &file, &file.file_name())?)
                }
                _ => return Err(Error::invalid(format!("{address:?} is not the address of a Dockerfile"))),
            },
            _ => find_dockerfile(&tree, request)?,
        };
        let ignore = match (&request.ignore, &dockerfile) {
            (Some(text), _) => Some(text.clone()),
            (None, DockerfileText::Read(file)) => match tree.text(&ignore_file_of(&file.name))? {
                Some(text) => Some(text),
                None => tree.text(IGNORE_FILE)?,
            },
            (None, DockerfileText::Missing(_)) => None,
        };
        let ignore = [&[ignore.as_deref().unwrap_or_default()], hidden].concat().join("\n");
        tree.rules = ignore_rules(&ignore)?;
        Ok(Self { tree, dockerfile })
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
        tree.rules = ignore_rules(&tree.text(IGNORE_FILE)?.unwrap_or_default())?;
        Ok(tree)
    }

    /// A directory of which some is left out.
    pub(super) const fn of(root: OwnedFd, rules: IgnoreRules) -> Self {
        Self { root: Some(root), rules }
    }

    /// What an address has, as files.
    pub(super) fn bring(remotes: &Remotes<'_>, address: &str) -> Result<Self> {
        match bring(remotes, address, false)? {
            Brought::Directory(root, hidden) => Ok(Self::of(root, ignore_rules(&hidden.join("\n"))?)),
            Brought::File(source) => {
                let file = remotes.file(&source, None)?;
                let directory = file.path.parent().unwrap_or(&file.path);
                Ok(Self::of(open_tree_root(directory)?, IgnoreRules::default()))
            }
        }
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
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
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

fn find_dockerfile(tree: &Tree, request: &BuildRequest<'_>) -> Result<DockerfileText> {
    let (wanted, others): (&str, &[&str]) = match &request.dockerfile {
        Some(BuildFile::Text { name, text }) => {
            return Ok(DockerfileText::Read(TextFile { name: name.clone(), text: text.clone() }));
        }
        Some(BuildFile::InContext(path) | BuildFile::Remote(path)) => (path, &[]),
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

fn ignore_rules(text: &str) -> Result<IgnoreRules> {
    IgnoreRules::parse(text)
        .map_err(|error| Error::invalid(format!("failed to parse {IGNORE_FILE}: {error}")))
}

/// Whether the repository of a git context can be seen, as docker's build argument says.
fn keeps_git_dir(request: &BuildRequest<'_>) -> bool {
    let said = request.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    said.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "True" | "TRUE"))
}

/// Unpacks an archive into a directory of its own.
fn unpack(remotes: &Remotes<'_>, file: File) -> Result<OwnedFd> {
    let root = open_tree_root(&remotes.scratch()?.tree()?)?;
    write_archive(root.as_fd(), b"/", decompress(file)?, WriteOptions::default())?;
    Ok(root)
}

/// Brings what an address has.
fn bring(remotes: &Remotes<'_>, address: &str, keeps_git_dir: bool) -> Result<Brought> {
    let parsed = RemoteSource::parse_context(address).map_err(|error| Error::invalid(error.to_string()))?;
    match parsed {
        Some(RemoteSource::Git(source)) => {
            let keeps = source.keep_git_dir.unwrap_or(keeps_git_dir);
            let hidden: &[&str] = if keeps { &[] } else { &[GIT_DIRECTORY] };
            Ok(Brought::Directory(part_of(remotes, &source, keeps)?, hidden))
        }
        Some(RemoteSource::Http(source)) => {
            let file = remotes.file(&source, None)?;
            match archive::recognise(file.open()?)? {
                Some(archive) => Ok(Brought::Directory(unpack(remotes, archive)?, &[])),
                None => Ok(Brought::File(source)),
            }
        }
        None => Err(Error::invalid(format!("{address:?} is no address of files"))),
    }
}

/// The directory of a repository that is meant.
fn part_of(remotes: &Remotes<'_>, source: &GitSource, keeps_git_dir: bool) -> Result<OwnedFd> {
    let checkout = remotes.checkout(source, keeps_git_dir)?;
    if source.subdirectory.trim_matches('/').is_empty() {
        return Ok(open_tree_root(&checkout.directory)?);
    }
    let all = |_: &SourcePath<'_>| Verdict::Take;
    let part = super::copy::one(checkout.tree.root(), &source.subdirectory, &all)?;
    match part.is_directory() {
        true => Ok(part.node()?),
        false => {
            Err(Error::invalid(format!("{:?} is not a directory of the repository", source.subdirectory)))
        }
    }
}

/// What an address of the web has, if that is a file and no archive.
pub(super) fn lone_text(remotes: &Remotes<'_>, address: &str) -> Result<Option<TextFile>> {
    let parsed = RemoteSource::parse_context(address).map_err(|error| Error::invalid(error.to_string()))?;
    let Some(RemoteSource::Http(source)) = parsed else { return Ok(None) };
    match archive::recognise(remotes.file(&source, None)?.open()?)? {
        Some(_) => Ok(None),
        None => web_text(remotes, &source, &source.file_name()).map(Some),
    }
}

/// A Dockerfile of the web.
fn web_text(remotes: &Remotes<'_>, source: &HttpSource, name: &str) -> Result<TextFile> {
    let file = remotes.file(source, None)?;
    let mut text = Vec::new();
    let read = file.open()?.take(TEXT_SIZE_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| Error::io("read", &file.path, error))?;
    if text.len() as u64 > TEXT_SIZE_MAX {
        return Err(Error::invalid(format!("{} is larger than {} MiB", source.address, TEXT_SIZE_MAX >> 20)));
    }
    Ok(TextFile { name: name.to_owned(), text: String::from_utf8_lossy(&text).into_owned() })
}
