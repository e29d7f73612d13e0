//! The files by which a container's programs find others: `hosts` and `resolv.conf`.

use std::net::IpAddr;

/// Address of the resolver that containers of user-defined networks ask.
pub const RESOLVER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 11);

/// The part that every container has.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// What resolvers are asked, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolution {
    /// `nameserver` lines.
    pub servers: Vec<IpAddr>,
    /// `search` words.
    pub search: Vec<String>,
    /// `options` words.
    pub options: Vec<String>,
}

/// `/etc/hosts`: the usual part, then lines of an address and names.
pub fn hosts(extra: &[(IpAddr, String)]) -> String {
    let mut text = HOSTS.to_owned();
    for (address, names) in extra {
        text.push_str(&format!("{address}\t{names}\n"));
    }
    text
}

impl Resolution {
    /// Reads a `resolv.conf` (resolv.conf(5)); what it does not know it leaves out.
    pub fn parse(text: &str) -> Self {
        let mut resolution = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A zone, as in fe80::1%eth0, means nothing elsewhere.
                    resolution.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()));
                }
                Some("search" | "domain") => resolution.search = words.map(str::to_owned).collect(),
                Some("options") => resolution.options.extend(words.map(str::to_owned)),
                _ => {}
            }
        }
        resolution
    }

    /// The text of a `resolv.conf`.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        for (word, list) in [("search", &self.search), ("options", &self.options)] {
            if !list.is_empty() {
                text.push_str(&format!("{word} {}\n", list.join(" ")));
            }
        }
        text
    }

    /// Whether a container in a network of its own reaches all of the servers.
    pub fn is_reachable_from_outside(&self) -> bool {
        !self.servers.is_empty() && !self.servers.iter().any(IpAddr::is_loopback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_and_written() {
        let text = "# made by hand\nnameserver 10.0.0.1 # first\nnameserver fe80::1%eth0\n\
                    search a.test b.test\noptions ndots:2\noptions timeout:1\nsortlist x\n";
        let read = Resolution::parse(text);
        assert_eq!(read.servers, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(read.text(), "nameserver 10.0.0.1\nsearch a.test b.test\noptions ndots:2 timeout:1\n");
        assert!(read.is_reachable_from_outside());
        assert!(!Resolution::parse("nameserver 127.0.0.53").is_reachable_from_outside());
        assert!(!Resolution::default().is_reachable_from_outside());
    }

    #[test]
    fn hosts_ends_with_the_containers_own_lines() {
        let text = hosts(&[("172.17.0.2".parse().unwrap(), "abc".to_owned())]);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n") && text.ends_with("172.17.0.2\tabc\n"));
    }
}
