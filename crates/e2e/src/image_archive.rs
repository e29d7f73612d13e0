//! Builds image archives as `docker save` writes them, and lets a test falsify any part.

use crate::tarball::{Entry, Tarball};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An image archive in the making: layers, a configuration and a manifest.
#[derive(Debug, Clone)]
pub struct ImageArchive {
    tags: Vec<String>,
    layers: Vec<Vec<u8>>,
    config: Value,
    manifest_edits: Vec<(String, Value)>,
    extra: Vec<Entry>,
}

impl ImageArchive {
    /// An image with a name such as `busybox:latest`, for this machine's architecture.
    pub fn named(tag: impl Into<String>) -> Self {
        Self { tags: vec![tag.into()], ..Self::dangling() }
    }

    /// An image without a name.
    pub fn dangling() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "created": "2024-01-02T03:04:05Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        });
        Self { tags: Vec::new(), layers: Vec::new(), config, manifest_edits: Vec::new(), extra: Vec::new() }
    }

    /// Adds a layer (a tar stream), with its right place in the configuration's list.
    #[must_use]
    pub fn layer(mut self, tar: Vec<u8>) -> Self {
        let number = self.layers.len() + 1;
        push(&mut self.config["rootfs"]["diff_ids"], json!(digest(&tar)));
        let step = json!({"created": "2024-01-02T03:04:05Z", "created_by": format!("layer {number}")});
        push(&mut self.config["history"], step);
        self.layers.push(tar);
        self
    }

    /// Replaces a value of the configuration, by JSON pointer (RFC 6901) such as `/config/Env` or `/rootfs`.
    #[must_use]
    pub fn config(mut self, pointer: &str, value: Value) -> Self {
        set(&mut self.config, pointer, value);
        self
    }

    /// Replaces a value of the manifest, by JSON pointer such as `/0/Config` or `/0/Layers/1`.
    #[must_use]
    pub fn manifest(mut self, pointer: &str, value: Value) -> Self {
        self.manifest_edits.push((pointer.to_owned(), value));
        self
    }

    /// Adds any entry to the outer archive, before everything else.
    #[must_use]
    pub fn extra(mut self, entry: Entry) -> Self {
        self.extra.push(entry);
        self
    }

    /// The id that the image gets: the digest of its configuration, with `sha256:`.
    pub fn id(&self) -> String {
        digest(self.config.to_string().as_bytes())
    }

    /// The archive as `docker save` writes it.
    pub fn build(&self) -> Vec<u8> {
        let config = self.config.to_string().into_bytes();
        let config_name = format!("{}.json", hex(&config));
        let names: Vec<String> =
            self.layers.iter().map(|layer| format!("{}/layer.tar", hex(layer))).collect();
        let mut manifest = json!([{"Config": config_name, "RepoTags": self.tags, "Layers": names}]);
        for (pointer, value) in &self.manifest_edits {
            set(&mut manifest, pointer, value.clone());
        }
        let mut tar = Tarball::new();
        self.extra.iter().for_each(|entry| tar.add(entry));
        for (name, layer) in names.iter().zip(&self.layers) {
            tar.add(&Entry::file(name, layer.clone()));
        }
        tar.add(&Entry::file(config_name, config));
        tar.add(&Entry::file("manifest.json", manifest.to_string()));
        tar.finish()
    }

    /// The archive as an OCI image layout in a tar.
    pub fn build_oci(&self) -> Vec<u8> {
        let mut tar = Tarball::new();
        self.extra.iter().for_each(|entry| tar.add(entry));
        tar.add(&Entry::file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
        let mut blob = |media_type: &str, bytes: &[u8]| {
            tar.add(&Entry::file(format!("blobs/sha256/{}", hex(bytes)), bytes));
            json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
        };
        let layer_type = "application/vnd.oci.image.layer.v1.tar";
        let layers: Vec<Value> = self.layers.iter().map(|layer| blob(layer_type, layer)).collect();
        let config = blob("application/vnd.oci.image.config.v1+json", self.config.to_string().as_bytes());
        let manifest_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            json!({"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": layers});
        let mut described = blob(manifest_type, manifest.to_string().as_bytes());
        if let Some(tag) = self.tags.first() {
            described["annotations"] =
                json!({"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag});
        }
        let mut index = json!({"schemaVersion": 2, "manifests": [described]});
        for (pointer, value) in &self.manifest_edits {
            set(&mut index, pointer, value.clone());
        }
        tar.add(&Entry::file("index.json", index.to_string()));
        tar.finish()
    }
}

/// A digest as OCI documents write it.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn push(list: &mut Value, item: Value) {
    if let Value::Array(items) = list {
        items.push(item);
    }
}

/// Sets a value by pointer, adding the last key where the object lacks it.
fn set(document: &mut Value, pointer: &str, value: Value) {
    if let Some(place) = document.pointer_mut(pointer) {
        *place = value;
        return;
    }
    let (parent, key) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if let Some(Value::Object(object)) = document.pointer_mut(parent) {
        object.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_follows_the_configuration() {
        let plain = ImageArchive::named("a:b").layer(Tarball::new().finish());
        let other = plain.clone().config("/config/User", json!("1000"));
        assert_ne!(plain.id(), other.id());
        assert_eq!(plain.id().len(), "sha256:".len() + 64);
        assert_eq!(other.config["rootfs"]["diff_ids"][0], json!(digest(&[0; 1024])));
    }

    #[test]
    fn edits_reach_the_archive() {
        let bytes = ImageArchive::named("a:b").layer(Vec::new()).manifest("/0/Config", json!("../x")).build();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(r#""Config":"../x""#), "{text}");
    }

    #[test]
    fn a_layout_names_its_blobs_by_digest() {
        let archive = ImageArchive::named("a:b").layer(b"layer".to_vec());
        let bytes = archive.build_oci();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(&format!("blobs/sha256/{}", archive.id().trim_start_matches("sha256:"))));
    }
}
