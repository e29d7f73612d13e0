//! Makes the config of a new image, for `commit` and `import`.

use super::{Config, Content, History, ImageConfig, RootFs};
use crate::document::Document;
use crate::error::{Error, Result};
use mica_model::{Digest, Timestamp};

/// The parts of a config to be made. The same parts always give the same bytes and so the same id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewImage {
    /// The processor: `amd64`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// The processor's variant; mostly empty.
    pub variant: String,
    /// Who made it; may be empty.
    pub author: String,
    /// The message; may be empty.
    pub comment: String,
    /// When.
    pub created: Timestamp,
    /// The defaults of its containers.
    pub config: Config,
    /// How it came to be, oldest first.
    pub history: Vec<History>,
    /// The digests of its uncompressed layers, base first.
    pub diff_ids: Vec<Digest>,
    /// What builds may know of how it was made; mostly empty.
    pub build_cache: String,
}

/// Where a config says what builds may know of how the image was made.
const BUILD_CACHE: &str = "mica.build.cache.v1";

/// What builds may know of how an image was made, if its config says so.
pub fn build_cache(config: &ImageConfig) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(config.bytes()).ok()?;
    document[BUILD_CACHE].as_str().map(str::to_owned)
}

impl NewImage {
    /// What a child of `parent` begins with: platform, defaults, history and layers.
    pub fn from_parent(parent: &ImageConfig) -> Self {
        Self {
            architecture: parent.architecture().to_owned(),
            os: parent.os().to_owned(),
            variant: parent.variant().to_owned(),
            config: parent.config().clone(),
            history: parent.history().to_vec(),
            diff_ids: parent.diff_ids().to_vec(),
            ..Self::default()
        }
    }

    /// Adds a layer and the step that made it.
    pub fn push_layer(&mut self, diff_id: Digest, history: History) {
        self.diff_ids.push(diff_id);
        self.history.push(History { empty_layer: false, ..history });
    }

    /// Writes the config.
    pub fn into_config(self) -> Result<ImageConfig> {
        let content = Content {
            architecture: self.architecture,
            author: self.author,
            comment: self.comment,
            config: self.config,
            created: self.created,
            history: self.history,
            os: self.os,
            rootfs: Some(RootFs { kind: "layers".to_owned(), diff_ids: self.diff_ids }),
            variant: self.variant,
        };
        let failed = |source| Error::Document { what: "the new image config".to_owned(), source };
        let mut bytes = serde_json::to_vec(&content).map_err(failed)?;
        if !self.build_cache.is_empty() {
            let mut document: serde_json::Value = serde_json::from_slice(&bytes).map_err(failed)?;
            document[BUILD_CACHE] = self.build_cache.into();
            bytes = serde_json::to_vec(&document).map_err(failed)?;
        }
        ImageConfig::parse(Document::from_bytes(bytes))
    }
}
