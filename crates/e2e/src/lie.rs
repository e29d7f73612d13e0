//! A world and a registry with one honest image in it, for tests that falsify a part of it.

use crate::registry::{Answer, MANIFEST_TYPE, Manner, Published, Registry};
use crate::tarball::{Entry, Tarball};
use crate::{Output, World};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a pull of something wrong may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// What it may have in its hands meanwhile, in KiB.
const MEMORY_MAX: u64 = 64 << 10;

/// The image's repository.
const PATH: &str = "team/lie";

/// The world, the registry and the image `team/lie:latest`.
#[derive(Debug)]
pub struct Stage {
    /// The world, without images. It gives registries up that are silent for a second.
    pub world: World,
    /// The registry.
    pub registry: Registry,
    /// The image as it should be.
    pub honest: Published,
    /// Its layers, uncompressed.
    pub layers: Vec<Vec<u8>>,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// A stage on which nothing is wrong yet.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn new() -> Self {
        let world = World::new();
        let settings = "[registry]\nidle_timeout_seconds = 1\n";
        fs::write(world.directory().join("config.toml"), settings).expect("a file of settings");
        let registry = Registry::new();
        let layer = |name: &str| Tarball::new().with(Entry::file(name, name.repeat(5000))).finish();
        let layers = vec![layer("one"), layer("two")];
        let honest = registry.publish(PATH, "latest", &layers);
        Self { world, registry, honest, layers }
    }

    /// The name of the image.
    pub fn name(&self) -> String {
        self.registry.name(PATH)
    }

    /// Everything as it should be again.
    pub fn reset(&self) {
        self.registry.publish(PATH, "latest", &self.layers);
    }

    /// Where the registry answers with a blob.
    pub fn blob(&self, digest: &str) -> String {
        format!("GET /v2/{PATH}/blobs/{digest}")
    }

    /// Where the registry answers with a manifest.
    pub fn manifest(&self, tag_or_digest: &str) -> String {
        format!("GET /v2/{PATH}/manifests/{tag_or_digest}")
    }

    /// Answers the request for the manifest of the tag with some bytes.
    pub fn answer_manifest(&self, media_type: &str, bytes: impl Into<Vec<u8>>) {
        self.registry.put(&self.manifest("latest"), Answer::new(media_type, bytes));
    }

    /// Publishes the manifest with a change.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.honest.manifest.clone();
        change(&mut manifest);
        self.registry.put_manifest(PATH, "latest", MANIFEST_TYPE, &manifest);
    }

    /// Publishes the image with another config, whose digest the manifest has right.
    pub fn change_config(&self, change: impl FnOnce(&mut Value)) {
        let mut config = serde_json::json!({
            "architecture": crate::registry::architecture(), "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": self.honest.layers},
        });
        change(&mut config);
        let bytes = config.to_string().into_bytes();
        let digest = self.registry.put_blob(PATH, &bytes);
        self.change_manifest(|manifest| {
            manifest["config"]["digest"] = digest.into();
            manifest["config"]["size"] = bytes.len().into();
        });
    }

    /// Sends a blob in another manner.
    pub fn send_layer(&self, number: usize, manner: Manner) {
        let answer = Answer::new("application/octet-stream", self.layers[number].clone()).manner(manner);
        self.registry.put(&self.blob(&self.honest.layers[number]), answer);
    }

    /// Pulls, which must fail with all of `words`, soon, in little memory, and leave nothing.
    ///
    /// # Panics
    /// If it does otherwise.
    #[track_caller]
    pub fn refuses(&self, words: &[&str]) -> Output {
        self.refuses_name(&self.name(), words)
    }

    /// The same for another name.
    ///
    /// # Panics
    /// If it does otherwise.
    #[track_caller]
    pub fn refuses_name(&self, name: &str, words: &[&str]) -> Output {
        let begun = Instant::now();
        let (output, peak) = self.world.invoke(["pull", name]).limit(PATIENCE).run_watched();
        let took = begun.elapsed();
        output.code(1);
        for word in words {
            output.stderr_contains(word);
        }
        assert!(peak <= MEMORY_MAX, "{peak} KiB in {took:?}\n{}", output.stderr());
        self.has_nothing();
        output
    }

    /// Asserts that no image, no layer and no document is in the store, whole or half.
    ///
    /// # Panics
    /// If there is one.
    #[track_caller]
    pub fn has_nothing(&self) {
        self.world.mica(["images", "-aq"]).success().stdout_is("");
        for place in ["image/blobs/sha256", "image/ingest", "layer/ingest"] {
            assert_eq!(entries(&self.world.root().join(place)), 0, "{place}");
        }
    }

    /// The harmless twin: everything as it should be, and the image comes.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn takes(&self) {
        self.reset();
        self.takes_as_it_is();
        assert_eq!(entries(&self.world.root().join("image/partial")), 0, "partial blobs");
    }

    /// Pulls the image as the registry now has it, and removes it again.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn takes_as_it_is(&self) {
        self.world.mica(["pull", &self.name()]).success().stdout_contains("Status: Downloaded newer image");
        self.world.mica(["rmi", &self.name()]).success();
    }
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}
