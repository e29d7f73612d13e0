//! Keys of steps: digests of everything that decides what a step does.

use crate::image::Root;
use crate::worker::{CopyStep, Mounted, Origin, RunStep};
use mica_model::Digest;
use sha2::{Digest as _, Sha256};

/// A key in the making. Every part has its length before it, so that no two lists of parts are the same text.
#[derive(Debug, Clone)]
pub(crate) struct Key(Sha256);

impl Key {
    /// A key of a kind of step; the number is that of the rules below, which old keys do not know.
    pub(crate) fn new(kind: &str) -> Self {
        Self(Sha256::new()).text("mica-build 1").text(kind)
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
        self
    }

    pub(crate) fn texts<'a>(self, texts: impl IntoIterator<Item = &'a String>) -> Self {
        let mut key = self;
        for text in texts {
            key = key.text("+").text(text);
        }
        key.text(".")
    }

    pub(crate) fn root(self, root: &Root) -> Self {
        let mut key = self;
        for layer in &root.layers {
            key.0.update(layer.as_bytes());
        }
        key.text(".")
    }

    pub(crate) fn debug(self, value: &impl std::fmt::Debug) -> Self {
        self.text(&format!("{value:?}"))
    }

    pub(crate) fn digest(mut self, digest: &Digest) -> Self {
        self.0.update(digest.as_bytes());
        self
    }

    pub(crate) fn finish(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}

/// The key of a copy whose sources have a known digest.
pub(crate) fn of_copy(root: &Root, step: &CopyStep, content: &Digest) -> Digest {
    let nothing = Root::default();
    let root = if step.ignores_root() { &nothing } else { root };
    // Linked and not linked are not the same: one follows links below.
    let key = Key::new("copy").root(root).digest(content).text(&step.destination);
    let keeps_owner = matches!(step.origin, Origin::Root(_));
    key.debug(&(
        step.is_directory,
        &step.owner,
        &step.mode,
        step.with_parents,
        &step.add,
        keeps_owner,
        step.is_independent(),
    ))
    .texts(&step.excludes)
    .finish()
}

/// The key of a copy from layers, which need not be looked into: the same ones have the same files.
pub(crate) fn of_copy_by_layers(root: &Root, step: &CopyStep) -> Option<Digest> {
    let Origin::Root(from) = &step.origin else { return None };
    let content = Key::new("layers").root(from).texts(&step.sources).debug(&step.files).finish();
    Some(of_copy(root, step, &content))
}

/// The key of a command, without the files of contexts that it mounts.
pub(crate) fn of_run(root: &Root, step: &RunStep) -> Key {
    let key = Key::new("run").root(root).texts(&step.arguments).texts(&step.environment);
    let key = key.text(&step.directory).text(&step.user).debug(&step.network).debug(&step.is_insecure);
    let mut key = key.debug(&step.script).debug(&step.devices);
    for mount in &step.mounts {
        key = key.text("mount").text(&mount.target).debug(&mount.is_read_only);
        // What is in a secret or a cache decides nothing, only where it is seen.
        key = match &mount.what {
            Mounted::Files { origin: Origin::Root(root), path } => key.text("files").root(root).text(path),
            Mounted::Files { origin: _, path } => key.text("context").text(path),
            Mounted::Cache(cache) => key.text("cache").text(&cache.id).text(&cache.path),
            Mounted::Memory { size_bytes } => key.text("memory").debug(size_bytes),
            Mounted::Secret { id, variable, access, .. } => {
                key.text("secret").text(id).debug(&(variable, access))
            }
            Mounted::Agent { id, access, .. } => key.text("agent").text(id).debug(access),
        };
    }
    key
}

/// The key of `WORKDIR`.
pub(crate) fn of_directory(root: &Root, path: &str, user: &str) -> Digest {
    Key::new("directory").root(root).text(path).text(user).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = |texts: &[&str]| {
            Key::new("x").texts(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>()).finish()
        };
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
        assert_ne!(Key::new("x").text("+").text("a").finish(), key(&["a"]));
        assert_eq!(key(&["a"]), key(&["a"]));
    }
}
