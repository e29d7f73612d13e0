//! What a build takes from other places: files of the web and git repositories. They are brought here once, when they
//! are needed; whether they have changed is asked without bringing them, where the other side can tell.

use super::context::Tree;
use super::crew::{Crew, held};
use super::git::{self, Commit};
use super::scratch::Scratch;
use crate::Local;
use crate::disk::{make_directory, write_file};
use crate::error::{Error, Result};
use mica_build::ignore::IgnoreRules;
use mica_model::{Digest, GitSource, HttpSource, Proxies, Timestamp};
use mica_registry::Download;
use mica_snapshot::archive::open_tree_root;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What hides the repository in a checkout.
pub(super) const GIT_DIRECTORY: &str = "**/.git";

/// Something that is brought once, whoever asks first.
type Slot<T> = Arc<Mutex<Option<T>>>;

/// All that was brought of a kind, by what names it.
type Slots<K, T> = Mutex<HashMap<K, Slot<T>>>;

/// What a build has brought.
pub(super) struct Remotes<'a> {
    pub(super) local: &'a Local,
    proxies: &'a Proxies,
    scratch: Mutex<Option<Arc<Scratch>>>,
    files: Slots<String, Arc<WebFile>>,
    commits: Slots<(String, String), Commit>,
    checkouts: Slots<(String, bool, bool), Arc<Checkout>>,
    crew: &'a Crew,
}

/// A file of the web, here.
#[derive(Debug)]
pub(super) struct WebFile {
    /// A directory with nothing but the file.
    pub(super) tree: Arc<Tree>,
    /// Where it is.
    pub(super) path: PathBuf,
    identity: Identity,
}

/// By what a file of the web is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    entity_tag: String,
    digest: String,
    modified: String,
}

/// A repository, here.
#[derive(Debug)]
pub(super) struct Checkout {
    /// Its files.
    pub(super) tree: Arc<Tree>,
    /// Where they are.
    pub(super) directory: PathBuf,
    /// When the commit was made.
    pub(super) committed: Timestamp,
}

impl<'a> Remotes<'a> {
    pub(super) fn new(local: &'a Local, proxies: &'a Proxies, crew: &'a Crew) -> Self {
        Self {
            local,
            proxies,
            scratch: Mutex::default(),
            files: Mutex::default(),
            commits: Mutex::default(),
            checkouts: Mutex::default(),
            crew,
        }
    }

    /// A place for what is brought.
    pub(super) fn scratch(&self) -> Result<Arc<Scratch>> {
        let mut scratch = held(&self.scratch);
        if let Some(scratch) = &*scratch {
            return Ok(Arc::clone(scratch));
        }
        let new = Arc::new(Scratch::new(self.local)?);
        *scratch = Some(Arc::clone(&new));
        Ok(new)
    }

    /// A file of the web.
    pub(super) fn file(&self, source: &HttpSource, checksum: Option<Digest>) -> Result<Arc<WebFile>> {
        let slot = slot(&self.files, source.address.clone());
        let mut place = held(&slot);
        let file = match &*place {
            Some(file) => Arc::clone(file),
            None => {
                let download = self.download(source, None)?;
                let download = download.ok_or_else(|| Error::invalid("an answer without a file"))?;
                Arc::clone(place.insert(Arc::new(self.bring(source, download)?)))
            }
        };
        match checksum.map(|wanted| wanted.to_string()) {
            Some(wanted) if wanted != file.identity.digest => {
                Err(Error::invalid(format!("digest mismatch {}: {wanted}", file.identity.digest)))
            }
            _ => Ok(file),
        }
    }

    /// Something that is the same as long as the file is, and as it is said to be as old as it was.
    pub(super) fn identity(&self, source: &HttpSource, checksum: Option<Digest>) -> Result<String> {
        if let Some(checksum) = checksum {
            return Ok(checksum.to_string());
        }
        let slot = slot(&self.files, source.address.clone());
        let mut place = held(&slot);
        if let Some(file) = &*place {
            return Ok(file.identity.text());
        }
        let known = self.remembered(source);
        match (self.download(source, known.as_ref())?, known) {
            (None, Some(known)) => Ok(known.text()),
            (Some(download), _) => {
                let file = place.insert(Arc::new(self.bring(source, download)?));
                Ok(file.identity.text())
            }
            (None, None) => Err(Error::invalid("an answer without a file")),
        }
    }

    fn download(&self, source: &HttpSource, known: Option<&Identity>) -> Result<Option<Download>> {
        let known = known.map(|known| known.entity_tag.as_str());
        Ok(self.local.registries()?.download(&source.address, known, self.proxies)?)
    }

    /// Writes a file of the web down.
    fn bring(&self, source: &HttpSource, mut download: Download) -> Result<WebFile> {
        let directory = self.scratch()?.directory()?;
        let path = directory.join(source.file_name());
        let fail = |source| Error::io("write", &path, source);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(fail)?;
        let mut whole = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            if self.crew.is_cancelled() {
                return Err(Error::state("the build was given up"));
            }
            match download.read(&mut buffer)? {
                0 => break,
                count => {
                    whole.update(&buffer[..count]);
                    file.write_all(&buffer[..count]).map_err(fail)?;
                }
            }
        }
        let modified = seconds(&download.last_modified).unwrap_or(0);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(modified);
        file.set_modified(time).map_err(fail)?;
        let identity = Identity {
            entity_tag: download.entity_tag,
            digest: Digest::from_bytes(whole.finalize().into()).to_string(),
            modified: download.last_modified,
        };
        self.remember(source, &identity);
        let tree = Arc::new(Tree::of(open_tree_root(&directory)?, IgnoreRules::default()));
        Ok(WebFile { tree, path, identity })
    }

    fn memory_path(&self, source: &HttpSource) -> PathBuf {
        let name = Digest::from_bytes(Sha256::digest(source.address.as_bytes()).into()).hex();
        self.local.disk.build_memory().join(format!("web-{name}"))
    }

    fn remembered(&self, source: &HttpSource) -> Option<Identity> {
        serde_json::from_slice(&std::fs::read(self.memory_path(source)).ok()?).ok()
    }

    fn remember(&self, source: &HttpSource, identity: &Identity) {
        let path = self.memory_path(source);
        if identity.entity_tag.is_empty() {
            // Nobody could tell by it whether the file has changed.
            let _ = std::fs::remove_file(path);
            return;
        }
        // Without it the next build has to download the file to know.
        let _ = make_directory(&self.local.disk.build_memory()).and_then(|()| {
            let text = serde_json::to_vec(identity).unwrap_or_default();
            write_file(&path, &text)
        });
    }

    /// Which commit a source means; asked once in a build.
    pub(super) fn commit(&self, source: &GitSource) -> Result<Commit> {
        let slot = slot(&self.commits, (source.remote.clone(), source.reference.clone()));
        let mut place = held(&slot);
        let commit = match &*place {
            Some(commit) => commit.clone(),
            None => place.insert(git::resolve(self.crew, source)?).clone(),
        };
        git::verify(&commit, &source.checksum)?;
        Ok(commit)
    }

    /// A repository, with or without `.git`.
    pub(super) fn checkout(&self, source: &GitSource, keeps_git_dir: bool) -> Result<Arc<Checkout>> {
        let commit = self.commit(source)?;
        let with_submodules = source.submodules != Some(false);
        let key = (format!("{} {}", source.remote, commit.id), keeps_git_dir, with_submodules);
        let slot = slot(&self.checkouts, key);
        let mut place = held(&slot);
        if let Some(checkout) = &*place {
            return Ok(Arc::clone(checkout));
        }
        let directory = self.scratch()?.tree()?;
        git::check_out(self.crew, source, &commit, &directory)?;
        let committed = Timestamp::from_seconds(git::commit_seconds(self.crew, &directory)?);
        let hidden: &[&str] = if keeps_git_dir { &[] } else { &[GIT_DIRECTORY] };
        let rules = IgnoreRules::from_patterns(hidden).map_err(|error| Error::invalid(error.to_string()))?;
        let tree = Arc::new(Tree::of(open_tree_root(&directory)?, rules));
        Ok(Arc::clone(place.insert(Arc::new(Checkout { tree, directory, committed }))))
    }
}

impl Identity {
    fn text(&self) -> String {
        format!("{} {}", self.digest, self.modified)
    }
}

impl WebFile {
    /// The file, to be read.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.path).map_err(|source| Error::io("read", Path::new("a downloaded file"), source))
    }
}

/// A date of the web in seconds since the epoch.
fn seconds(date: &str) -> Option<u64> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date.trim()).ok()?;
    u64::try_from(parsed.as_second()).ok()
}

fn slot<K: std::hash::Hash + Eq, T>(slots: &Slots<K, T>, key: K) -> Slot<T> {
    Arc::clone(held(slots).entry(key).or_insert_with(|| Arc::new(Mutex::new(None))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_the_web_are_read() {
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(seconds("yesterday"), None);
        assert_eq!(seconds("Wed, 21 Oct 1931 07:28:00 GMT"), None);
    }
}
