//! Whom a connection trusts and what it shows, from the files that the configuration names.

use crate::endpoint::Trust;
use crate::error::{Error, Result};
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// The system's authorities, read once and only where TLS is spoken.
#[derive(Debug, Default)]
pub(crate) struct SystemRoots(OnceLock<Vec<Certificate<'static>>>);

impl SystemRoots {
    fn certificates(&self) -> &[Certificate<'static>] {
        // Some unreadable files among many are no reason to trust none.
        self.0.get_or_init(|| {
            let loaded = rustls_native_certs::load_native_certs().certs;
            loaded.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
        })
    }
}

/// What a connection needs to know for TLS.
pub(crate) fn configuration(trust: &Trust, system: &SystemRoots) -> Result<TlsConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut builder = TlsConfig::builder().unversioned_rustls_crypto_provider(provider);
    if trust.is_blind {
        builder = builder.disable_verification(true).root_certs(RootCerts::new_with_certs(&[]));
    } else {
        let mut roots = system.certificates().to_vec();
        for path in &trust.authorities {
            roots.extend(read(path)?.into_iter().filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            }));
        }
        builder = builder.root_certs(RootCerts::new_with_certs(&roots));
    }
    if let Some((certificate, key)) = &trust.client {
        builder = builder.client_cert(Some(client(certificate, key)?));
    }
    Ok(builder.build())
}

fn client(certificate: &Path, key: &Path) -> Result<ClientCert> {
    let wrong =
        |path: &Path, reason: &str| Error::Configuration { path: path.to_owned(), reason: reason.to_owned() };
    let chain: Vec<Certificate<'static>> = read(certificate)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if chain.is_empty() {
        return Err(wrong(certificate, "it holds no certificate"));
    }
    let own_key: Option<PrivateKey<'static>> = read(key)?.into_iter().find_map(|item| match item {
        PemItem::PrivateKey(key) => Some(key),
        _ => None,
    });
    let own_key = own_key.ok_or_else(|| wrong(key, "it holds no private key"))?;
    Ok(ClientCert::new_with_certs(&chain, own_key))
}

fn read(path: &Path) -> Result<Vec<PemItem<'static>>> {
    let wrong = |reason: String| Error::Configuration { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    parse_pem(&bytes).collect::<std::result::Result<_, _>>().map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.cert");
        fs::write(&path, "nothing\n").unwrap();
        let trust = Trust { client: Some((path.clone(), path.clone())), is_blind: true, ..Trust::default() };
        let error = configuration(&trust, &SystemRoots::default()).unwrap_err();
        assert!(error.to_string().contains("no certificate"), "{error}");
        let trust = Trust { authorities: vec![directory.path().join("gone.crt")], ..Trust::default() };
        assert!(configuration(&trust, &SystemRoots::default()).is_err());
    }
}
