//! Small content kept whole in memory, with the digest of exactly these bytes.

use crate::error::{Error, Result};
use mica_model::Digest;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// The longest config, manifest or index, in bytes; the registries' limit for manifests.
pub const DOCUMENT_SIZE_MAX: u64 = 4 << 20;

/// Bytes and their digest, which always belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    digest: Digest,
    bytes: Vec<u8>,
}

impl Document {
    /// Hashes `bytes`.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { digest: digest_of(&bytes), bytes }
    }

    /// Hashes `bytes` and compares with what was promised.
    pub fn verified(bytes: Vec<u8>, expected: &Digest, what: &str) -> Result<Self> {
        let document = Self::from_bytes(bytes);
        if document.digest != *expected {
            return Err(Error::DigestMismatch {
                what: what.to_owned(),
                expected: *expected,
                actual: document.digest,
            });
        }
        Ok(document)
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the bytes as JSON; `what` names the document in errors.
    pub fn parse<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        serde_json::from_slice(&self.bytes)
            .map_err(|source| Error::Document { what: what.to_owned(), source })
    }
}

/// The SHA-256 of `bytes`.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}
