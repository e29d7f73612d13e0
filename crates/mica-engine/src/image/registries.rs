//! The registries as the machine's settings see them, opened by the first command that needs one.

use crate::Local;
use crate::error::{Error, Result};
use mica_api::types::image::LoginRequest;
use mica_model::{Credential, Reference};
use mica_registry::{Registries, Settings};
use std::path::PathBuf;
use std::time::Duration;

/// Where docker and containerd have their files about registries.
const CERTIFICATE_DIRECTORIES: [&str; 2] = ["/etc/docker/certs.d", "/etc/containerd/certs.d"];

impl Local {
    pub(crate) fn registries(&self) -> Result<&Registries> {
        if let Some(registries) = self.registries.get() {
            return Ok(registries);
        }
        let config = &self.config()?.registry;
        let defaults = Settings::default();
        let own = self.config_path.parent().map(|directory| directory.join("certs.d"));
        let settings = Settings {
            certificate_directories: own
                .into_iter()
                .chain(CERTIFICATE_DIRECTORIES.map(PathBuf::from))
                .collect(),
            insecure: config.insecure.clone(),
            mirrors: config.mirrors.clone(),
            token_hosts: config.token_hosts.clone(),
            idle: config
                .idle_timeout_seconds
                .map_or(defaults.idle, |seconds| Duration::from_secs(seconds.max(1))),
            user_agent: defaults.user_agent,
        };
        Ok(self.registries.get_or_init(|| Registries::new(settings)))
    }
}

impl Local {
    /// Has a registry compare a credential; answers what to keep.
    pub(crate) fn log_in(&self, request: &LoginRequest<'_>) -> Result<Credential> {
        Ok(self.registries()?.login(&request.registry, &request.credential, &request.access)?)
    }
}

/// Says in docker's words what a registry refused about `name`.
pub(crate) fn refused(action: &'static str, name: &Reference, source: mica_registry::Error) -> Error {
    let is_denied = matches!(source, mica_registry::Error::Unauthorized { .. })
        || source.kind() == mica_model::ErrorKind::Unauthorized;
    if is_denied {
        return Error::AccessDenied { action, repository: name.familiar_name(), source: Box::new(source) };
    }
    if action == "pull" && source.is_missing() {
        return Error::ManifestUnknown { reference: name.familiar(), source: Box::new(source) };
    }
    source.into()
}
