//! Whether a registry believes who somebody says to be.

use crate::endpoint::endpoints;
use crate::error::{Error, Result};
use crate::repository::Registries;
use crate::session::Session;
use crate::wire::Order;
use mica_model::{Credential, Keyring, RegistryAccess};

/// One credential, whatever registry is meant.
struct Only(Credential);

impl Keyring for Only {
    fn credential(&self, _registry: &str) -> Option<Credential> {
        Some(self.0.clone())
    }
}

impl Registries {
    /// Has a registry compare a credential; answers what to keep of it, which may be a token in its place.
    ///
    /// # Errors
    /// The registry does not believe it, or cannot be reached.
    pub fn login(
        &self,
        registry: &str,
        credential: &Credential,
        access: &RegistryAccess<'_>,
    ) -> Result<Credential> {
        let endpoint = endpoints(registry, self.settings())?
            .into_iter()
            .find(|endpoint| endpoint.is_origin)
            .ok_or_else(|| Error::protocol(registry, "no configured host can do this"))?;
        let keyring = Only(credential.clone());
        let own = RegistryAccess {
            keyring: &keyring,
            proxies: access.proxies.clone(),
            headers: access.headers.clone(),
        };
        let session = Session::new(endpoint, self.settings(), self.roots(), &own, Vec::new());
        let session = session.for_login();
        let path = session.path("/");
        session.call(|| Order::new("GET", path.clone()))?;
        Ok(session.identity_token().map_or_else(|| credential.clone(), Credential::IdentityToken))
    }
}
