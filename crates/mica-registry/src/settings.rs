//! What the machine's configuration says about registries: handed in, read nowhere.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long nothing may come from the other side.
const IDLE_DEFAULT: Duration = Duration::from_secs(60);

/// How registries are reached.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Directories with one directory per registry: docker's `certs.d` and containerd's with
    /// `hosts.toml`. The first that has something for a registry counts.
    pub certificate_directories: Vec<PathBuf>,
    /// Registries that may be spoken to without TLS or with a certificate of anybody: a host, a
    /// host with a port, or a network (`10.0.0.0/8`). Loopback always may.
    pub insecure: Vec<String>,
    /// Mirrors of docker.io, as addresses, asked before it.
    pub mirrors: Vec<String>,
    /// Hosts besides the registry's own domain that are trusted with its credentials, to
    /// give tokens for them.
    pub token_hosts: Vec<String>,
    /// How long nothing may come from the other side.
    pub idle: Duration,
    /// What we call ourselves.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            certificate_directories: Vec::new(),
            insecure: Vec::new(),
            mirrors: Vec::new(),
            token_hosts: Vec::new(),
            idle: IDLE_DEFAULT,
            user_agent: concat!("mica/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

impl Settings {
    /// Whether a registry may be spoken to without TLS.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        let host = host_of(authority);
        is_loopback(host) || self.insecure.iter().any(|rule| suits(rule, authority, host))
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(literal) = authority.strip_prefix('[') {
        return literal.split(']').next().unwrap_or(literal);
    }
    authority.split(':').next().unwrap_or(authority)
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn suits(rule: &str, authority: &str, host: &str) -> bool {
    if rule.eq_ignore_ascii_case(authority) || rule.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some((network, length)) = rule.split_once('/') else { return false };
    let (Ok(network), Ok(length), Ok(address)) = (network.parse(), length.parse::<u32>(), host.parse())
    else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) if length <= 32 => {
            let shift = 32 - length;
            u32::from(network).checked_shr(shift) == u32::from(address).checked_shr(shift)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) if length <= 128 => {
            let shift = 128 - length;
            u128::from(network).checked_shr(shift) == u128::from(address).checked_shr(shift)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_may_go_without_tls() {
        let insecure = ["reg.example:5000", "10.1.0.0/16", "fd00::/8"].map(str::to_owned).to_vec();
        let settings = Settings { insecure, ..Settings::default() };
        for yes in
            ["localhost", "127.0.0.9:5000", "[::1]:5000", "reg.example:5000", "10.1.2.3:80", "[fd01::1]"]
        {
            assert!(settings.is_insecure(yes), "{yes}");
        }
        for no in
            ["reg.example", "reg.example:5001", "10.2.0.1", "docker.io", "[fe80::1]", "localhost.example"]
        {
            assert!(!settings.is_insecure(no), "{no}");
        }
        assert!(suits("0.0.0.0/0", "1.2.3.4", "1.2.3.4"));
    }
}
