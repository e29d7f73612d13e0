//! For which system an image is, in all the words that lists of images have for it.

use serde::{Deserialize, Serialize};

/// A system as a list of manifests describes it; empty texts mean that nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformWords {
    /// `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system, which only Windows cares for.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// What the operating system has to be able to do.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v7`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_is_written() {
        let text = r#"{"architecture":"amd64","os":"linux"}"#;
        let words: PlatformWords = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&words).unwrap(), text);
        let text = r#"{"architecture":"arm","os":"windows","os.version":"10","os.features":["win32k"],"variant":"v7"}"#;
        let words: PlatformWords = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&words).unwrap(), text);
    }
}
