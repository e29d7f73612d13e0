//! Writes OCI layouts of blobs that come as they are: into a directory, beside what is in it, or as an archive.

use crate::document::Document;
use crate::error::{Error, Result};
use crate::layer::{Promise, PromisedReader};
use crate::manifest::Manifest;
use crate::media_type::OCI_INDEX;
use crate::save::{ArchiveWriter, blob_name};
use mica_model::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What says that a directory is a layout.
const MARK: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The list of images.
const INDEX: &str = "index.json";
/// The annotation with the name of an image.
const NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation with its name in full, which is containerd's.
const FULL_NAME: &str = "io.containerd.image.name";

/// Numbers the files that are being written by this process.
static UNFINISHED: AtomicU64 = AtomicU64::new(0);

/// The image that a layout is written for.
#[derive(Debug, Clone, Copy)]
pub struct LayoutTop<'a> {
    /// Its manifest or index.
    pub document: &'a Document,
    /// What that is.
    pub media_type: &'a str,
    /// Its name there, which may be a tag alone; may be empty.
    pub name: &'a str,
    /// Its name in full; may be empty.
    pub full_name: &'a str,
}

impl LayoutTop<'_> {
    fn descriptor(&self) -> Value {
        let (digest, size) = (self.document.digest(), self.document.bytes().len());
        let mut descriptor = json!({"mediaType": self.media_type, "digest": digest, "size": size});
        let notes = [(FULL_NAME, self.full_name), (NAME, self.name)];
        let notes: BTreeMap<_, _> = notes.into_iter().filter(|(_, name)| !name.is_empty()).collect();
        if !notes.is_empty() {
            descriptor["annotations"] = json!(notes);
        }
        descriptor
    }
}

fn index(manifests: &[Value]) -> Result<Document> {
    let content = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    crate::save::document(&content, INDEX)
}

/// A layout in a directory. Blobs appear whole or not at all; the image is listed last.
#[derive(Debug)]
pub struct LayoutDirectory {
    root: PathBuf,
    blobs: PathBuf,
}

impl LayoutDirectory {
    /// Opens a layout, or makes one in a directory that is empty or not there.
    pub fn open(root: &Path) -> Result<Self> {
        let blobs = root.join("blobs/sha256");
        let is_layout = root.join("oci-layout").exists();
        let is_empty = fs::read_dir(root).map_or(true, |mut entries| entries.next().is_none());
        if !is_layout && !is_empty {
            let what = root.display().to_string();
            return Err(Error::invalid(what, "the directory is no OCI layout, and not empty"));
        }
        fs::create_dir_all(&blobs).map_err(|source| Error::file("create directory", &blobs, source))?;
        if !is_layout {
            fs::write(root.join("oci-layout"), MARK)
                .map_err(|source| Error::file("write", root.join("oci-layout"), source))?;
        }
        Ok(Self { root: root.to_owned(), blobs })
    }

    /// Whether a blob is there and is what its name says.
    pub fn has_blob(&self, promise: Promise) -> bool {
        let opened = File::open(self.blobs.join(promise.digest.hex()));
        opened.is_ok_and(|file| io::copy(&mut PromisedReader::new(file, promise), &mut io::sink()).is_ok())
    }

    /// Writes a blob, whose reader compares it with its digest.
    pub fn blob(&self, digest: &Digest, reader: &mut dyn Read) -> Result<()> {
        self.place(&self.blobs.join(digest.hex()), reader)
    }

    /// Lists an image, whose parts are there, instead of any that has had its name.
    pub fn finish(&self, top: &LayoutTop<'_>) -> Result<()> {
        let path = self.root.join(INDEX);
        let before = match fs::read(&path) {
            Ok(bytes) => Document::from_bytes(bytes).parse::<Value>(INDEX)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Value::Null,
            Err(source) => return Err(Error::file("read", path, source)),
        };
        let own = top.descriptor();
        let is_replaced = |other: &Value| {
            let name = |descriptor: &Value| descriptor["annotations"][NAME].as_str().map(str::to_owned);
            name(other) == name(&own) && (!top.name.is_empty() || other["digest"] == own["digest"])
        };
        let mut manifests = before["manifests"].as_array().cloned().unwrap_or_default();
        manifests.retain(|other| !is_replaced(other));
        manifests.push(own);
        self.place(&path, &mut index(&manifests)?.bytes())
    }

    fn place(&self, path: &Path, reader: &mut dyn Read) -> Result<()> {
        let failed = |source| Error::file("write", path, source);
        let number = UNFINISHED.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(format!(".unfinished-{}-{number}", std::process::id()));
        let mut file = File::options().write(true).create_new(true).open(&unfinished).map_err(failed)?;
        let mut buffered = BufReader::with_capacity(256 << 10, reader);
        let written = io::copy(&mut buffered, &mut file).and_then(|_| fs::rename(&unfinished, path));
        written.map_err(|source| {
            // Whether or not it can be taken away, the failure is the one to tell.
            let _ = fs::remove_file(&unfinished);
            failed(source)
        })
    }
}

/// A layout as an archive, written from its beginning to its end.
pub struct LayoutArchive<W: Write> {
    archive: ArchiveWriter<W>,
}

impl<W: Write> std::fmt::Debug for LayoutArchive<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LayoutArchive").finish_non_exhaustive()
    }
}

impl<W: Write> LayoutArchive<W> {
    /// Begins one.
    pub fn new(output: W) -> Result<Self> {
        let mut archive = ArchiveWriter::new(output);
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        Ok(Self { archive })
    }

    /// Whether a blob has been written.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.archive.is_written(digest)
    }

    /// Writes a blob, whose reader compares it with its digest.
    pub fn blob(&mut self, promise: Promise, reader: &mut dyn Read) -> Result<()> {
        self.archive.stream(promise, reader)
    }

    /// Lists the image, whose parts are there, and ends the archive. With its names for docker, if it is a single
    /// manifest that docker is to load.
    pub fn finish(mut self, top: &LayoutTop<'_>, docker: Option<(&Manifest, &[String])>) -> Result<()> {
        self.archive.file(INDEX, index(&[top.descriptor()])?.bytes())?;
        if let Some((manifest, names)) = docker {
            let layers = manifest.layers().iter();
            let layers: Vec<String> =
                layers.map(|layer| layer.digest().map(|digest| blob_name(&digest))).collect::<Result<_>>()?;
            let config = blob_name(&manifest.config.digest()?);
            let item = json!([{"Config": config, "RepoTags": names, "Layers": layers}]);
            self.archive.file("manifest.json", crate::save::document(&item, "manifest.json")?.bytes())?;
        }
        self.archive.file("oci-layout", MARK)?;
        self.archive.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::Layout;
    use crate::document::digest_of;
    use crate::media_type::OCI_MANIFEST;

    fn manifest(number: u32) -> Document {
        Document::from_bytes(format!("{{\"number\":{number}}}").into_bytes())
    }

    fn top<'a>(document: &'a Document, name: &'a str) -> LayoutTop<'a> {
        LayoutTop { document, media_type: OCI_MANIFEST, name, full_name: "" }
    }

    #[test]
    fn a_directory_keeps_its_other_images() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("layout");
        for (number, name) in [(1, "one"), (2, "two"), (3, "one"), (4, ""), (4, "")] {
            let layout = LayoutDirectory::open(&root).unwrap();
            let document = manifest(number);
            layout.blob(document.digest(), &mut document.bytes()).unwrap();
            layout.finish(&top(&document, name)).unwrap();
        }
        let open = || Layout::open(File::open(&root).unwrap(), directory.path()).unwrap().unwrap();
        let read = |name| open().document(&open().named(name).unwrap()).unwrap();
        assert_eq!(read("one"), manifest(3));
        assert_eq!(read("two"), manifest(2));
        assert!(open().named("three").is_err() && open().named("").is_err());
        let listed: Value = serde_json::from_slice(&fs::read(root.join(INDEX)).unwrap()).unwrap();
        assert_eq!(listed["manifests"].as_array().unwrap().len(), 3);
        let blob = manifest(1);
        let promise = Promise { digest: *blob.digest(), size: blob.bytes().len() as u64 };
        let layout = LayoutDirectory::open(&root).unwrap();
        assert!(layout.has_blob(promise) && !layout.has_blob(Promise { digest: digest_of(b"x"), size: 1 }));
        fs::write(root.join("blobs/sha256").join(blob.digest().hex()), b"other").unwrap();
        assert!(!layout.has_blob(promise));
        fs::write(directory.path().join("stray"), "").unwrap();
        assert!(LayoutDirectory::open(directory.path()).is_err());
    }

    #[test]
    fn an_archive_is_read_back_and_refuses_what_was_not_promised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        let document = manifest(1);
        let mut archive = LayoutArchive::new(File::create(&path).unwrap()).unwrap();
        let promise = Promise { digest: *document.digest(), size: document.bytes().len() as u64 };
        archive.blob(promise, &mut document.bytes()).unwrap();
        assert!(archive.has_blob(document.digest()));
        archive.finish(&top(&document, "v1"), None).unwrap();
        let layout = Layout::open(File::open(&path).unwrap(), directory.path()).unwrap().unwrap();
        assert_eq!(layout.document(&layout.named("v1").unwrap()).unwrap(), document);
        let mut content = Vec::new();
        layout.blob(&promise.digest, promise.size).unwrap().read_to_end(&mut content).unwrap();
        assert_eq!(content, document.bytes());
        let mut archive = LayoutArchive::new(io::sink()).unwrap();
        assert!(archive.blob(Promise { size: 3, ..promise }, &mut &b"ab"[..]).is_err());
        let mut archive = LayoutArchive::new(io::sink()).unwrap();
        assert!(archive.blob(Promise { size: 1, ..promise }, &mut &b"ab"[..]).is_err());
    }
}
