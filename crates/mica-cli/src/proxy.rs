//! The proxies that `config.json` names for containers and builds, as docker's client hands them on.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The engine that docker's client means when nothing is said; proxies may be set for it alone.
const ENGINE_DEFAULT: &str = "unix:///var/run/docker.sock";

/// The proxies for one engine; empty texts are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct EngineProxies {
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    pub ftp_proxy: String,
    pub all_proxy: String,
}

/// The variables that containers and commands of builds get, in both spellings, without those that `is_known` says are
/// set already.
pub(crate) fn variables(
    proxies: &BTreeMap<String, EngineProxies>,
    is_known: impl Fn(&str) -> bool,
) -> Vec<(String, String)> {
    let Some(own) = proxies.get(ENGINE_DEFAULT).or_else(|| proxies.get("default")) else { return Vec::new() };
    let pairs = [
        ("ALL_PROXY", &own.all_proxy),
        ("FTP_PROXY", &own.ftp_proxy),
        ("HTTP_PROXY", &own.http_proxy),
        ("HTTPS_PROXY", &own.https_proxy),
        ("NO_PROXY", &own.no_proxy),
    ];
    let set = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let spelt = set.flat_map(|(name, value)| {
        [name.to_owned(), name.to_ascii_lowercase()].map(|name| (name, value.clone()))
    });
    spelt.filter(|(name, _)| !is_known(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_set_unless_one_is_typed() {
        let proxies = |key: &str, http: &str| {
            let own = EngineProxies { http_proxy: http.to_owned(), ..EngineProxies::default() };
            (key.to_owned(), own)
        };
        let all = BTreeMap::from([proxies("default", "http://p"), proxies("tcp://other:1", "http://q")]);
        let shown = |all: &BTreeMap<_, _>, typed: &str| {
            let pairs = variables(all, |name| name == typed).into_iter();
            pairs.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(shown(&all, ""), ["HTTP_PROXY=http://p", "http_proxy=http://p"]);
        assert_eq!(shown(&all, "HTTP_PROXY"), ["http_proxy=http://p"]);
        let own = BTreeMap::from([proxies("default", "http://p"), proxies(ENGINE_DEFAULT, "http://own")]);
        assert_eq!(shown(&own, "http_proxy"), ["HTTP_PROXY=http://own"]);
        assert!(variables(&BTreeMap::new(), |_| false).is_empty());
    }
}
