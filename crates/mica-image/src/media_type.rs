//! The media types of images: which are understood, and why the others are not.
//!
//! Sources: OCI image-spec `media-types.md`, docker's image manifest v2 schema 2.

use crate::error::{Error, Result};

/// An OCI image manifest, which is what Mica writes.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An uncompressed OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// A document that leads to images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// A list of manifests, one per platform or name.
    Index,
    /// One image.
    Manifest,
}

/// Tells an index from a manifest.
pub fn manifest_kind(media_type: &str) -> Result<ManifestKind> {
    match media_type {
        OCI_INDEX | DOCKER_INDEX => Ok(ManifestKind::Index),
        OCI_MANIFEST | DOCKER_MANIFEST => Ok(ManifestKind::Manifest),
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => {
            refuse(media_type, "schema 1 manifests are obsolete; convert the image with a newer tool")
        }
        _ => refuse(media_type, "it is not a manifest of a container image"),
    }
}

/// Refuses configs of things that are not container images.
pub fn check_config(media_type: &str) -> Result<()> {
    match media_type {
        OCI_CONFIG | DOCKER_CONFIG => Ok(()),
        _ => refuse(media_type, "it is not the config of a container image"),
    }
}

/// Refuses layers whose content is elsewhere or is no tar. How a layer is compressed is seen from
/// its first bytes, as archives often say it wrongly.
pub fn check_layer(media_type: &str) -> Result<()> {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => return Ok(()),
        _ => {}
    }
    if is_foreign(media_type) {
        return refuse(
            media_type,
            "foreign layers may not be distributed: they are neither in archives nor fetched from where they point to",
        );
    }
    match media_type.strip_prefix(OCI_LAYER) {
        Some("" | "+gzip" | "+zstd") => Ok(()),
        _ => refuse(media_type, "it is not a layer of a container image"),
    }
}

/// Whether a registry has such a layer only by naming somebody else who has it.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}

fn refuse<T>(media_type: &str, reason: &'static str) -> Result<T> {
    Err(Error::MediaType { media_type: media_type.chars().take(200).collect(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_understood() {
        assert_eq!(manifest_kind(DOCKER_INDEX).unwrap(), ManifestKind::Index);
        assert_eq!(manifest_kind(OCI_MANIFEST).unwrap(), ManifestKind::Manifest);
        check_config(DOCKER_CONFIG).unwrap();
        check_layer("application/vnd.oci.image.layer.v1.tar+zstd").unwrap();
        check_layer("application/vnd.docker.image.rootfs.diff.tar.gzip").unwrap();
    }

    #[test]
    fn refuses_the_rest_with_a_reason() {
        for media_type in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
        ] {
            assert!(check_layer(media_type).unwrap_err().to_string().contains("foreign layers"));
        }
        assert!(check_layer("text/plain").is_err());
        assert!(check_config("application/vnd.oci.empty.v1+json").is_err());
        let schema1 = manifest_kind("application/vnd.docker.distribution.manifest.v1+prettyjws");
        assert!(schema1.unwrap_err().to_string().contains("schema 1"));
    }
}
