//! Layers as a whole: hostile archives and their harmless twins, and what comes out again.

mod hostile;
mod layers;

use crate::tar::write::{encode, padding};
use crate::tar::{BLOCK, Entry, EntryKind, Metadata, Time};
use crate::{Error, IngestedLayer, LayerStore, Result};
use std::path::{Path, PathBuf};

/// Builds archives, also impossible ones.
#[derive(Default)]
pub(crate) struct Corpus {
    bytes: Vec<u8>,
}

pub(crate) fn metadata(mode: u32) -> Metadata {
    Metadata { mode, mtime: Time { seconds: 1_000_000_000, nanoseconds: 0 }, ..Metadata::default() }
}

impl Corpus {
    pub(crate) fn entry(&mut self, name: &str, kind: EntryKind, metadata: Metadata) -> &mut Self {
        let name = name.as_bytes().to_vec();
        self.bytes.extend(encode(&Entry { name, kind, metadata, stored: 0, sparse: None }));
        self
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> &mut Self {
        self.file_with(name, content, metadata(0o644))
    }

    pub(crate) fn file_with(&mut self, name: &str, content: &[u8], metadata: Metadata) -> &mut Self {
        let (name, stored) = (name.as_bytes().to_vec(), content.len() as u64);
        self.bytes.extend(encode(&Entry { name, kind: EntryKind::File, metadata, stored, sparse: None }));
        self.bytes.extend(content);
        self.bytes.extend(&[0; BLOCK][..padding(stored)]);
        self
    }

    pub(crate) fn directory(&mut self, name: &str) -> &mut Self {
        self.entry(name, EntryKind::Directory, metadata(0o755))
    }

    pub(crate) fn symlink(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(name, EntryKind::Symlink { target: target.into() }, metadata(0o777))
    }

    pub(crate) fn link(&mut self, name: &str, target: &str) -> &mut Self {
        self.entry(name, EntryKind::HardLink { target: target.into() }, metadata(0o777))
    }

    /// Bytes as they are, filled up to a block.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// An extended header of type `flag` with this text.
    pub(crate) fn extended(&mut self, flag: u8, text: &[u8]) -> &mut Self {
        self.header("ext", flag, &format!("{:011o}\0", text.len()));
        self.raw(text)
    }

    /// A header with any type and any bytes as its size.
    pub(crate) fn header(&mut self, name: &str, flag: u8, size: &str) -> &mut Self {
        let entry = Entry {
            name: name.into(),
            kind: EntryKind::File,
            metadata: metadata(0o644),
            stored: 0,
            sparse: None,
        };
        let mut block = encode(&entry);
        block[156] = flag;
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        self.sealed(block)
    }

    /// A header whose checksum is made right.
    pub(crate) fn sealed(&mut self, mut block: Vec<u8>) -> &mut Self {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.raw(&block)
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        [&self.bytes[..], &[0; BLOCK * 2]].concat()
    }

    pub(crate) fn without_end(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

/// A store, and a canary beside it that nothing may touch.
pub(crate) struct World {
    _scratch: tempfile::TempDir,
    pub(crate) canary: PathBuf,
    pub(crate) store: LayerStore,
}

impl World {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let canary = scratch.path().join("canary");
        std::fs::create_dir(&canary).unwrap();
        std::fs::write(canary.join("secret"), "SECRET").unwrap();
        let store = LayerStore::open(&scratch.path().join("layer")).unwrap();
        Self { canary, store, _scratch: scratch }
    }

    pub(crate) fn ingest(&self, corpus: &Corpus) -> Result<IngestedLayer> {
        self.store.ingest(&corpus.finish()[..])
    }

    /// Ingests, settles on `lowers` (topmost first) and answers the tree, with the layer kept alive.
    pub(crate) fn settled(&self, corpus: &Corpus, lowers: &[PathBuf]) -> Result<IngestedLayer> {
        let mut layer = self.ingest(corpus)?;
        layer.settle(&[], lowers)?;
        Ok(layer)
    }

    /// Nothing outside changed, and a refused layer left nothing.
    pub(crate) fn check(&self) {
        assert_eq!(std::fs::read(self.canary.join("secret")).unwrap(), b"SECRET");
        assert_eq!(std::fs::read_dir(&self.canary).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(self.store.ingests()).unwrap().count(), 0, "leftovers");
    }

    pub(crate) fn refuses(&self, corpus: &Corpus) -> Error {
        self.refuses_bytes(&corpus.finish())
    }

    pub(crate) fn refuses_bytes(&self, bytes: &[u8]) -> Error {
        let error = self.store.ingest(bytes).unwrap_err();
        self.check();
        error
    }
}

pub(crate) fn is_opaque(path: &Path) -> bool {
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value[..]).is_ok()
}

pub(crate) fn is_whiteout(path: &Path) -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let metadata = std::fs::symlink_metadata(path).unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}
