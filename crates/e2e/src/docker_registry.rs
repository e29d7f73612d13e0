//! A registry with a directory of its own, for tests that only say whether it has a password and TLS.

use crate::distribution::{Authority, Demands, Distribution};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub use crate::distribution::USER;

/// The password of [`USER`].
pub const PASSWORD: &str = "correct-horse-battery";

/// How a registry is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Asks for a name and a password.
    pub password: bool,
    /// Speaks TLS, with a certificate of its own authority.
    pub tls: bool,
}

/// A running registry, gone with all that it holds when it is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    // Before its directory, which must outlive it.
    registry: Distribution,
    directory: TempDir,
}

impl DockerRegistry {
    /// Whether the program is installed; says what is skipped if not.
    pub fn is_installed() -> bool {
        let found = Path::new("/usr/bin/docker-registry").is_file();
        if !found {
            eprintln!("skipped: docker-registry is not installed, `cargo xtask test` would install it");
        }
        found
    }

    /// An open registry on 127.0.0.1.
    ///
    /// # Panics
    /// If it does not start.
    pub fn new() -> Self {
        Self::start("127.0.0.1", Setup::default())
    }

    /// A registry on some address of this machine.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(host: &str, setup: Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("mica-registry-").tempdir_in("/var/tmp");
        let directory = directory.expect("a directory for the registry");
        let identity =
            setup.tls.then(|| Authority::new(directory.path()).issue("registry", &format!("IP:{host}"), 2));
        let password = setup.password.then(|| PASSWORD.to_owned());
        let demands = Demands { identity, password, client_authority: None };
        let registry = Distribution::start(directory.path(), host, &demands).expect("docker-registry");
        Self { registry, directory }
    }

    /// The certificate of the authority that vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }
}

impl Deref for DockerRegistry {
    type Target = Distribution;

    fn deref(&self) -> &Distribution {
        &self.registry
    }
}

impl DerefMut for DockerRegistry {
    fn deref_mut(&mut self) -> &mut Distribution {
        &mut self.registry
    }
}

impl Default for DockerRegistry {
    fn default() -> Self {
        Self::new()
    }
}
