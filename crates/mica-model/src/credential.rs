//! Who somebody is to a registry, and how registries are reached: what a door hands to the engine.

use std::fmt;

/// What proves to a registry who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token that is exchanged for short-lived ones.
    IdentityToken(String),
    /// A token that is sent as it is.
    BearerToken(String),
}

impl fmt::Debug for Credential {
    /// Never the secret: what is printed ends in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Basic { .. } => "Credential::Basic",
            Self::IdentityToken(_) => "Credential::IdentityToken",
            Self::BearerToken(_) => "Credential::BearerToken",
        })
    }
}

/// Knows the credentials that the user has given for registries.
pub trait Keyring: Sync {
    /// The credential of exactly this registry: `docker.io`, `localhost:5000`.
    fn credential(&self, registry: &str) -> Option<Credential>;
}

/// A keyring without keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keyring for NoKeys {
    fn credential(&self, _registry: &str) -> Option<Credential> {
        None
    }
}

/// Through which proxies the network is reached; empty texts mean directly.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http:` addresses.
    pub http: String,
    /// For `https:` addresses.
    pub https: String,
    /// Hosts that are reached directly, separated by commas.
    pub none: String,
}

impl fmt::Debug for Proxies {
    /// The address of a proxy may carry a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proxies").field("none", &self.none).finish_non_exhaustive()
    }
}

/// With what rights and by which way a request goes to registries.
#[derive(Clone)]
pub struct RegistryAccess<'a> {
    /// The credentials.
    pub keyring: &'a dyn Keyring,
    /// The way.
    pub proxies: Proxies,
    /// Headers that the user wants to be sent to the registries that the user names.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for RegistryAccess<'_> {
    /// Headers may carry secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RegistryAccess").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

impl Default for RegistryAccess<'_> {
    /// Nobody in particular, directly.
    fn default() -> Self {
        RegistryAccess::anonymous()
    }
}

impl RegistryAccess<'static> {
    /// Nobody in particular, directly.
    pub fn anonymous() -> Self {
        Self { keyring: &NoKeys, proxies: Proxies::default(), headers: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let credential = Credential::Basic { username: "u".to_owned(), password: "hunter2".to_owned() };
        let proxies = Proxies { https: "http://u:hunter2@proxy".to_owned(), ..Proxies::default() };
        let headers = vec![("X-Key".to_owned(), "hunter2".to_owned())];
        let access = RegistryAccess { keyring: &NoKeys, proxies, headers };
        assert!(!format!("{credential:?} {access:?}").contains("hunter2"));
    }
}
