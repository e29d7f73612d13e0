//! Writes archives that docker, podman and skopeo read: an OCI layout with docker's
//! `manifest.json` beside it, as docker 25 and later write.
//!
//! ```text
//! blobs/sha256/<hex>   layers (uncompressed, so that digest and diffID are the same), configs, manifests
//! index.json           OCI: one descriptor per name
//! manifest.json        docker: config, names and layers by path
//! oci-layout
//! ```
//!
//! The same images give the same bytes: entries have a fixed order, no owner and no time.

use crate::config::ImageConfig;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::layer::Promise;
use crate::media_type::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use mica_model::{Digest, Reference};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, BufWriter, Read, Write};

/// How much is gathered for the output at least, in bytes; larger pieces go there without a copy.
const BUFFER_SIZE: usize = 64 << 10;
/// What a tar archive is a multiple of, in bytes.
const BLOCK: u64 = 512;

/// A layer to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSource {
    /// The digest of its tar archive.
    pub diff_id: Digest,
    /// The length of its tar archive in bytes, which has to be known before the first of them.
    pub size: u64,
}

/// An image to be written.
#[derive(Debug, Clone)]
pub struct SavedImage<'a> {
    /// Its config.
    pub config: &'a ImageConfig,
    /// Its names that shall be in the archive; may be none.
    pub names: Vec<Reference>,
    /// Its layers, base first, as many as the config has diffIDs.
    pub layers: Vec<LayerSource>,
}

/// Writes the tar archive of a layer: exactly its size, exactly its digest. The size is checked here;
/// the digest is for the writer to check, who hashes while it reads files: twice would cost as much
/// as all the rest.
pub type WriteLayer<'a> = dyn FnMut(&LayerSource, &mut dyn Write) -> io::Result<()> + 'a;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: &'static str,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<DescriptorPlatform>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct DescriptorPlatform {
    architecture: String,
    os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u8,
    pub(crate) media_type: &'static str,
    pub(crate) manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerItem {
    config: String,
    /// Null if there are none, as docker writes it.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes `images` to `output`. `write_layer` is asked once for each layer, also if images share it.
pub fn write_archive(
    images: &[SavedImage<'_>],
    output: &mut dyn Write,
    write_layer: &mut WriteLayer<'_>,
) -> Result<()> {
    let mut archive = ArchiveWriter::new(output);
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    let mut manifests = Vec::new();
    let mut items = Vec::new();
    for image in images {
        image.config.check_layer_count(image.layers.len())?;
        for (layer, diff_id) in image.layers.iter().zip(image.config.diff_ids()) {
            check_diff_id(&layer.diff_id, diff_id)?;
            archive.layer(layer, write_layer)?;
        }
        archive.blob(image.config.document())?;
        let manifest = document(&manifest(image), "manifest")?;
        archive.blob(&manifest)?;
        manifests.extend(descriptors(image, &manifest));
        items.push(docker_item(image));
    }
    let media_type = crate::media_type::OCI_INDEX;
    let index = Index { schema_version: 2, media_type, manifests, annotations: BTreeMap::new() };
    archive.file("index.json", document(&index, "index.json")?.bytes())?;
    archive.file("manifest.json", document(&items, "manifest.json")?.bytes())?;
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.finish()
}

/// The manifest of an image whose layers lie somewhere compressed: media type, digest and size of each,
/// base first; with its own media type.
pub fn write_manifest(
    config: &ImageConfig,
    layers: &[(&str, Digest, u64)],
) -> Result<(Document, &'static str)> {
    write_annotated_manifest(config, layers, &BTreeMap::new())
}

/// The same with notes on it.
pub fn write_annotated_manifest(
    config: &ImageConfig,
    layers: &[(&str, Digest, u64)],
    annotations: &BTreeMap<String, String>,
) -> Result<(Document, &'static str)> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Layer<'a> {
        media_type: &'a str,
        digest: Digest,
        size: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Compressed<'a> {
        schema_version: u8,
        media_type: &'static str,
        config: Layer<'a>,
        layers: Vec<Layer<'a>>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: &'a BTreeMap<String, String>,
    }
    let layer = |&(media_type, digest, size): &(_, _, _)| Layer { media_type, digest, size };
    let size = config.document().bytes().len() as u64;
    let manifest = Compressed {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        config: Layer { media_type: OCI_CONFIG, digest: *config.id(), size },
        layers: layers.iter().map(layer).collect(),
        annotations,
    };
    Ok((document(&manifest, "manifest")?, OCI_MANIFEST))
}

pub(crate) fn document(content: &impl Serialize, what: &str) -> Result<Document> {
    let bytes =
        serde_json::to_vec(content).map_err(|source| Error::Document { what: what.to_owned(), source })?;
    Ok(Document::from_bytes(bytes))
}

pub(crate) fn check_diff_id(actual: &Digest, expected: &Digest) -> Result<()> {
    if actual == expected {
        return Ok(());
    }
    Err(Error::DigestMismatch {
        what: "a layer to be saved".to_owned(),
        expected: *expected,
        actual: *actual,
    })
}

pub(crate) fn manifest(image: &SavedImage<'_>) -> Manifest {
    let describe = |media_type, digest, size| Descriptor {
        media_type,
        digest,
        size,
        annotations: BTreeMap::new(),
        platform: None,
    };
    Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST,
        config: describe(OCI_CONFIG, *image.config.id(), image.config.bytes().len() as u64),
        layers: image.layers.iter().map(|layer| describe(OCI_LAYER, layer.diff_id, layer.size)).collect(),
        annotations: BTreeMap::new(),
    }
}

/// One descriptor per name, or one without a name.
fn descriptors(image: &SavedImage<'_>, manifest: &Document) -> Vec<Descriptor> {
    let nameless = Descriptor {
        media_type: OCI_MANIFEST,
        digest: *manifest.digest(),
        size: manifest.bytes().len() as u64,
        annotations: BTreeMap::new(),
        platform: Some(DescriptorPlatform::of(image.config)),
    };
    named(&image.names, &nameless)
}

/// The descriptor under each of the names, or once without one.
pub(crate) fn named(names: &[Reference], nameless: &Descriptor) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![nameless.clone()];
    }
    let named = |name: &Reference| {
        let mut descriptor = nameless.clone();
        descriptor.annotations.insert("io.containerd.image.name".to_owned(), name.to_string());
        let tag = name.tag().unwrap_or_default().to_owned();
        descriptor.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag);
        descriptor
    };
    names.iter().map(named).collect()
}

impl DescriptorPlatform {
    pub(crate) fn of(config: &ImageConfig) -> Self {
        Self {
            architecture: config.architecture().to_owned(),
            os: config.os().to_owned(),
            variant: config.variant().to_owned(),
        }
    }
}

pub(crate) fn docker_item(image: &SavedImage<'_>) -> DockerItem {
    let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    DockerItem {
        config: blob_name(image.config.id()),
        repo_tags: Some(names).filter(|names| !names.is_empty()),
        layers: image.layers.iter().map(|layer| blob_name(&layer.diff_id)).collect(),
    }
}

pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

pub(crate) struct ArchiveWriter<W: Write> {
    output: BufWriter<W>,
    written: HashSet<Digest>,
}

impl<W: Write> ArchiveWriter<W> {
    pub(crate) fn new(output: W) -> Self {
        Self { output: BufWriter::with_capacity(BUFFER_SIZE, output), written: HashSet::new() }
    }

    pub(crate) fn directory(&mut self, name: &str) -> Result<()> {
        self.header(name, 0, tar::EntryType::Directory)
    }

    fn header(&mut self, name: &str, size: u64, kind: tar::EntryType) -> Result<()> {
        let failed = |source| Error::Write { source };
        let mut header = tar::Header::new_gnu();
        header.set_path(name).map_err(failed)?;
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        self.output.write_all(header.as_bytes()).map_err(failed)
    }

    fn padding(&mut self, size: u64) -> Result<()> {
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        let missing = size.next_multiple_of(BLOCK) - size;
        let zeros = &ZEROS[..usize::try_from(missing).unwrap_or_default()];
        self.output.write_all(zeros).map_err(|source| Error::Write { source })
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let size = content.len() as u64;
        self.header(name, size, tar::EntryType::Regular)?;
        self.output.write_all(content).map_err(|source| Error::Write { source })?;
        self.padding(size)
    }

    pub(crate) fn blob(&mut self, document: &Document) -> Result<()> {
        if !self.written.insert(*document.digest()) {
            return Ok(());
        }
        self.file(&blob_name(document.digest()), document.bytes())
    }

    pub(crate) fn layer(&mut self, layer: &LayerSource, write_layer: &mut WriteLayer<'_>) -> Result<()> {
        if !self.written.insert(layer.diff_id) {
            return Ok(());
        }
        self.header(&blob_name(&layer.diff_id), layer.size, tar::EntryType::Regular)?;
        let mut checked = CheckedWriter { output: &mut self.output, size: 0, promised: layer.size };
        write_layer(layer, &mut checked).map_err(|source| Error::Write { source })?;
        let size = checked.size;
        if size != layer.size {
            let what = format!("layer {}", layer.diff_id);
            return Err(Error::SizeMismatch { what, expected: layer.size, actual: size });
        }
        self.padding(size)
    }

    pub(crate) fn is_written(&self, digest: &Digest) -> bool {
        self.written.contains(digest)
    }

    /// Writes a blob as it comes, whose reader compares it with its digest.
    pub(crate) fn stream(&mut self, promise: Promise, reader: &mut dyn Read) -> Result<()> {
        if !self.written.insert(promise.digest) {
            return Ok(());
        }
        self.header(&blob_name(&promise.digest), promise.size, tar::EntryType::Regular)?;
        let mut checked = CheckedWriter { output: &mut self.output, size: 0, promised: promise.size };
        io::copy(reader, &mut checked).map_err(|source| Error::Write { source })?;
        let actual = checked.size;
        if actual != promise.size {
            let what = format!("blob {}", promise.digest);
            return Err(Error::SizeMismatch { what, expected: promise.size, actual });
        }
        self.padding(promise.size)
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.output
            .write_all(&[0; 2 * BLOCK as usize])
            .and_then(|()| self.output.flush())
            .map_err(|source| Error::Write { source })
    }
}

/// Counts a layer's bytes on their way. More than was promised is refused at once, as it would be
/// taken for entries of the archive.
struct CheckedWriter<'a, W: Write> {
    output: &'a mut BufWriter<W>,
    size: u64,
    promised: u64,
}

impl<W: Write> Write for CheckedWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.promised - self.size {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a layer is longer than its record says"));
        }
        let count = self.output.write(bytes)?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{ArchiveOptions, read_archive};
    use crate::config::{History, NewImage};
    use crate::document::digest_of;
    use crate::platform::Platform;
    use std::io::Read;

    const CONTENTS: [&[u8]; 2] = [b"base layer", b"top"];

    fn image(count: usize) -> (ImageConfig, Vec<LayerSource>) {
        let mut new = NewImage { architecture: "amd64".into(), os: "linux".into(), ..NewImage::default() };
        let mut layers = Vec::new();
        for content in &CONTENTS[..count] {
            new.push_layer(digest_of(content), History::default());
            layers.push(LayerSource { diff_id: digest_of(content), size: content.len() as u64 });
        }
        (new.into_config().unwrap(), layers)
    }

    fn save(images: &[SavedImage<'_>]) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut asked = 0;
        write_archive(images, &mut bytes, &mut |layer, output| {
            asked += 1;
            let content = CONTENTS.iter().find(|content| digest_of(content) == layer.diff_id).unwrap();
            output.write_all(content)
        })
        .unwrap();
        (bytes, asked)
    }

    fn names(texts: &[&str]) -> Vec<Reference> {
        texts.iter().map(|text| Reference::parse_normalized(text).unwrap()).collect()
    }

    #[test]
    fn reads_back_what_was_saved_and_shares_layers() {
        let ((one, one_layers), (two, two_layers)) = (image(1), image(2));
        let images = [
            SavedImage { config: &one, names: names(&["one:1", "x.y/one:2"]), layers: one_layers },
            SavedImage { config: &two, names: Vec::new(), layers: two_layers },
        ];
        let (bytes, asked) = save(&images);
        assert_eq!(asked, 2);
        assert_eq!(save(&images).0, bytes);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive.tar");
        // With manifest.json it is docker's archive; with that name spoilt, an OCI layout.
        let spoilt = spoil(&bytes);
        for archive in [&bytes, &spoilt] {
            std::fs::write(&path, archive).unwrap();
            let platform = Platform { architecture: "amd64".to_owned(), ..Platform::host() };
            let options = ArchiveOptions { spool_directory: directory.path(), platform: &platform };
            let read = read_archive(std::fs::File::open(&path).unwrap(), &options).unwrap();
            assert_eq!((read[0].config.id(), read[1].config.id()), (one.id(), two.id()));
            assert_eq!(read[0].names, images[0].names);
            assert!(read[1].names.is_empty());
            let mut content = Vec::new();
            read[1].layers[1].reader().unwrap().read_to_end(&mut content).unwrap();
            assert_eq!(content, CONTENTS[1]);
        }
    }

    fn spoil(bytes: &[u8]) -> Vec<u8> {
        let mut spoilt = bytes.to_vec();
        let place = bytes.windows(13).position(|window| window == b"manifest.json").unwrap();
        // Swapping two letters keeps the header's checksum.
        spoilt.swap(place, place + 1);
        spoilt
    }

    #[test]
    fn refuses_layers_of_another_size_than_promised() {
        let (config, layers) = image(1);
        let images = [SavedImage { config: &config, names: Vec::new(), layers }];
        for content in [&b"base laye"[..], b"base layer!"] {
            let result = write_archive(&images, &mut io::sink(), &mut |_, output| output.write_all(content));
            assert!(result.is_err(), "{}", String::from_utf8_lossy(content));
        }
        let none = [SavedImage { config: &config, names: Vec::new(), layers: Vec::new() }];
        assert!(matches!(
            write_archive(&none, &mut io::sink(), &mut |_, _| Ok(())),
            Err(Error::LayerCount { .. })
        ));
    }
}
