//! Images through the engine's own door: what is loaded, committed and removed, with real layers.
//!
//! They need root, as layers keep owners and whiteouts are devices.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where it stopped")]

use mica_api::Engine;
use mica_api::types::container::{ArchivePut, CommitRequest, ContainerConfig, CreateRequest, RemoveOptions};
use mica_api::types::image::{
    ArchiveSource, ImageDelete, ImageListOptions, ImageRemoveOptions, ImportRequest, ImportSource,
    PullRequest,
};
use mica_engine::{EngineOptions, LocalEngine};
use mica_model::{ErrorKind, Filters, RegistryAccess};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

fn wish(reference: &str) -> PullRequest<'static> {
    PullRequest {
        reference: reference.to_owned(),
        platform: String::new(),
        all_tags: false,
        access: RegistryAccess::anonymous(),
    }
}

/// A store of its own, gone when it is dropped.
struct Store {
    directory: tempfile::TempDir,
    engine: LocalEngine,
}

impl Store {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = LocalEngine::open(&options(directory.path())).unwrap();
        Self { directory, engine }
    }

    fn with_hello() -> Self {
        let store = Self::new();
        store.engine.image_pull(&wish("hello"), &|_| {}).unwrap();
        store
    }

    fn create(&self, name: &str, image: &str) -> String {
        let config = ContainerConfig { image: image.to_owned(), ..ContainerConfig::default() };
        let request = CreateRequest { name: name.to_owned(), config, ..CreateRequest::default() };
        self.engine.container_create(&request).unwrap().id
    }

    fn commit(&self, container: &str, reference: &str) -> String {
        let request = CommitRequest {
            container: container.to_owned(),
            reference: reference.to_owned(),
            ..CommitRequest::default()
        };
        self.engine.container_commit(&request).unwrap()
    }

    /// An image on `below` with one more file.
    fn child(&self, below: &str, file: &str, reference: &str) -> String {
        let container = self.create("", below);
        let archive = tar_of(file, "content");
        let put = ArchivePut { path: "/".to_owned(), ..ArchivePut::default() };
        self.engine.container_archive_write(&container, &put, &mut archive.as_slice()).unwrap();
        let id = self.commit(&container, reference);
        self.engine.container_remove(&container, RemoveOptions::default()).unwrap();
        id
    }

    fn ids(&self, all: bool) -> Vec<String> {
        let options = ImageListOptions { all, ..ImageListOptions::default() };
        self.engine.image_list(&options).unwrap().into_iter().map(|image| image.id).collect()
    }

    fn save(&self, references: &[&str]) -> File {
        let references: Vec<String> = references.iter().map(|&reference| reference.to_owned()).collect();
        let mut file = tempfile::tempfile().unwrap();
        self.engine.image_save(&references, "", &mut file).unwrap();
        file.rewind().unwrap();
        file
    }

    fn layer_count(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("root/layer/sha256")).unwrap().count()
    }
}

fn options(directory: &Path) -> EngineOptions {
    EngineOptions {
        root: directory.join("root"),
        run: directory.join("run"),
        config: directory.join("config.toml"),
    }
}

fn tar_of(path: &str, content: &str) -> Vec<u8> {
    let mut header = [0; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, path);
    field(100, "0000644");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, "00000000000");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

fn temporary(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

#[test]
#[ignore = "needs root"]
fn privileged_the_embedded_image_is_a_stack_of_two() {
    let store = Store::with_hello();
    let image = store.engine.image_inspect("hello", "").unwrap();
    assert_eq!((image.repo_tags, image.layer_paths.len()), (vec!["hello:latest".to_owned()], 2));
    assert!(Path::new(&image.layer_paths[1]).join("hello").is_file());
    let again = store.engine.image_pull(&wish("hello:latest"), &|_| {}).unwrap();
    assert_eq!((again[0].id.as_str(), again[0].is_new), (image.id.as_str(), false));
    let error = store.engine.image_pull(&wish("127.0.0.1:1/debian"), &|_| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_saved_loads_as_the_same_image() {
    let store = Store::with_hello();
    let id = store.child("hello", "more", "stack:v1");
    let archive = store.save(&["stack:v1", "hello"]);
    let other = Store::new();
    let loaded = other.engine.image_load(ArchiveSource::Stream(archive), "", &|_| {}).unwrap();
    assert_eq!(
        loaded.iter().map(|image| image.names.concat()).collect::<Vec<_>>(),
        ["stack:v1", "hello:latest"]
    );
    assert_eq!(loaded[0].id, id);
    assert_eq!(other.layer_count(), 3, "shared layers are there once");
    let layers = |store: &Store| store.engine.image_inspect("stack:v1", "").unwrap().root_fs.layers;
    assert_eq!(layers(&store), layers(&other));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_failed_load_leaves_nothing() {
    let store = Store::with_hello();
    let mut archive = Vec::new();
    store.engine.image_save(&["hello".to_owned()], "", &mut archive).unwrap();
    let place = archive.windows(20).position(|bytes| bytes == b"Hello from a contain").unwrap();
    archive[place] ^= 1;
    let other = Store::new();
    let error = other.engine.image_load(ArchiveSource::Stream(temporary(&archive)), "", &|_| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidArgument, "{error}");
    assert!(other.ids(true).is_empty());
    assert_eq!(other.layer_count(), 0);
    let left = std::fs::read_dir(other.directory.path().join("root/layer/ingest")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_commit_has_a_parent_and_its_own_layer() {
    let store = Store::with_hello();
    let hello = store.engine.image_inspect("hello", "").unwrap();
    let id = store.child("hello", "more", "stack:v1");
    let image = store.engine.image_inspect(&id, "").unwrap();
    assert_eq!((image.parent, image.layer_paths.len()), (hello.id.clone(), 3));
    let history = store.engine.image_history("stack:v1", "").unwrap();
    assert_eq!((history[0].id.as_str(), history[1].id.as_str()), (id.as_str(), hello.id.as_str()));
    let tree = store.engine.image_tree(Some("hello")).unwrap();
    assert_eq!(tree[0].layers[0].shared_images, ["stack:v1"]);
    assert_eq!(tree[0].unique_size, 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_commit_of_nothing_adds_no_layer() {
    let store = Store::with_hello();
    let container = store.create("idle", "hello");
    let id = store.commit(&container, "");
    let image = store.engine.image_inspect(&id, "").unwrap();
    assert_eq!(image.layer_paths.len(), 2);
    assert_eq!(store.engine.image_history(&id, "").unwrap()[0].size, 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_middle_image_goes_by_force_and_its_child_stays_whole() {
    let store = Store::with_hello();
    let middle = store.child("hello", "middle", "");
    let top = store.child(&middle, "top", "top:v1");
    let error = store.engine.image_remove(&middle, ImageRemoveOptions::default()).unwrap_err();
    assert!(error.message.contains("dependent child images"), "{error}");
    let force = ImageRemoveOptions { force: true, ..ImageRemoveOptions::default() };
    let removed = store.engine.image_remove(&middle, force).unwrap();
    assert_eq!(removed, [ImageDelete::Deleted(middle)], "its layer has another user");
    let image = store.engine.image_inspect(&top, "").unwrap();
    assert_eq!(image.parent, store.engine.image_inspect("hello", "").unwrap().id);
    assert!(image.layer_paths.iter().all(|path| Path::new(path).is_dir()));
}

#[test]
#[ignore = "needs root"]
fn privileged_layers_go_with_their_last_user() {
    let store = Store::with_hello();
    store.child("hello", "more", "stack:v1");
    let container = store.create("user", "stack:v1");
    let error = store.engine.image_remove("stack:v1", ImageRemoveOptions::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    let force = ImageRemoveOptions { force: true, ..ImageRemoveOptions::default() };
    store.engine.image_remove("stack:v1", force).unwrap();
    assert_eq!(store.layer_count(), 3, "the container stands on it");
    store.engine.container_remove(&container, RemoveOptions::default()).unwrap();
    store.engine.image_remove("hello", ImageRemoveOptions::default()).unwrap();
    assert_eq!((store.layer_count(), store.ids(true).len()), (0, 0));
}

#[test]
#[ignore = "needs root"]
fn privileged_prune_takes_the_dangling_or_all_unused() {
    let store = Store::with_hello();
    let dangling = store.child("hello", "more", "");
    store.child("hello", "named", "named:v1");
    let (removed, _) = store.engine.image_prune(&Filters::default()).unwrap();
    assert_eq!(removed[0], ImageDelete::Deleted(dangling));
    store.create("user", "hello");
    let mut all = Filters::default();
    all.add("dangling", "false");
    let (removed, bytes) = store.engine.image_prune(&all).unwrap();
    assert_eq!(removed[0], ImageDelete::Untagged("named:v1".to_owned()));
    assert_eq!(bytes, 7, "the content of the one file");
    assert_eq!(store.ids(true).len(), 1);
}

#[test]
#[ignore = "needs root"]
fn privileged_import_and_export_are_flat() {
    let store = Store::new();
    let request = ImportRequest {
        source: ImportSource::Archive(temporary(&tar_of("file", "content"))),
        reference: "flat".to_owned(),
        message: String::new(),
        changes: vec!["CMD [\"/file\"]".to_owned()],
        platform: String::new(),
    };
    store.engine.image_import(request).unwrap();
    let image = store.engine.image_inspect("flat", "").unwrap();
    assert_eq!((image.comment.as_str(), image.layer_paths.len()), ("Imported from -", 1));
    let container = store.create("box", "flat");
    let mut archive = Vec::new();
    store.engine.container_export(&container, &mut archive).unwrap();
    assert!(archive.windows(7).any(|bytes| bytes == b"content"));
}

#[test]
#[ignore = "needs root"]
fn privileged_leftovers_of_a_killed_load_go_with_the_next_removal() {
    let store = Store::with_hello();
    store.child("hello", "more", "stack:v1");
    // As if killed between registering a layer and recording its image.
    let directory = store.directory.path().join("root/layer/sha256");
    let orphan = directory.join("0".repeat(64));
    std::fs::create_dir(&orphan).unwrap();
    std::fs::create_dir(orphan.join("diff")).unwrap();
    let record = std::fs::read_dir(&directory)
        .unwrap()
        .flatten()
        .find_map(|layer| std::fs::read_to_string(layer.path().join("layer.json")).ok());
    let record = record.unwrap();
    let digest = &record[record.find("sha256:").unwrap() + 7..][..64];
    std::fs::write(orphan.join("layer.json"), record.replace(digest, &"0".repeat(64))).unwrap();
    store.engine.image_tag("stack:v1", "again:v1").unwrap();
    store.engine.image_remove("again:v1", ImageRemoveOptions::default()).unwrap();
    assert!(!orphan.exists());
    assert_eq!(store.layer_count(), 3);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_name_that_looks_like_an_id_never_stands_for_it() {
    let store = Store::with_hello();
    let first = store.create("one", "hello");
    let second = store.create(&first, "hello");
    store.engine.container_remove(&first, RemoveOptions::default()).unwrap();
    assert_eq!(store.engine.container_inspect(&second, false).unwrap().id, second);
    assert!(store.engine.container_inspect("one", false).is_err());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_relative_root_is_recorded_in_full() {
    let directory = tempfile::tempdir().unwrap();
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let relative = Path::new(&up).join(directory.path().strip_prefix("/").unwrap());
    let store = Store { engine: LocalEngine::open(&options(&relative)).unwrap(), directory };
    store.engine.image_pull(&wish("hello"), &|_| {}).unwrap();
    let id = store.create("one", "hello");
    assert!(store.engine.container_inspect(&id, false).unwrap().log_path.starts_with('/'));
}
