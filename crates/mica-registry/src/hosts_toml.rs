//! containerd's `hosts.toml`: mirrors, capabilities, certificates and headers of one registry
//! (containerd `docs/hosts.md`).

use crate::endpoint::{Capabilities, Encryption, Endpoint, Trust, split_address};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// The whole file.
#[derive(Debug, Deserialize)]
struct File {
    server: Option<String>,
    #[serde(default)]
    host: Table,
    #[serde(flatten)]
    own: Host,
}

/// What is said of one host.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Host {
    capabilities: Option<Vec<String>>,
    ca: Option<Value>,
    client: Option<Value>,
    skip_verify: bool,
    override_path: bool,
    header: Table,
}

/// The endpoints that a file names, the registry itself last.
pub(crate) fn read(path: &Path, origin: &Endpoint) -> Result<Vec<Endpoint>> {
    let wrong = |reason: String| Error::Configuration { path: path.to_owned(), reason };
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    parse(&text, directory, origin).map_err(wrong)
}

fn parse(text: &str, directory: &Path, origin: &Endpoint) -> std::result::Result<Vec<Endpoint>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut endpoints = Vec::new();
    for (address, value) in file.host {
        let host: Host = value.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        endpoints.push(endpoint(&address, &host, directory, origin)?);
    }
    let mut last = match &file.server {
        Some(server) => endpoint(server, &file.own, directory, origin)?,
        None => origin.clone(),
    };
    if file.server.is_none() {
        apply(&mut last, &file.own, directory)?;
    }
    last.key.clone_from(&origin.key);
    last.is_origin = true;
    endpoints.push(last);
    Ok(endpoints)
}

fn endpoint(
    address: &str,
    host: &Host,
    directory: &Path,
    origin: &Endpoint,
) -> std::result::Result<Endpoint, String> {
    let address = if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let (encryption, rest) =
        split_address(&address).ok_or_else(|| format!("{address:?} is not an address of a registry"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    let has_version = path.ends_with("/v2") || host.override_path;
    let is_same = authority == origin.authority;
    let mut endpoint = Endpoint {
        authority: authority.to_owned(),
        encryption,
        prefix: if has_version { path } else { format!("{path}/v2") },
        capabilities: Capabilities::ALL,
        headers: Vec::new(),
        trust: Trust::default(),
        key: if is_same { origin.key.clone() } else { authority.to_owned() },
        is_origin: is_same,
    };
    apply(&mut endpoint, host, directory)?;
    Ok(endpoint)
}

fn apply(endpoint: &mut Endpoint, host: &Host, directory: &Path) -> std::result::Result<(), String> {
    if let Some(capabilities) = &host.capabilities {
        let has = |word: &str| capabilities.iter().any(|capability| capability == word);
        endpoint.capabilities =
            Capabilities { pull: has("pull"), resolve: has("resolve"), push: has("push") };
    }
    if let Some(value) = &host.ca {
        endpoint.trust.authorities =
            paths(value, directory).ok_or("ca is neither a path nor a list of paths")?;
    }
    if let Some(value) = &host.client {
        endpoint.trust.client = Some(
            client(value, directory).ok_or("client is neither a path nor a list of certificates and keys")?,
        );
    }
    endpoint.trust.is_blind |= host.skip_verify;
    if host.skip_verify && endpoint.encryption == Encryption::IfPossible {
        endpoint.encryption = Encryption::Always;
    }
    for (name, value) in &host.header {
        let values = words(value).ok_or_else(|| format!("header {name:?} is neither a text nor a list"))?;
        endpoint.headers.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(())
}

fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(word) => Some(vec![word.clone()]),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn paths(value: &Value, directory: &Path) -> Option<Vec<PathBuf>> {
    Some(words(value)?.into_iter().map(|word| directory.join(word)).collect())
}

/// The first pair: `"both.pem"`, `["both.pem"]` or `[["certificate", "key"]]`.
fn client(value: &Value, directory: &Path) -> Option<(PathBuf, PathBuf)> {
    let first = match value {
        Value::Array(list) => list.first()?,
        other => other,
    };
    let mut paths = paths(first, directory)?.into_iter();
    let certificate = paths.next()?;
    let key = paths.next().unwrap_or_else(|| certificate.clone());
    Some((certificate, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Endpoint {
        Endpoint {
            authority: "registry-1.docker.io".to_owned(),
            encryption: Encryption::Always,
            prefix: "/v2".to_owned(),
            capabilities: Capabilities::ALL,
            headers: Vec::new(),
            trust: Trust::default(),
            key: "docker.io".to_owned(),
            is_origin: true,
        }
    }

    #[test]
    fn hosts_are_asked_in_the_order_they_are_written() {
        let text = r#"
            server = "https://registry-1.docker.io"
            ca = "own.crt"
            [host."https://zeta.example"]
            capabilities = ["pull", "resolve"]
            ca = ["a.crt", "/etc/b.crt"]
            client = [["c.cert", "c.key"]]
            [host."https://zeta.example".header]
            x-key = "v"
            [host."http://alpha.example:5000/team/"]
            skip_verify = true
        "#;
        let found = parse(text, Path::new("/d"), &origin()).unwrap();
        assert_eq!(found[0].authority, "zeta.example");
        assert_eq!(found[0].trust.authorities, [Path::new("/d/a.crt"), Path::new("/etc/b.crt")]);
        assert_eq!(found[0].trust.client, Some(("/d/c.cert".into(), "/d/c.key".into())));
        assert_eq!(found[0].headers, [("x-key".to_owned(), "v".to_owned())]);
        assert!(!found[0].capabilities.push && !found[0].is_origin);
        assert_eq!((found[1].prefix.as_str(), found[1].encryption), ("/team/v2", Encryption::Never));
        assert_eq!((found[2].key.as_str(), found[2].is_origin), ("docker.io", true));
        assert_eq!(found[2].trust.authorities, [Path::new("/d/own.crt")]);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        for text in
            ["server = 1", "[host.\"ftp://x\"]", "ca = 3", "nonsense", "[host.\"https://x\"]\nclient=[1]"]
        {
            assert!(parse(text, Path::new("/"), &origin()).is_err(), "{text}");
        }
        assert_eq!(parse("", Path::new("/"), &origin()).unwrap(), [origin()]);
    }
}
