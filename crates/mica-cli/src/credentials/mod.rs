//! Who the user is to registries: what `config.json` and credential helpers know, in docker's formats.

pub mod file;
pub mod program;

use crate::config::Config;
use file::AuthFile;
use mica_model::{Credential, Keyring};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Under which key docker keeps the credentials of docker.io.
pub const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// The key of a registry in `config.json` and at helpers.
pub fn key_of(registry: &str) -> String {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => DOCKER_KEY.to_owned(),
        other => other.to_owned(),
    }
}

/// The credentials of the user, each looked up when a registry asks for it.
#[derive(Debug)]
pub struct UserKeyring {
    path: std::path::PathBuf,
    file: OnceLock<AuthFile>,
    known: Mutex<HashMap<String, Option<Credential>>>,
}

impl UserKeyring {
    /// That of the user whose configuration this is.
    pub fn new(config: &Config) -> Self {
        Self { path: config.file_path(), file: OnceLock::new(), known: Mutex::default() }
    }

    /// `config.json`; one that cannot be read has no credentials.
    pub fn file(&self) -> &AuthFile {
        self.file.get_or_init(|| AuthFile::read(&self.path).unwrap_or_default())
    }

    fn look_up(&self, registry: &str) -> Option<Credential> {
        let file = self.file();
        match file.helper_of(registry) {
            // A helper that fails is as one that knows nothing: the registry then says what is missing.
            Some(name) => program::get(name, &key_of(registry)).ok().flatten(),
            None => file.credential(registry),
        }
    }
}

impl Keyring for UserKeyring {
    fn credential(&self, registry: &str) -> Option<Credential> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(registry.to_owned()).or_insert_with(|| self.look_up(registry)).clone()
    }
}
