//! Writes the result of a build as an OCI layout: with annotations, and with an index where it is for several platforms.

use crate::error::Result;
use crate::media_type::{OCI_INDEX, OCI_MANIFEST};
use crate::save::{
    ArchiveWriter, Descriptor, DescriptorPlatform, Index, SavedImage, WriteLayer, check_diff_id, docker_item,
    document, manifest, named,
};
use mica_model::{Digest, Reference};
use std::collections::BTreeMap;
use std::io::Write;

/// Notes on the parts of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// On a manifest.
    pub manifest: BTreeMap<String, String>,
    /// On what leads to a manifest.
    pub manifest_descriptor: BTreeMap<String, String>,
    /// On the index.
    pub index: BTreeMap<String, String>,
    /// On what leads to the index.
    pub index_descriptor: BTreeMap<String, String>,
}

/// An image with the notes on it; those on the index are taken from the first.
#[derive(Debug, Clone)]
pub struct AnnotatedImage<'a> {
    /// The image; its names are those of the whole result.
    pub image: SavedImage<'a>,
    /// The notes.
    pub annotations: Annotations,
}

/// Writes a result; answers the digest of its manifest, or of its index if it is for several platforms.
/// `write_layer` is asked once for each layer, also if images share it.
pub fn write_layout(
    images: &[AnnotatedImage<'_>],
    output: &mut dyn Write,
    write_layer: &mut WriteLayer<'_>,
) -> Result<Option<Digest>> {
    let mut archive = ArchiveWriter::new(output);
    archive.directory("blobs/")?;
    archive.directory("blobs/sha256/")?;
    let mut descriptors = Vec::new();
    for AnnotatedImage { image, annotations } in images {
        image.config.check_layer_count(image.layers.len())?;
        for (layer, diff_id) in image.layers.iter().zip(image.config.diff_ids()) {
            check_diff_id(&layer.diff_id, diff_id)?;
            archive.layer(layer, write_layer)?;
        }
        archive.blob(image.config.document())?;
        let mut content = manifest(image);
        content.annotations.clone_from(&annotations.manifest);
        let content = document(&content, "manifest")?;
        archive.blob(&content)?;
        descriptors.push(Descriptor {
            media_type: OCI_MANIFEST,
            digest: *content.digest(),
            size: content.bytes().len() as u64,
            annotations: annotations.manifest_descriptor.clone(),
            platform: Some(DescriptorPlatform::of(image.config)),
        });
    }
    let names: &[Reference] = images.first().map_or(&[], |first| &first.image.names);
    let has_index = images.len() > 1 || images.iter().any(|image| !image.annotations.index.is_empty());
    let (top, result) = match (has_index, images.first(), descriptors.first().cloned()) {
        (true, Some(first), _) => {
            let annotations = first.annotations.index.clone();
            let index =
                Index { schema_version: 2, media_type: OCI_INDEX, manifests: descriptors, annotations };
            let index = document(&index, "index")?;
            archive.blob(&index)?;
            let descriptor = Descriptor {
                media_type: OCI_INDEX,
                digest: *index.digest(),
                size: index.bytes().len() as u64,
                annotations: first.annotations.index_descriptor.clone(),
                platform: None,
            };
            (named(names, &descriptor), Some(*index.digest()))
        }
        (_, _, Some(only)) => (named(names, &only), Some(only.digest)),
        (_, _, None) => (Vec::new(), None),
    };
    let top =
        Index { schema_version: 2, media_type: OCI_INDEX, manifests: top, annotations: BTreeMap::new() };
    archive.file("index.json", document(&top, "index.json")?.bytes())?;
    if let ([only], false) = (images, has_index) {
        // Docker's own list cannot tell platforms apart.
        archive.file("manifest.json", document(&[docker_item(&only.image)], "manifest.json")?.bytes())?;
    }
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.finish()?;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{ArchiveOptions, read_archive};
    use crate::config::{History, NewImage};
    use crate::document::digest_of;
    use crate::platform::Platform;
    use crate::save::LayerSource;
    use std::fs::File;
    use std::io::Seek;

    fn config(architecture: &str) -> crate::ImageConfig {
        let mut new =
            NewImage { architecture: architecture.into(), os: "linux".into(), ..NewImage::default() };
        new.push_layer(digest_of(architecture.as_bytes()), History::default());
        new.into_config().unwrap()
    }

    #[test]
    fn each_platform_finds_its_image_and_notes_lie_where_they_belong() {
        let configs = ["amd64", "arm64"].map(config);
        let names = vec![Reference::parse_normalized("app:1").unwrap()];
        let note = |text: &str| BTreeMap::from([("note".to_owned(), text.to_owned())]);
        let images: Vec<_> = configs
            .iter()
            .map(|config| {
                let size = config.architecture().len() as u64;
                let layers = vec![LayerSource { diff_id: config.diff_ids()[0], size }];
                let annotations = Annotations {
                    manifest: note("m"),
                    manifest_descriptor: note("md"),
                    index: note("i"),
                    index_descriptor: note("id"),
                };
                AnnotatedImage { image: SavedImage { config, names: names.clone(), layers }, annotations }
            })
            .collect();
        let mut bytes = Vec::new();
        let written = write_layout(&images, &mut bytes, &mut |layer, output| {
            let own = configs.iter().find(|config| config.diff_ids()[0] == layer.diff_id).unwrap();
            output.write_all(own.architecture().as_bytes())
        });
        assert!(written.unwrap().is_some());
        let text = String::from_utf8_lossy(&bytes);
        for part in [
            r#""annotations":{"note":"m"}"#,
            r#""note":"md""#,
            r#""annotations":{"note":"i"}"#,
            r#""note":"id""#,
        ] {
            assert!(text.contains(part), "{part}");
        }
        let directory = tempfile::tempdir().unwrap();
        for config in &configs {
            let path = directory.path().join("a.tar");
            let mut file =
                File::options().create(true).read(true).write(true).truncate(true).open(path).unwrap();
            file.write_all(&bytes).unwrap();
            file.rewind().unwrap();
            let platform = Platform {
                os: "linux".to_owned(),
                architecture: config.architecture().to_owned(),
                variant: String::new(),
            };
            let options = ArchiveOptions { spool_directory: directory.path(), platform: &platform };
            let read = read_archive(file, &options).unwrap();
            assert_eq!(read.len(), 1);
            assert_eq!(read[0].config.id(), config.id());
            assert_eq!(read[0].names[0].familiar(), "app:1");
        }
    }
}
