//! Tests of whole archives, made in memory.

use super::fixture::{self, Tar};
use super::*;
use crate::document::digest_of;
use crate::error::Error;
use mica_model::Digest;
use std::io::{Read, Write};

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn config(diff_ids: &[Digest]) -> Vec<u8> {
    let diff_ids: Vec<String> = diff_ids.iter().map(Digest::to_string).collect();
    serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}})
        .to_string()
        .into_bytes()
}

fn blob(tar: Tar, content: &[u8]) -> (Tar, String) {
    let digest = digest_of(content);
    (tar.file(&format!("blobs/sha256/{}", digest.hex()), content), digest.to_string())
}

fn open(bytes: &[u8]) -> Result<Vec<ArchiveImage>> {
    open_file(fixture::file(bytes))
}

fn open_file(file: File) -> Result<Vec<ArchiveImage>> {
    let directory = tempfile::tempdir().unwrap();
    let platform =
        Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: String::new() };
    read_archive(file, &ArchiveOptions { spool_directory: directory.path(), platform: &platform })
}

fn content(layer: &ArchiveLayer) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    layer.reader().map_err(std::io::Error::other)?.read_to_end(&mut content)?;
    Ok(content)
}

/// A docker archive as it was before OCI layouts, its second layer a link to the first.
fn legacy() -> Vec<u8> {
    let layer = b"layer".as_slice();
    let config = config(&[digest_of(layer), digest_of(layer)]);
    Tar::new()
        .file("c.json", &config)
        .file("one/layer.tar", layer)
        .link(b'2', "two/layer.tar", "../one/layer.tar")
        .file("manifest.json", br#"[{"Config":"c.json","RepoTags":["busybox:1","x.y/z"],"Layers":["one/layer.tar","two/layer.tar"]}]"#)
        .finish()
}

/// An OCI layout with one gzip layer; `change` may damage the descriptors.
fn layout(stored: &[u8], diff_id: Digest, change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let (tar, config_digest) = blob(Tar::new(), &config(&[diff_id]));
    let (tar, layer_digest) = blob(tar, stored);
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": crate::media_type::OCI_CONFIG, "digest": config_digest, "size": config(&[diff_id]).len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer_digest, "size": stored.len()}],
    });
    change(&mut manifest);
    let manifest = manifest.to_string().into_bytes();
    let (tar, manifest_digest) = blob(tar, &manifest);
    let manifest_type = crate::media_type::OCI_MANIFEST;
    let nested = serde_json::json!({"manifests": [
        {"mediaType": manifest_type, "digest": digest_of(b"arm").to_string(), "size": 1, "platform": {"os": "linux", "architecture": "arm64"}},
        {"mediaType": manifest_type, "digest": manifest_digest, "size": manifest.len(), "platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": manifest_type, "digest": digest_of(b"att").to_string(), "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}},
    ]});
    let nested = nested.to_string().into_bytes();
    let (tar, nested_digest) = blob(tar, &nested);
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [
        {"mediaType": crate::media_type::OCI_INDEX, "digest": nested_digest, "size": nested.len(),
         "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/app:v1"}},
        {"mediaType": manifest_type, "digest": manifest_digest, "size": manifest.len(),
         "annotations": {"io.containerd.image.name": "docker.io/library/app:v2", "org.opencontainers.image.ref.name": "v2"}},
    ]});
    tar.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string().as_bytes())
        .finish()
}

#[test]
fn reads_old_docker_archives_plain_and_compressed() {
    for bytes in [legacy(), gzip(&legacy()), zstd::encode_all(&legacy()[..], 1).unwrap()] {
        let images = open(&bytes).unwrap();
        let [image] = &images[..] else { panic!("{images:?}") };
        let names: Vec<String> = image.names.iter().map(Reference::to_string).collect();
        assert_eq!(names, ["docker.io/library/busybox:1", "x.y/z:latest"]);
        assert_eq!(content(&image.layers[0]).unwrap(), b"layer");
        assert_eq!(content(&image.layers[1]).unwrap(), b"layer");
    }
}

#[test]
fn reads_from_a_pipe_and_from_the_middle_of_a_file() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let thread = std::thread::spawn(move || writer.write_all(&legacy()));
    let images = open_file(File::from(std::os::fd::OwnedFd::from(reader))).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(content(&images[0].layers[0]).unwrap(), b"layer");
    let file = fixture::file(&[b"before".as_slice(), &legacy()].concat());
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(6)).unwrap();
    assert_eq!(content(&open_file(file).unwrap()[0].layers[1]).unwrap(), b"layer");
}

#[test]
fn reads_oci_layouts_through_nested_indexes() {
    let bytes = layout(&gzip(b"layer"), digest_of(b"layer"), |_| {});
    let images = open(&bytes).unwrap();
    let [image] = &images[..] else { panic!("{images:?}") };
    let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
    assert_eq!(names, ["app:v1", "app:v2"]);
    assert_eq!(content(&image.layers[0]).unwrap(), b"layer");
    assert!(image.manifest.is_some());
}

#[test]
fn tar_22_a_layer_that_is_not_its_digest_is_an_error_at_its_end() {
    let stored = gzip(b"layer");
    let bytes = layout(&stored, digest_of(b"layer"), |_| {});
    let place = bytes.windows(stored.len()).position(|window| window == stored).unwrap();
    let mut damaged = bytes;
    // The gzip header's time stamp: still a sound stream with the same content.
    damaged[place + 4] ^= 1;
    let images = open(&damaged).unwrap();
    let error = content(&images[0].layers[0]).unwrap_err();
    assert!(error.to_string().contains("as promised"), "{error}");
}

#[test]
fn tar_23_junk_after_a_gzip_layer_counts_for_its_digest_only() {
    let stored = [gzip(b"layer").as_slice(), b"\0\0junk"].concat();
    let images = open(&layout(&stored, digest_of(b"layer"), |_| {})).unwrap();
    assert_eq!(content(&images[0].layers[0]).unwrap(), b"layer");
}

#[test]
fn refuses_descriptors_that_lie() {
    let reject = |change: &dyn Fn(&mut serde_json::Value)| {
        open(&layout(&gzip(b"layer"), digest_of(b"layer"), change)).unwrap_err()
    };
    let size = reject(&|manifest| manifest["layers"][0]["size"] = 1.into());
    assert!(matches!(size, Error::SizeMismatch { .. }), "{size}");
    let digest = reject(&|manifest| manifest["config"]["digest"] = "sha256:../../x".into());
    assert!(matches!(digest, Error::Digest { .. }), "{digest}");
    let foreign = reject(&|manifest| {
        manifest["layers"][0]["mediaType"] =
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
    });
    assert!(matches!(foreign, Error::MediaType { .. }), "{foreign}");
    let fewer = reject(&|manifest| manifest["layers"] = serde_json::json!([]));
    assert!(matches!(fewer, Error::LayerCount { layers: 0, diff_ids: 1, .. }), "{fewer}");
    let missing = reject(&|manifest| manifest["layers"][0]["digest"] = digest_of(b"?").to_string().into());
    assert!(matches!(missing, Error::EntryMissing { .. }), "{missing}");
}

#[test]
fn tar_30_and_32_paths_of_a_docker_archive_stay_inside() {
    let manifest = |config: &str, layer: &str, tag: &str| {
        let item = serde_json::json!([{"Config": config, "RepoTags": [tag], "Layers": [layer]}]);
        Tar::new()
            .file("c.json", &self::config(&[digest_of(b"x")]))
            .file("l", b"x")
            .link(b'2', "link", "/etc/passwd")
            .file("manifest.json", item.to_string().as_bytes())
            .finish()
    };
    assert!(open(&manifest("c.json", "l", "ok:1")).is_ok());
    for (config, layer) in [("../../etc/passwd", "l"), ("c.json", "../../etc/passwd"), ("c.json", "link")] {
        let error = open(&manifest(config, layer, "ok:1")).unwrap_err();
        assert!(matches!(error, Error::EntryOutside { .. }), "{error}");
    }
    let error = open(&manifest("/etc/hostname", "l", "ok:1")).unwrap_err();
    assert!(matches!(error, Error::EntryMissing { .. }), "{error}");
    for tag in ["a:\u{1b}[31m", "../x", "UPPER", ""] {
        assert!(matches!(open(&manifest("c.json", "l", tag)), Err(Error::Name { .. })), "{tag:?}");
    }
}

#[test]
fn tar_31_other_layers_than_the_config_lists_are_an_error() {
    let config = config(&[]);
    let bytes = Tar::new()
        .file("c.json", &config)
        .file("l", b"x")
        .file("manifest.json", br#"[{"Config":"c.json","RepoTags":null,"Layers":["l"]}]"#)
        .finish();
    assert!(matches!(open(&bytes), Err(Error::LayerCount { layers: 1, diff_ids: 0, .. })));
}

#[test]
fn says_what_is_no_archive() {
    assert!(matches!(open(b""), Err(Error::NotAnArchive)));
    assert!(matches!(open(&Tar::new().file("x", b"").finish()), Err(Error::NotAnArchive)));
    assert!(matches!(open(b"not a tar archive at all"), Err(Error::Tar { .. })));
    assert!(open(b"\xfd7zXZ\0junk").is_err());
    assert!(matches!(open(b"\x5d\0\0junk"), Err(Error::Compression { format: "lzma" })));
}

#[test]
fn reads_a_layout_directory_without_following_links() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("index.json"), br#"{"manifests":[]}"#).unwrap();
    assert!(open_file(File::open(directory.path()).unwrap()).unwrap().is_empty());
    std::os::unix::fs::symlink("/etc/passwd", directory.path().join("manifest.json")).unwrap();
    assert!(matches!(open_file(File::open(directory.path()).unwrap()), Err(Error::EntryOutside { .. })));
}

proptest::proptest! {
    #[test]
    fn damaged_archives_never_panic(place in 0usize..20_000, value: u8) {
        let mut bytes = layout(&gzip(b"layer"), digest_of(b"layer"), |_| {});
        let place = place % bytes.len();
        bytes[place] = value;
        for image in open(&bytes).into_iter().flatten() {
            for layer in &image.layers {
                let _ = content(layer);
            }
        }
    }
}
