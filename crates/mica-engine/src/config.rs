//! What the administrator of the machine has set: `/etc/mica/config.toml`, or the file that `MICA_CONFIG` names.
//!
//! It is read when something of it is asked for, not when the engine is opened. An unknown key is an error: a
//! setting that is misspelt and silently not in force is worse than none. Each room's section is a struct of
//! its own below [`Config`].

use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The whole file; what is missing has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Containers get `--security-opt no-new-privileges` unless they ask for the contrary.
    pub(crate) no_new_privileges: bool,
    /// Whose subordinate ids the containers' users are: `default`, `USER` or `USER:GROUP`; empty for nobody's.
    pub(crate) userns_remap: String,
    /// The directory of `subuid` and `subgid`; `/etc` when nothing is said.
    pub(crate) subordinate_ids: Option<PathBuf>,
    /// The log driver of containers that ask for none; empty is `json-file`.
    pub(crate) log_driver: String,
    /// Options for that driver, where a container does not say otherwise.
    pub(crate) log_opts: BTreeMap<String, String>,
    /// Where vendors' files of the Container Device Interface lie, instead of `/etc/cdi` and `/var/run/cdi`.
    pub(crate) cdi_spec_dirs: Option<Vec<PathBuf>>,
    /// How registries are reached.
    pub(crate) registry: RegistryConfig,
    /// How containers are reached.
    pub(crate) network: NetworkConfig,
    /// What builds keep.
    pub(crate) build: BuildConfig,
}

/// What builds keep for the next ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct BuildConfig {
    /// How much of the disk it may take, such as `20GB`; a tenth of the disk when nothing is said.
    pub(crate) cache_size_max: Option<String>,
    /// For how many days it may be unused; sixty when nothing is said.
    pub(crate) cache_days_max: Option<u32>,
}

/// How containers are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NetworkConfig {
    /// The host's address at which ports are published that name none; all addresses when nothing is said.
    pub(crate) publish_address: Option<IpAddr>,
    /// Whether what comes from other machines for a published port has to pass the host's own rules for
    /// incoming packets, as it would for a server of the host.
    pub(crate) respect_host_firewall: bool,
}

/// How registries are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RegistryConfig {
    /// Registries that may be spoken to without TLS, besides those of this machine: `host`, `host:port`
    /// or `10.0.0.0/8`.
    pub(crate) insecure: Vec<String>,
    /// Mirrors of docker.io, as addresses, asked before it.
    pub(crate) mirrors: Vec<String>,
    /// Hosts outside of a registry's domain that may see its credentials, to give tokens for them.
    pub(crate) token_hosts: Vec<String>,
    /// The compressed bytes of layers that are fetched stay for as long as an image has the layer.
    pub(crate) keep_compressed_blobs: bool,
    /// After so many seconds without a byte a registry counts as gone.
    pub(crate) idle_timeout_seconds: Option<u64>,
    /// How `push` compresses layers: `gzip`, which is used when nothing is said, or `zstd`.
    pub(crate) compression: String,
    /// How hard: 1 to 9 for gzip, 1 to 19 for zstd.
    pub(crate) compression_level: Option<i64>,
}

impl Config {
    /// Reads the file; none at all sets nothing.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(Error::io("read", path, source)),
        };
        toml::from_str(&text)
            .map_err(|source| Error::Config { path: path.to_owned(), source: Box::new(source) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn a_missing_file_sets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Config::read(&directory.path().join("none")).unwrap(), Config::default());
    }

    #[test]
    fn what_is_set_is_read() {
        assert!(read("no_new_privileges = true").unwrap().no_new_privileges);
        assert!(!read("").unwrap().no_new_privileges);
    }

    #[test]
    fn the_section_of_networks_has_an_address_and_a_switch() {
        let set = read("[network]\npublish_address = \"127.0.0.1\"\nrespect_host_firewall = true").unwrap();
        assert_eq!(set.network.publish_address, Some("127.0.0.1".parse().unwrap()));
        assert!(set.network.respect_host_firewall);
        assert!(read("[network]\npublish_address = \"everywhere\"").is_err());
    }

    #[test]
    fn an_unknown_key_and_a_wrong_type_are_refused_with_their_place() {
        for text in ["no_new_privilege = true", "no_new_privileges = 3", "no_new_privileges ="] {
            let error = mica_api::Error::from(read(text).unwrap_err());
            assert!(error.message.contains("config.toml") && error.message.contains("line 1"), "{error:?}");
        }
    }
}
