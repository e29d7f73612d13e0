//! How do bytes come from registries and go there? The OCI distribution protocol, with docker's habits.
//!
//! This room knows no image: a manifest is bytes with a media type, a blob is a reader. What it reads
//! is not compared with digests here; whoever takes it in does that. All calls block, so that any
//! number of threads may use one [`Repository`] at once and nothing has to run beside them. It
//! has no directory of its own; certificates and `hosts.toml` are read where its settings say.

mod blob;
mod challenge;
mod dns;
mod download;
mod endpoint;
mod error;
mod hosts_toml;
mod login;
mod pace;
mod repository;
mod search;
mod session;
mod settings;
mod tls;
mod token;
mod upload;
mod wire;

pub use blob::BlobReader;
pub use download::Download;
pub use error::{Error, Refusal, Result, TransportError};
pub use repository::{FetchedManifest, Purpose, Registries, Repository};
pub use search::FoundRepository;
pub use settings::Settings;
pub use upload::{Begun, Upload};
