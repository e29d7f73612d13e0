//! Writes lists of manifests byte for byte as docker does, so that the same list has the same digest.

use crate::document::Document;
use crate::error::{Error, Result};
use crate::media_type::{DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST};
use mica_model::{Digest, PlatformWords};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// A manifest as a list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedManifest {
    /// What it is.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub digest: Digest,
    /// For which system it is.
    pub platform: PlatformWords,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: &'a [ListedManifest],
}

/// A list of manifests and its media type, which is OCI's if the first manifest is.
pub fn write_manifest_list(manifests: &[ListedManifest]) -> Result<(Document, &'static str)> {
    let is_oci = manifests.first().is_some_and(|first| first.media_type == OCI_MANIFEST);
    let media_type = if is_oci { OCI_INDEX } else { DOCKER_INDEX };
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"   "));
    List { schema_version: 2, media_type, manifests }
        .serialize(&mut serializer)
        .map_err(|source| Error::Document { what: "list of manifests".to_owned(), source })?;
    Ok((Document::from_bytes(bytes), media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::digest_of;

    #[test]
    fn a_list_is_written_as_docker_writes_it() {
        let listed = |media_type: &str, architecture: &str| ListedManifest {
            media_type: media_type.to_owned(),
            size: 428,
            digest: digest_of(b""),
            platform: PlatformWords {
                architecture: architecture.to_owned(),
                os: "linux".to_owned(),
                ..PlatformWords::default()
            },
        };
        let docker = "application/vnd.docker.distribution.manifest.v2+json";
        let (document, media_type) = write_manifest_list(&[listed(docker, "amd64")]).unwrap();
        assert_eq!(media_type, DOCKER_INDEX);
        let expected = format!(
            "{{\n   \"schemaVersion\": 2,\n   \"mediaType\": \"{DOCKER_INDEX}\",\n   \"manifests\": [\n      {{\n         \
             \"mediaType\": \"{docker}\",\n         \"size\": 428,\n         \"digest\": \"{}\",\n         \
             \"platform\": {{\n            \"architecture\": \"amd64\",\n            \"os\": \"linux\"\n         \
             }}\n      }}\n   ]\n}}",
            digest_of(b"")
        );
        assert_eq!(String::from_utf8_lossy(document.bytes()), expected);
        assert_eq!(write_manifest_list(&[listed(OCI_MANIFEST, "arm64")]).unwrap().1, OCI_INDEX);
    }
}
