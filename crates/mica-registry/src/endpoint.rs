//! Where the content of a registry is to be had: its mirrors and itself, in the order they are asked.
//!
//! Per registry there may be a directory `<host>[:<port>]` with a `hosts.toml` as containerd has it, or
//! with docker's `*.crt`, `*.cert` and `*.key`.

use crate::error::{Error, Result};
use crate::hosts_toml;
use crate::settings::Settings;
use std::fs;
use std::path::{Path, PathBuf};

/// The domain whose registry has another name.
pub(crate) const DOCKER_DOMAIN: &str = "docker.io";
/// That name.
const DOCKER_REGISTRY: &str = "registry-1.docker.io";

/// One place that speaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port.
    pub(crate) authority: String,
    pub(crate) encryption: Encryption,
    /// What comes before the repository: `/v2`.
    pub(crate) prefix: String,
    pub(crate) capabilities: Capabilities,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) trust: Trust,
    /// Under which name the keyring knows its credential.
    pub(crate) key: String,
    /// Whether it is the registry itself, not a mirror.
    pub(crate) is_origin: bool,
}

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    Always,
    /// If the other side can.
    IfPossible,
    Never,
}

/// What an endpoint is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) pull: bool,
    /// Says which content a tag means.
    pub(crate) resolve: bool,
    pub(crate) push: bool,
}

/// Whose certificates are believed, and which are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Trust {
    /// Certificate authorities besides those of the system.
    pub(crate) authorities: Vec<PathBuf>,
    /// A certificate and its key, which may be in the same file.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    /// Anybody's certificate will do.
    pub(crate) is_blind: bool,
}

impl Capabilities {
    pub(crate) const ALL: Self = Self { pull: true, resolve: true, push: true };
    pub(crate) const MIRROR: Self = Self { pull: true, resolve: true, push: false };
}

/// The endpoints for a domain, mirrors first.
pub(crate) fn endpoints(domain: &str, settings: &Settings) -> Result<Vec<Endpoint>> {
    for directory in directories(domain, settings) {
        let file = directory.join("hosts.toml");
        if file.exists() {
            return hosts_toml::read(&file, &origin(domain, settings));
        }
    }
    let mut endpoints = Vec::new();
    if domain == DOCKER_DOMAIN {
        for mirror in &settings.mirrors {
            endpoints.push(mirror_endpoint(mirror, settings)?);
        }
    }
    let mut origin = origin(domain, settings);
    for directory in directories(domain, settings) {
        if let Some(trust) = certificates(&directory)? {
            origin.trust.authorities = trust.authorities;
            origin.trust.client = trust.client;
            break;
        }
    }
    endpoints.push(origin);
    Ok(endpoints)
}

fn origin(domain: &str, settings: &Settings) -> Endpoint {
    let authority = if domain == DOCKER_DOMAIN { DOCKER_REGISTRY } else { domain };
    let mut endpoint = plain_endpoint(authority, settings);
    domain.clone_into(&mut endpoint.key);
    endpoint.is_origin = true;
    endpoint
}

/// An endpoint of which nothing but its host is known.
fn plain_endpoint(authority: &str, settings: &Settings) -> Endpoint {
    let is_insecure = settings.is_insecure(authority);
    Endpoint {
        authority: authority.to_owned(),
        encryption: if is_insecure { Encryption::IfPossible } else { Encryption::Always },
        prefix: "/v2".to_owned(),
        capabilities: Capabilities::ALL,
        headers: Vec::new(),
        trust: Trust { is_blind: is_insecure, ..Trust::default() },
        key: authority.to_owned(),
        is_origin: false,
    }
}

/// Somebody of the web who is no registry: only the system's certificates count.
pub(crate) fn stranger(authority: &str) -> Endpoint {
    Endpoint {
        authority: authority.to_owned(),
        encryption: Encryption::Always,
        prefix: String::new(),
        capabilities: Capabilities::MIRROR,
        headers: Vec::new(),
        trust: Trust::default(),
        key: String::new(),
        is_origin: false,
    }
}

fn mirror_endpoint(address: &str, settings: &Settings) -> Result<Endpoint> {
    let wrong = || Error::Configuration {
        path: PathBuf::from("config.toml"),
        reason: format!("{address:?} is not the address of a mirror, such as https://mirror.example"),
    };
    let (encryption, rest) = split_address(address).ok_or_else(wrong)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut endpoint = plain_endpoint(authority, settings);
    endpoint.encryption = encryption;
    endpoint.capabilities = Capabilities::MIRROR;
    if !path.trim_matches('/').is_empty() {
        endpoint.prefix = format!("/{}/v2", path.trim_matches('/'));
    }
    Ok(endpoint)
}

/// `https://rest` or `http://rest`.
pub(crate) fn split_address(address: &str) -> Option<(Encryption, &str)> {
    let (encryption, rest) = match address.split_once("://")? {
        ("https", rest) => (Encryption::Always, rest),
        ("http", rest) => (Encryption::Never, rest),
        _ => return None,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    (!authority.is_empty() && !authority.contains('@')).then_some((encryption, rest))
}

/// Where files about a registry may lie; containerd also knows a form without a colon.
fn directories(domain: &str, settings: &Settings) -> impl Iterator<Item = PathBuf> {
    let without_colon = format!("{}_", domain.replace(':', "_"));
    let names = [domain.to_owned(), without_colon, "_default".to_owned()];
    let roots = settings.certificate_directories.clone();
    names.into_iter().flat_map(move |name| roots.clone().into_iter().map(move |root| root.join(&name)))
}

/// docker's files: every `*.crt` is an authority, a `*.cert` belongs to the `*.key` of its name.
fn certificates(directory: &Path) -> Result<Option<Trust>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(None) };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut trust = Trust::default();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trust.authorities.push(path),
            Some("cert") => {
                let key = path.with_extension("key");
                if !key.exists() {
                    let reason = format!("missing key {} for client certificate", key.display());
                    return Err(Error::Configuration { path, reason });
                }
                trust.client = Some((path, key));
            }
            _ => {}
        }
    }
    let is_empty = trust.authorities.is_empty() && trust.client.is_none();
    Ok((!is_empty).then_some(trust))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_io_is_reached_by_its_other_name_after_its_mirrors() {
        let mirrors = vec!["https://mirror.example/cache".to_owned(), "http://10.0.0.1:5000".to_owned()];
        let settings = Settings { mirrors, ..Settings::default() };
        let found = endpoints("docker.io", &settings).unwrap();
        let authorities: Vec<_> = found.iter().map(|endpoint| endpoint.authority.as_str()).collect();
        assert_eq!(authorities, ["mirror.example", "10.0.0.1:5000", DOCKER_REGISTRY]);
        assert_eq!((found[0].prefix.as_str(), found[1].prefix.as_str()), ("/cache/v2", "/v2"));
        assert_eq!((found[2].key.as_str(), found[2].encryption), ("docker.io", Encryption::Always));
        assert!(!found[0].capabilities.push && found[2].capabilities.push);
        assert_eq!(endpoints("quay.io", &settings).unwrap().len(), 1);
    }

    #[test]
    fn dockers_certificates_are_found() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("reg.example:5000");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("ca.crt"), "").unwrap();
        fs::write(directory.join("client.cert"), "").unwrap();
        let settings =
            Settings { certificate_directories: vec![root.path().to_owned()], ..Settings::default() };
        let error = endpoints("reg.example:5000", &settings).unwrap_err();
        assert!(error.to_string().contains("missing key"), "{error}");
        fs::write(directory.join("client.key"), "").unwrap();
        let trust = endpoints("reg.example:5000", &settings).unwrap()[0].trust.clone();
        assert_eq!(trust.authorities, [directory.join("ca.crt")]);
        assert_eq!(trust.client, Some((directory.join("client.cert"), directory.join("client.key"))));
        assert_eq!(endpoints("reg.example", &settings).unwrap()[0].trust, Trust::default());
    }

    #[test]
    fn an_address_is_a_scheme_and_a_host() {
        assert!(split_address("https://h").is_some());
        for wrong in ["h", "ftp://h", "https://", "file:///etc", "https://u:p@h"] {
            assert!(split_address(wrong).is_none(), "{wrong}");
        }
    }
}
