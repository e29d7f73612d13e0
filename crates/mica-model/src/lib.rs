//! The nouns of containers and their parsers: digests, ids, references, names, filters.
//!
//! Nothing here does input or output, reads the clock or the environment, or knows where things
//! are kept: a value in, a value or a typed error out.

pub mod credential;
pub mod digest;
pub mod duration;
pub mod error_kind;
pub mod filter;
pub mod frame;
pub mod id;
pub mod name;
pub mod platform;
pub mod reference;
pub mod remote_source;
pub mod size;
pub mod sysctl;
pub mod timestamp;

pub use credential::{Credential, Keyring, NoKeys, Proxies, RegistryAccess};
pub use digest::{Digest, DigestError};
pub use error_kind::ErrorKind;
pub use filter::{FilterError, Filters};
pub use id::{ContainerId, IdError};
pub use name::{ContainerName, NameError};
pub use platform::PlatformWords;
pub use reference::{Reference, ReferenceError};
pub use remote_source::{GitSource, HttpSource, RemoteSource, RemoteSourceError};
pub use timestamp::Timestamp;
