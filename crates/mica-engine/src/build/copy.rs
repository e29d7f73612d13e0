//! `COPY`, `ADD` and `WORKDIR`: files come onto a state.

use super::archive;
use super::context::{Tree, literal};
use super::owner;
use super::places::{Place, read_only};
use super::worker::Builder;
use crate::error::{Error, Result};
use mica_build::ignore::IgnoreRules;
use mica_build::image::Root;
use mica_build::worker::{Change, CopyStep, Origin};
use mica_image::decompress;
use mica_model::Digest;
use mica_snapshot::archive::{WriteOptions, open_tree_root, write_archive};
use mica_snapshot::graft::{
    self, Destination, GraftOptions, HashMemory, ModeChange, Source, SourcePath, Verdict,
};
use sha2::{Digest as _, Sha256};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// Where the sources of a step are.
pub(super) enum Sources<'a> {
    /// A user's files; none for an empty context.
    Tree(&'a Tree),
    /// Files that were brought here.
    Brought(Arc<Tree>),
    /// Files of layers.
    Layers(OwnedFd),
}

impl Sources<'_> {
    fn root(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tree(tree) => tree.root(),
            Self::Brought(tree) => tree.root(),
            Self::Layers(root) => Some(root.as_fd()),
        }
    }

    fn verdict(&self, excludes: &IgnoreRules, path: &SourcePath<'_>) -> Verdict {
        let verdict = match self {
            Self::Tree(tree) => tree.verdict(path),
            Self::Brought(tree) => tree.verdict(path),
            Self::Layers(_) => Verdict::Take,
        };
        if verdict == Verdict::SkipAll || excludes.is_empty() {
            return verdict;
        }
        let last = path.in_tree.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let name = match path.below_source {
            // Of a single file the name counts, of a directory what is in it.
            b"" if path.is_directory => return verdict,
            b"" => String::from_utf8_lossy(last),
            below => String::from_utf8_lossy(below),
        };
        match excludes.ignores(&name) {
            false => verdict,
            true if path.is_directory && excludes.may_include_below(&name) => Verdict::Skip,
            true => Verdict::SkipAll,
        }
    }
}

impl Builder<'_> {
    fn sources(&self, origin: &Origin) -> Result<Sources<'_>> {
        match origin {
            Origin::Root(root) => Ok(Sources::Layers(self.files_of(root)?)),
            other => match self.tree(other) {
                Some(tree) => Ok(Sources::Tree(tree)),
                None => Err(Error::invalid("the context does not exist")),
            },
        }
    }

    /// The files of a stage or an image, to be read only.
    pub(super) fn files_of(&self, root: &Root) -> Result<OwnedFd> {
        match root.layers.is_empty() {
            // There are no overlays of nothing.
            true => Ok(open_tree_root(&self.remotes.scratch()?.tree()?)?),
            false => read_only(&self.directories(root)?),
        }
    }

    /// Digests everything that a copy would take.
    pub(super) fn digest_of_copy(&self, step: &CopyStep) -> Result<Digest> {
        let excludes = excludes(step)?;
        let sources = self.sources(&step.origin)?;
        let filter = |path: &SourcePath<'_>| sources.verdict(&excludes, path);
        let mut whole = Sha256::new();
        let mut text = |text: &[u8]| {
            whole.update((text.len() as u64).to_le_bytes());
            whole.update(text);
        };
        for pattern in &step.sources {
            if let Some(identity) = self.remote_identity(step, pattern)? {
                text(identity.as_bytes());
                continue;
            }
            for (source, _) in found(sources.root(), pattern, step, &filter)? {
                text(if step.with_parents { source.path() } else { source.asked() });
                text(self.digest_of_source(&step.origin, &source, &filter)?.as_bytes());
            }
        }
        for (name, content) in &step.files {
            text(name.as_bytes());
            text(content.as_bytes());
        }
        Ok(Digest::from_bytes(whole.finalize().into()))
    }

    /// Digests what a mount shows of a user's files.
    pub(super) fn digest_of_path(&self, origin: &Origin, path: &str) -> Result<Digest> {
        let sources = self.sources(origin)?;
        let none = IgnoreRules::default();
        let filter = |path: &SourcePath<'_>| sources.verdict(&none, path);
        let source = one(sources.root(), path, &filter)?;
        self.digest_of_source(origin, &source, &filter)
    }

    fn digest_of_source(
        &self,
        origin: &Origin,
        source: &Source,
        filter: graft::Filter<'_>,
    ) -> Result<Digest> {
        let keeps_owners = matches!(origin, Origin::Root(_));
        let mut memory = match self.tree(origin).and_then(Tree::root) {
            Some(root) => HashMemory::open(&self.memory_path(root, source)?).ok(),
            None => None,
        };
        let digest = graft::digest(source, filter, keeps_owners, memory.as_mut())?;
        if let Some(memory) = memory {
            // Without it the next build only has to read more.
            let _ = memory.save();
        }
        Ok(digest)
    }

    /// Where the digests of a source's files are remembered.
    fn memory_path(&self, root: BorrowedFd<'_>, source: &Source) -> Result<std::path::PathBuf> {
        let directory = self.local.disk.build_memory();
        crate::disk::make_directory(&directory)?;
        let stat = rustix::fs::fstat(root)
            .map_err(|errno| Error::io("examine", Path::new("the context"), errno.into()))?;
        let mut name = Sha256::new();
        name.update(stat.st_dev.to_le_bytes());
        name.update(stat.st_ino.to_le_bytes());
        name.update(source.path());
        Ok(directory.join(Digest::from_bytes(name.finalize().into()).hex()))
    }

    /// Copies onto `root` and makes a layer of what changed.
    pub(super) fn copy_files(&self, root: &Root, step: &CopyStep) -> Result<Change> {
        let layers = self.directories(root)?;
        let place = Place::new(self, &layers)?;
        // What is linked is a layer by itself: nothing below decides where it goes.
        let target = if step.is_independent() { place.mount(&[])? } else { place.mount(&layers)? };
        let excludes = excludes(step)?;
        let sources = self.sources(&step.origin)?;
        let owner = match &step.owner {
            Some(text) if step.is_independent() && !layers.is_empty() => {
                Some(owner::resolve(read_only(&layers)?.as_fd(), text)?)
            }
            Some(text) => Some(owner::resolve(target.as_fd(), text)?),
            None => None,
        };
        let options = GraftOptions { owner, ..options(step, self.latest())? };
        for pattern in &step.sources {
            match self.bring(step, pattern)? {
                None => {
                    let job = Job { sources: &sources, pattern, step, excludes: &excludes, unpacks: true };
                    job.copy(target.as_fd(), &options)?;
                }
                Some(brought) => {
                    let options = GraftOptions { time: options.time.or(brought.time), ..options.clone() };
                    brought.job(step, &excludes).copy(target.as_fd(), &options)?;
                }
            }
        }
        self.copy_inline(&place, target.as_fd(), (step, &options))?;
        self.finish_place(&place, target)
    }

    /// Files that are written in the Dockerfile itself.
    fn copy_inline(
        &self,
        place: &Place,
        target: BorrowedFd<'_>,
        (step, options): (&CopyStep, &GraftOptions),
    ) -> Result<()> {
        for (index, (name, content)) in step.files.iter().enumerate() {
            let directory = place.disk.directory().join(format!("inline-{index}"));
            crate::disk::make_directory(&directory)?;
            let plain = name.rsplit('/').next().unwrap_or_default();
            crate::disk::write_shown_file(&directory.join(plain), content.as_bytes())?;
            let root = open_tree_root(&directory)?;
            let destination = Destination {
                root: target,
                path: step.destination.as_bytes(),
                is_directory: step.is_directory,
            };
            let take = |_: &SourcePath<'_>| Verdict::Take;
            let usual = || ModeChange::parse("644");
            let options = GraftOptions { mode: options.mode.clone().or_else(usual), ..options.clone() };
            for source in graft::find(root.as_fd(), &literal(plain), &take)? {
                graft::graft(&source, &take, &destination, &options)?;
            }
        }
        Ok(())
    }

    /// Makes the directory of `WORKDIR`, for the user that is set.
    pub(super) fn make_working_directory(&self, root: &Root, path: &str, user: &str) -> Result<Change> {
        let layers = self.directories(root)?;
        let place = Place::new(self, &layers)?;
        let target = place.mount(&layers)?;
        let owner = match user {
            "" => None,
            user => Some(owner::resolve(target.as_fd(), user)?),
        };
        let options = GraftOptions { owner, time: self.latest(), ..GraftOptions::default() };
        let destination = Destination { root: target.as_fd(), path: path.as_bytes(), is_directory: true };
        if !graft::make_directory(&destination, &options)? {
            return Ok(Change { layer: None, created: self.now() });
        }
        self.finish_place(&place, target)
    }

    /// Makes a layer of what was changed in a place.
    pub(super) fn finish_place(&self, place: &Place, target: OwnedFd) -> Result<Change> {
        // The layer is made of what lies below the mount.
        drop(target);
        let layer = self.local.layers.ingest_upper_until(&place.disk.upper(), self.latest())?;
        self.register(layer)
    }
}

/// One source of a step, and how it is copied.
pub(super) struct Job<'a> {
    pub(super) sources: &'a Sources<'a>,
    pub(super) pattern: &'a str,
    pub(super) step: &'a CopyStep,
    pub(super) excludes: &'a IgnoreRules,
    /// Whether archives are unpacked unless the step says otherwise.
    pub(super) unpacks: bool,
}

impl Job<'_> {
    fn copy(&self, target: BorrowedFd<'_>, options: &GraftOptions) -> Result<()> {
        let filter = |path: &SourcePath<'_>| self.sources.verdict(self.excludes, path);
        for (source, directory) in found(self.sources.root(), self.pattern, self.step, &filter)? {
            let path = [self.step.destination.as_bytes(), b"/", &directory].concat();
            let is_directory = self.step.is_directory || self.step.with_parents;
            let destination = Destination { root: target, path: &path, is_directory };
            self.copy_one(&source, &filter, &destination, options)?;
        }
        Ok(())
    }

    fn copy_one(
        &self,
        source: &Source,
        filter: graft::Filter<'_>,
        destination: &Destination<'_>,
        options: &GraftOptions,
    ) -> Result<()> {
        let unpacks = self.step.add.as_ref().is_some_and(|add| add.unpack.unwrap_or(self.unpacks));
        if unpacks
            && !source.is_directory()
            && let Some(archive) = source.open().ok().map(archive::recognise).transpose()?.flatten()
        {
            graft::make_directory(destination, options)?;
            let tar = decompress(archive)?;
            let owner = options.owner;
            let options = WriteOptions { keep_kinds: false, owner };
            return Ok(write_archive(destination.root, destination.path, tar, options)?);
        }
        Ok(graft::graft(source, filter, destination, options)?)
    }
}

/// All but the owner.
fn options(step: &CopyStep, time: Option<mica_model::Timestamp>) -> Result<GraftOptions> {
    let mode = match &step.mode {
        None => None,
        Some(text) => Some(ModeChange::parse(text).ok_or_else(|| Error::invalid(wrong_mode(text)))?),
    };
    // What comes from a user's files is as old on every machine; an image's files have an age of their own.
    let keep_owners = matches!(step.origin, Origin::Root(_));
    let keep_top = step.with_parents;
    Ok(GraftOptions { owner: None, keep_owners, mode, keep_top, time: time.filter(|_| !keep_owners) })
}

fn wrong_mode(text: &str) -> String {
    let said = format!("invalid chmod parameter: '{text}'");
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => format!("{said}. it should be octal string and between 0 and 07777"),
        false => said,
    }
}

fn excludes(step: &CopyStep) -> Result<IgnoreRules> {
    IgnoreRules::from_patterns(&step.excludes).map_err(|error| Error::invalid(error.to_string()))
}

/// What a source of a step names, each with the directory below the destination that it goes to.
fn found(
    root: Option<BorrowedFd<'_>>,
    pattern: &str,
    step: &CopyStep,
    filter: graft::Filter<'_>,
) -> Result<Vec<(Source, Vec<u8>)>> {
    let missing =
        || Error::invalid(format!("failed to compute cache key: {:?}: not found", slashed(pattern)));
    let Some(root) = root else { return Err(missing()) };
    let sources = graft::find(root, pattern.as_bytes(), filter).map_err(|error| not_found(error, missing))?;
    let pivot = pattern.split_once("/./").map_or("", |(above, _)| above).trim_matches('/');
    Ok(sources
        .into_iter()
        .map(|source| {
            let directory = match step.with_parents {
                true => parents(&source, pivot),
                false => Vec::new(),
            };
            (source, directory)
        })
        .collect())
}

/// With `--parents`: the directories that a source keeps.
fn parents(source: &Source, pivot: &str) -> Vec<u8> {
    let path = source.path();
    let path = path.strip_prefix(pivot.as_bytes()).unwrap_or(path);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if source.is_directory() {
        return path.to_vec();
    }
    path.iter().rposition(|&byte| byte == b'/').map(|slash| path[..slash].to_vec()).unwrap_or_default()
}

/// The one thing that a path without wildcards names.
pub(super) fn one(root: Option<BorrowedFd<'_>>, path: &str, filter: graft::Filter<'_>) -> Result<Source> {
    let missing = || Error::invalid(format!("failed to compute cache key: {:?}: not found", slashed(path)));
    let Some(root) = root else { return Err(missing()) };
    let found = graft::find(root, &literal(path), filter).map_err(|error| not_found(error, missing))?;
    found.into_iter().next().ok_or_else(missing)
}

fn slashed(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn not_found(error: mica_snapshot::Error, missing: impl Fn() -> Error) -> Error {
    match error {
        mica_snapshot::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => missing(),
        error => error.into(),
    }
}
