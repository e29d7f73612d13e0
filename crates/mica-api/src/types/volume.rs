//! Volumes: data that outlives containers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /volumes/create`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct VolumeCreateRequest {
    /// Empty for a made-up name.
    pub name: String,
    /// `local`, which an empty one is too.
    pub driver: String,
    /// What the driver is to do, in its words.
    pub driver_opts: BTreeMap<String, String>,
    /// For filters, and for people.
    pub labels: BTreeMap<String, String>,
}

/// `GET /volumes/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Volume {
    /// RFC 3339, in seconds.
    pub created_at: String,
    pub driver: String,
    pub labels: Option<BTreeMap<String, String>>,
    /// Where its data lies on this host.
    pub mountpoint: String,
    pub name: String,
    pub options: Option<BTreeMap<String, String>>,
    pub scope: String,
    /// Only where it was asked for: reports about disk use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<VolumeUsage>,
}

/// What a volume takes up, and who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeUsage {
    /// Bytes; -1 where that is not known.
    pub size: i64,
    /// How many containers have it.
    pub ref_count: i64,
}

/// What a prune of volumes took away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumePruneResponse {
    /// Names.
    #[serde(rename = "VolumesDeleted")]
    pub deleted: Vec<String>,
    /// Bytes.
    pub space_reclaimed: u64,
}
