//! The part of `config.json` that holds credentials, and its change without harm to the rest.

use super::key_of;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mica_model::Credential;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What `config.json` says about registries.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthFile {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
    /// Headers for every request to a registry.
    #[serde(rename = "HttpHeaders")]
    pub headers: BTreeMap<String, String>,
}

impl std::fmt::Debug for AuthFile {
    /// Nothing of it is for logs.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuthFile").finish_non_exhaustive()
    }
}

#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl AuthFile {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// It cannot be read or is not what it should be.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// The helper that keeps the credential of a registry.
    pub fn helper_of(&self, registry: &str) -> Option<&str> {
        let own = self.helpers.get(registry).or_else(|| self.helpers.get(&key_of(registry)));
        let name = own.unwrap_or(&self.store);
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// The credential that the file itself has for a registry.
    pub fn credential(&self, registry: &str) -> Option<Credential> {
        let key = key_of(registry);
        let entry = self.auths.get(&key).or_else(|| {
            self.auths.iter().find(|(name, _)| host_of(name) == host_of(&key)).map(|(_, entry)| entry)
        })?;
        entry.credential()
    }

    /// The registries that the file itself has credentials of.
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        self.auths.keys().map(String::as_str)
    }
}

impl Entry {
    fn credential(&self) -> Option<Credential> {
        if !self.identitytoken.is_empty() {
            return Some(Credential::IdentityToken(self.identitytoken.clone()));
        }
        if !self.registrytoken.is_empty() {
            return Some(Credential::BearerToken(self.registrytoken.clone()));
        }
        if self.auth.is_empty() {
            let (username, password) = (self.username.clone(), self.password.clone());
            return (!username.is_empty()).then_some(Credential::Basic { username, password });
        }
        let pair = String::from_utf8(STANDARD.decode(&self.auth).ok()?).ok()?;
        let (username, password) = pair.split_once(':')?;
        let (username, password) = (username.to_owned(), password.trim_end_matches('\0').to_owned());
        Some(Credential::Basic { username, password })
    }
}

/// The host of a key, which may be a whole address: `https://host/v1/`.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Writes the credential of a registry into `config.json`, or with `None` takes it out; everything
/// else in the file stays as it is. Several may do so at once.
///
/// # Errors
/// The file cannot be read, is damaged, or cannot be written.
pub fn change(path: &Path, registry: &str, entry: Option<&Credential>) -> io::Result<bool> {
    let path = resolved(path);
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(directory.join(".config.json.lock"))?;
    lock.lock()?;
    let mut document = match fs::read(&path) {
        Ok(text) if text.trim_ascii().is_empty() => Map::new(),
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error),
    };
    let auths = document.entry("auths").or_insert_with(|| json!({}));
    let Some(auths) = auths.as_object_mut() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its auths are not an object"));
    };
    let key = key_of(registry);
    let had = auths.shift_remove(&key).is_some();
    if let Some(credential) = entry {
        auths.insert(key, value_of(credential));
    } else if !had {
        return Ok(false);
    }
    let mut text = serde_json::to_vec_pretty(&document)?;
    text.push(b'\n');
    write_atomically(&path, &text)?;
    Ok(had)
}

fn value_of(credential: &Credential) -> Value {
    match credential {
        Credential::Basic { username, password } => {
            json!({ "auth": STANDARD.encode(format!("{username}:{password}")) })
        }
        Credential::IdentityToken(token) => {
            // docker writes a name of zeros beside a token, and wants one when it reads.
            json!({ "auth": STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": token })
        }
        Credential::BearerToken(token) => json!({ "registrytoken": token }),
    }
}

/// The file itself where the path is a link, so that the link stays.
fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn write_atomically(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = path.with_file_name(format!(".config.json.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written =
        file.write_all(text).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    written.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn basic(username: &str, password: &str) -> Credential {
        Credential::Basic { username: username.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn every_form_of_entry_is_read() {
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dTpwOnc="},
            "https://old.example/v1/": {"username": "u", "password": "p"},
            "token.example": {"auth": "eDo=", "identitytoken": "t"},
            "broken.example": {"auth": "***"}
        }, "credHelpers": {"helped.example": "h"}, "other": 1}"#;
        let file: AuthFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.credential("docker.io"), Some(basic("u", "p:w")));
        assert_eq!(file.credential("old.example"), Some(basic("u", "p")));
        assert_eq!(file.credential("token.example"), Some(Credential::IdentityToken("t".to_owned())));
        assert_eq!(file.credential("broken.example"), None);
        assert_eq!(file.credential("example"), None);
        assert_eq!((file.helper_of("helped.example"), file.helper_of("old.example")), (Some("h"), None));
    }

    #[test]
    fn a_change_keeps_the_rest_and_the_link() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("real.json"), directory.path().join("config.json"));
        fs::write(&target, r#"{"psFormat": "x", "auths": {"a": {"auth": "eDp5"}}}"#).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        change(&link, "docker.io", Some(&basic("u", "p"))).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        let file = AuthFile::read(&link).unwrap();
        assert_eq!(file.credential("docker.io"), Some(basic("u", "p")));
        assert_eq!(file.credential("a"), Some(basic("x", "y")));
        assert!(change(&link, "docker.io", None).unwrap() && !change(&link, "docker.io", None).unwrap());
        assert!(fs::read_to_string(&link).unwrap().contains("psFormat"));
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/config.json");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || change(path, &format!("r{number}"), Some(&basic("u", "p"))).unwrap());
            }
        });
        assert_eq!(AuthFile::read(&path).unwrap().registries().count(), 8);
    }

    #[test]
    fn a_damaged_file_is_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, "{damaged").unwrap();
        assert!(change(&path, "a", Some(&basic("u", "p"))).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{damaged");
    }
}
