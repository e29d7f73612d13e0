//! Sources of `ADD` that are not on this machine.

use super::context::literal;
use super::copy::{Job, Sources};
use super::worker::Builder;
use crate::error::{Error, Result};
use mica_build::ignore::IgnoreRules;
use mica_build::worker::{AddStep, CopyStep};
use mica_model::{Digest, GitSource, RemoteSource, Timestamp};
use std::path::Path;
use std::sync::Arc;

/// Files that were brought here.
pub(super) struct Brought {
    sources: Sources<'static>,
    pattern: String,
    /// How old everything is said to be, if that is not what is written on the disk.
    pub(super) time: Option<Timestamp>,
}

impl Brought {
    /// How they are copied: archives as they are, unless the step says otherwise.
    pub(super) fn job<'b>(&'b self, step: &'b CopyStep, excludes: &'b IgnoreRules) -> Job<'b> {
        Job { sources: &self.sources, pattern: &self.pattern, step, excludes, unpacks: false }
    }
}

impl Builder<'_> {
    /// What a source of another place is known by: the same text means the same files.
    pub(super) fn remote_identity(&self, step: &CopyStep, written: &str) -> Result<Option<String>> {
        let Some((add, source)) = self.remote(step, written)? else { return Ok(None) };
        Ok(Some(match source {
            RemoteSource::Http(source) => {
                let identity = self.remotes.identity(&source, checksum(add)?)?;
                format!("web {} {identity}", source.file_name())
            }
            RemoteSource::Git(source) => {
                let commit = self.remotes.commit(&source)?.id;
                let GitSource { subdirectory, submodules, is_as_old_as_commit, .. } = &source;
                let keeps = keeps_git_dir(add, &source);
                format!("git {commit} {keeps} {submodules:?} {is_as_old_as_commit} {subdirectory}")
            }
        }))
    }

    /// Brings a source of another place here.
    pub(super) fn bring(&self, step: &CopyStep, written: &str) -> Result<Option<Brought>> {
        let Some((add, source)) = self.remote(step, written)? else { return Ok(None) };
        Ok(Some(match source {
            RemoteSource::Http(source) => {
                let file = self.remotes.file(&source, checksum(add)?)?;
                let pattern = String::from_utf8_lossy(&literal(&source.file_name())).into_owned();
                Brought { sources: Sources::Brought(Arc::clone(&file.tree)), pattern, time: None }
            }
            RemoteSource::Git(source) => {
                let checkout = self.remotes.checkout(&source, keeps_git_dir(add, &source))?;
                let part = format!("/{}", source.subdirectory);
                Brought {
                    sources: Sources::Brought(Arc::clone(&checkout.tree)),
                    pattern: String::from_utf8_lossy(&literal(&part)).into_owned(),
                    time: source.is_as_old_as_commit.then_some(checkout.committed),
                }
            }
        }))
    }

    /// The other place that a source of a step is in, if it is not one of the context.
    fn remote<'s>(&self, step: &'s CopyStep, written: &str) -> Result<Option<(&'s AddStep, RemoteSource)>> {
        let Some(add) = &step.add else { return Ok(None) };
        let parsed = RemoteSource::parse(written).map_err(|error| Error::invalid(error.to_string()))?;
        if add.checksum.is_some() && step.sources.len() != 1 {
            return Err(Error::invalid("checksum can't be specified for multiple sources"));
        }
        let Some(mut source) = parsed else {
            return match &add.checksum {
                Some(_) => Err(Error::invalid("checksum requires HTTP(S) or Git sources")),
                None => Ok(None),
            };
        };
        if let RemoteSource::Git(source) = &mut source {
            self.check_local(source)?;
            if let Some(checksum) = &add.checksum {
                checksum.clone_into(&mut source.checksum);
            }
        }
        Ok(Some((add, source)))
    }

    /// A repository of this machine is no part of the context: who builds must have allowed it.
    fn check_local(&self, source: &GitSource) -> Result<()> {
        let Some(path) = source.remote.strip_prefix("file://") else { return Ok(()) };
        let mut allowed = self.request.entitlements.iter().filter_map(|given| given.strip_prefix("fs.read="));
        let is_plain = !Path::new(path).components().any(|part| part == std::path::Component::ParentDir);
        if is_plain && allowed.any(|directory| Path::new(path).starts_with(directory)) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "{} is outside of the build context: the build needs --allow fs.read={path}",
            source.remote
        )))
    }
}

fn keeps_git_dir(add: &AddStep, source: &GitSource) -> bool {
    add.keep_git_dir || source.keep_git_dir == Some(true)
}

/// What a file must have as its digest.
fn checksum(add: &AddStep) -> Result<Option<Digest>> {
    let Some(written) = &add.checksum else { return Ok(None) };
    let wrong =
        |_| Error::invalid(format!("invalid checksum {written:?}: sha256:… with 64 digits is expected"));
    written.parse().map(Some).map_err(wrong)
}
