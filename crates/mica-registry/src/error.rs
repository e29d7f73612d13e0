//! What can go wrong between us and a registry.

use mica_model::ErrorKind;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something did not come from a registry or go there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could be reached at an address, or the connection broke too often.
    #[error("{method} {address}")]
    Transport {
        /// The method of the request.
        method: &'static str,
        /// The address, without its query.
        address: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The registry refused.
    #[error("{method} {address}: {refusal}")]
    Refused {
        /// The method of the request.
        method: &'static str,
        /// The address, without its query.
        address: String,
        /// Its words.
        refusal: Refusal,
    },
    /// The registry wants to know who asks, and nobody told us, or it does not believe it.
    #[error("{registry}: {reason}")]
    Unauthorized {
        /// Whose credentials are missing.
        registry: String,
        /// In docker's words.
        reason: String,
    },
    /// A registry names somebody in another domain to compare the credential.
    #[error("{registry} has credentials compared by {realm}, which is not in its domain")]
    ForeignRealm {
        /// Whose credential it is.
        registry: String,
        /// Who would get it.
        realm: String,
    },
    /// What the registry answers does not follow the protocol.
    #[error("{address}: {reason}")]
    Protocol {
        /// The address, without its query.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// A registry cannot be searched.
    #[error("registry {registry} offers neither the search of version 1 nor a catalog")]
    NoSearch {
        /// Which.
        registry: String,
    },
    /// Content is longer than it may be.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Content has another size than was promised.
    #[error("{what} has {actual} bytes, not {expected} as promised")]
    Size {
        /// What.
        what: String,
        /// What was promised.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// A file that says how a registry is reached cannot be used.
    #[error("{path:?}: {reason}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry does not know any more what was sent of a blob.
    #[error("{address}: the registry has lost what was sent of a blob")]
    UploadLost {
        /// The address, without its query.
        address: String,
    },
    /// The reader of what is to be sent failed.
    #[error("read what is to be sent")]
    Source {
        /// Its words.
        #[source]
        source: io::Error,
    },
}

/// Why a connection could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The name has no address.
    #[error("no such host: {host}")]
    Name {
        /// The name.
        host: String,
    },
    /// The other side does not speak TLS as it should.
    #[error("{reason}")]
    Tls {
        /// In the words of the TLS library.
        reason: String,
    },
    /// A configured limit of time passed.
    #[error("{reason}")]
    Timeout {
        /// What did not come.
        reason: String,
    },
    /// Somebody else than the user leads there, where nobody but the user may.
    #[error("refusing to follow to {address}, which is an address of the local link")]
    Forbidden {
        /// Where.
        address: std::net::IpAddr,
    },
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// What the system or the protocol says.
    #[error("{reason}")]
    Connection {
        /// Its words.
        reason: String,
    },
}

impl TransportError {
    /// Whether it may be otherwise in a moment.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Connection { .. })
    }
}

/// What a registry says when it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The registry's code: `MANIFEST_UNKNOWN`; empty if it gave none.
    pub code: String,
    /// The registry's words, made safe for a terminal.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.to_lowercase().replace('_', " ");
        match (code.as_str(), self.message.as_str()) {
            ("", "") => write!(formatter, "unexpected status {}", self.status),
            ("", message) => write!(formatter, "status {}: {message}", self.status),
            (code, "") => formatter.write_str(code),
            (code, message) => write!(formatter, "{code}: {message}"),
        }
    }
}

impl Error {
    /// Which branch a caller may take.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Transport { .. } | Self::UploadLost { .. } => ErrorKind::Unavailable,
            Self::Refused { refusal, .. } => match refusal.status {
                404 => ErrorKind::NotFound,
                401 | 403 => ErrorKind::Unauthorized,
                408 | 429 | 500..=599 => ErrorKind::Unavailable,
                _ => ErrorKind::InvalidArgument,
            },
            Self::Unauthorized { .. } | Self::ForeignRealm { .. } => ErrorKind::Unauthorized,
            Self::Protocol { .. } | Self::TooLarge { .. } | Self::Size { .. } => ErrorKind::InvalidArgument,
            Self::Configuration { .. } => ErrorKind::InvalidArgument,
            Self::NoSearch { .. } => ErrorKind::NotFound,
            Self::Source { .. } => ErrorKind::Internal,
        }
    }

    /// Whether the registry says that it does not have it.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.status == 404)
    }

    /// Whether sending the blob from its beginning may help.
    pub const fn is_lost_upload(&self) -> bool {
        matches!(self, Self::UploadLost { .. })
    }

    /// Whether the registry refused with this status.
    pub(crate) fn has_status(&self, status: u16) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.status == status)
    }

    pub(crate) fn protocol(address: &str, reason: impl Into<String>) -> Self {
        Self::Protocol { address: shown(address), reason: reason.into() }
    }
}

/// An address without what may be a signature or a secret.
pub(crate) fn without_query(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default()
}

/// An address as it may be shown: without secrets, and harmless.
pub(crate) fn shown(address: &str) -> String {
    let address = without_query(address);
    let (scheme, rest) = address.split_once("://").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rfind('@').map_or(0, |place| place + 1);
    let separator = if scheme.is_empty() { "" } else { "://" };
    harmless(&format!("{scheme}{separator}{}", &rest[host..]))
}

/// The longest text that is taken over from a registry, in characters.
const WORDS_MAX: usize = 300;

/// A text of a registry, cut short and without what a terminal would obey.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .take(WORDS_MAX)
        .map(|letter| if is_printable(letter) { letter } else { '\u{fffd}' })
        .collect()
}

fn is_printable(letter: char) -> bool {
    let is_direction =
        matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !letter.is_control() && !is_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_registry_cannot_command_a_terminal() {
        let text = harmless("a\u{1b}[31m\rb\u{202e}c");
        assert_eq!(text, "a\u{fffd}[31m\u{fffd}b\u{fffd}c");
        assert_eq!(harmless(&"x".repeat(10_000)).len(), WORDS_MAX);
    }

    #[test]
    fn refusals_are_told_as_docker_does() {
        let refusal = |code: &str, message: &str| {
            Refusal { status: 404, code: code.to_owned(), message: message.to_owned() }.to_string()
        };
        assert_eq!(refusal("MANIFEST_UNKNOWN", "manifest unknown"), "manifest unknown: manifest unknown");
        assert_eq!(refusal("", ""), "unexpected status 404");
        assert_eq!(without_query("https://h/v2/?token=x"), "https://h/v2/");
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (address, expected) in [
            ("https://u:p@h:1/v2/?token=x", "https://h:1/v2/"),
            ("http://u:p@h", "http://h"),
            ("/v2/a@sha256:b", "/v2/a@sha256:b"),
            ("the list of tags", "the list of tags"),
        ] {
            assert_eq!(shown(address), expected);
        }
    }
}
