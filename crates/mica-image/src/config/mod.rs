//! Image configs: read as tolerantly as docker does, kept byte for byte since their digest is the
//! image's id, and made anew for `commit` and `import`.

pub mod change;
mod new;
mod tolerant;
mod words;

pub use new::{NewImage, build_cache};

use crate::document::Document;
use crate::error::{Error, Result};
use mica_model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a container of the image runs with if nobody says otherwise. Durations of the health check
/// are nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Config {
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(with = "tolerant::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "tolerant::words", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(deserialize_with = "tolerant::words", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(with = "tolerant::set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(deserialize_with = "tolerant::labels", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(deserialize_with = "tolerant::words", skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// How a container's health is found out; durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Healthcheck {
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "tolerant::is_zero")]
    pub interval: i64,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "tolerant::is_zero")]
    pub timeout: i64,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "tolerant::is_zero")]
    pub start_period: i64,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "tolerant::is_zero")]
    pub start_interval: i64,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "tolerant::is_zero")]
    pub retries: i64,
}

/// One step of how an image came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When; "never" if it wasn't said.
    #[serde(deserialize_with = "tolerant::timestamp", skip_serializing_if = "tolerant::is_never")]
    pub created: Timestamp,
    /// The command.
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Who.
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// Why.
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Whether this step has no layer of its own.
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The fields of the document that Mica reads, in the order in which docker writes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    #[serde(deserialize_with = "tolerant::nullable")]
    architecture: String,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(deserialize_with = "tolerant::nullable")]
    config: Config,
    #[serde(deserialize_with = "tolerant::timestamp")]
    created: Timestamp,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "Vec::is_empty")]
    history: Vec<History>,
    #[serde(deserialize_with = "tolerant::nullable")]
    os: String,
    rootfs: Option<RootFs>,
    #[serde(deserialize_with = "tolerant::nullable", skip_serializing_if = "String::is_empty")]
    variant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct RootFs {
    #[serde(rename = "type", deserialize_with = "tolerant::nullable")]
    kind: String,
    #[serde(deserialize_with = "tolerant::nullable")]
    diff_ids: Vec<Digest>,
}

/// The config of an image, with the bytes it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    document: Document,
    content: Content,
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a config and checks that it can describe an image (rows TAR-30 and TAR-31: no rootfs,
    /// digests that aren't any, a health check without a command).
    pub fn parse(document: Document) -> Result<Self> {
        let what = format!("image config {}", document.digest());
        let mut content: Content = document.parse(&what)?;
        let Some(rootfs) = content.rootfs.take() else {
            return Err(Error::invalid(what, "it has no rootfs"));
        };
        if !matches!(rootfs.kind.as_str(), "" | "layers") {
            return Err(Error::invalid(what, "the type of its rootfs is not \"layers\""));
        }
        if let Some(healthcheck) = &content.config.healthcheck {
            check_health(&what, healthcheck)?;
        }
        Ok(Self { document, content, diff_ids: rootfs.diff_ids })
    }

    /// The image's id: the digest of the bytes.
    pub fn id(&self) -> &Digest {
        self.document.digest()
    }

    /// The document, to be stored.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        self.document.bytes()
    }

    /// The processor: `amd64`; empty if it wasn't said.
    pub fn architecture(&self) -> &str {
        &self.content.architecture
    }

    /// The processor's variant: `v8`; mostly empty.
    pub fn variant(&self) -> &str {
        &self.content.variant
    }

    /// The operating system; `linux` if it wasn't said, as docker has it.
    pub fn os(&self) -> &str {
        if self.content.os.is_empty() { "linux" } else { &self.content.os }
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.content.created
    }

    /// Who made it.
    pub fn author(&self) -> &str {
        &self.content.author
    }

    /// The message given when it was made: its own, or that of the last step.
    pub fn comment(&self) -> &str {
        match (self.content.comment.as_str(), self.content.history.last()) {
            ("", Some(last)) => &last.comment,
            (comment, _) => comment,
        }
    }

    /// The defaults of its containers.
    pub fn config(&self) -> &Config {
        &self.content.config
    }

    /// How it came to be, oldest first.
    pub fn history(&self) -> &[History] {
        &self.content.history
    }

    /// The digests of its uncompressed layers, base first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Refuses a manifest with another number of layers than the config has.
    pub fn check_layer_count(&self, layers: usize) -> Result<()> {
        if layers == self.diff_ids.len() {
            return Ok(());
        }
        Err(Error::LayerCount { what: format!("image {}", self.id()), layers, diff_ids: self.diff_ids.len() })
    }
}

fn check_health(what: &str, healthcheck: &Healthcheck) -> Result<()> {
    let words: Vec<&str> = healthcheck.test.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CMD" | "CMD-SHELL"] => Err(Error::invalid(what, "its health check has no command")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
