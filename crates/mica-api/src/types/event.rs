//! What happened, in order.

use mica_model::{Filters, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event as `docker events --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Old name of the action, for containers and images.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Old name of the actor's id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Old name of the image.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `volume`, `network`, `daemon`…
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `start`, `die`…
    #[serde(rename = "Action")]
    pub action: String,
    /// Whom it happened to.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// Always `local`.
    pub scope: String,
    /// Seconds since the epoch.
    pub time: i64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// Whom an event happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventActor {
    /// Id, or reference of an image.
    #[serde(rename = "ID")]
    pub id: String,
    /// Labels, name, image, exit code…
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Which events to read.
#[derive(Debug, Clone, Default)]
pub struct EventsOptions {
    /// From this instant; `None` is from now.
    pub since: Option<Timestamp>,
    /// Up to this instant; `None` is without end.
    pub until: Option<Timestamp>,
    /// docker's filters.
    pub filters: Filters,
}
