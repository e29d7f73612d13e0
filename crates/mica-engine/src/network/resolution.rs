//! How a container's programs find others: its `hosts`, its `resolv.conf`, and the resolver behind it.

use crate::Local;
use crate::container::record::{Definition, Record};
use crate::disk::write_shown_file;
use crate::error::{Error, Result};
use crate::network::endpoint::{Endpoint, Place};
use crate::network::links::split_link;
use crate::network::record::{DEFAULT, Network};
use mica_api::types::host_config::HostConfig;
use mica_network::{Member, Membership, Names, Resolution};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Where the host's own resolvers are named; the second is that of systemd-resolved, whose own
/// address no container reaches.
const HOST_FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// Longest `hosts` or `resolv.conf` of a running container that is changed, in bytes.
const HOSTS_LENGTH_MAX: u64 = 1 << 20;

/// How names are resolved in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolver {
    /// What the container's `resolv.conf` says.
    pub(crate) resolution: Resolution,
    /// The resolvers that its own one asks.
    pub(crate) servers: Vec<SocketAddr>,
    /// Whether its programs ask that; else it waits until the container is on a network with names.
    pub(crate) is_asked: bool,
}

/// Whether this network has names.
pub(crate) fn has_names(network: &Network) -> bool {
    network.name != DEFAULT && !Network::is_plain(&network.name)
}

/// Chooses for a container on these networks.
pub(crate) fn resolver(host: &HostConfig, networks: &[Network]) -> Result<Resolver> {
    let files = HOST_FILES.map(|path| std::fs::read_to_string(path).unwrap_or_default());
    choose(host, networks.iter().any(has_names), files.each_ref().map(String::as_str))
}

fn choose(host: &HostConfig, has_names: bool, files: [&str; 2]) -> Result<Resolver> {
    let [mut of_host, of_systemd] = files.map(Resolution::parse);
    if !of_host.is_reachable_from_outside() && of_systemd.is_reachable_from_outside() {
        of_host.servers = of_systemd.servers;
    }
    let mut resolution = of_host;
    if let Some(servers) = host.dns.as_ref().filter(|list| !list.is_empty()) {
        resolution.servers = servers.iter().map(|text| parse_server(text)).collect::<Result<_>>()?;
    }
    if let Some(search) = host.dns_search.as_ref().filter(|list| !list.is_empty()) {
        // A single dot takes all words away.
        resolution.search = search.iter().filter(|word| *word != ".").cloned().collect();
    }
    if let Some(options) = host.dns_options.as_ref().filter(|list| !list.is_empty()) {
        resolution.options.clone_from(options);
    }
    let is_own = host.dns.as_ref().is_some_and(|list| !list.is_empty());
    // On the default network the host's resolvers are asked directly, as docker does it, unless they
    // can only be asked from the host itself.
    let servers = resolution.servers.iter().map(|ip| SocketAddr::new(*ip, 53)).collect();
    if !has_names && (is_own || resolution.is_reachable_from_outside()) {
        return Ok(Resolver { resolution, servers, is_asked: false });
    }
    resolution.servers = vec![mica_network::RESOLVER.into()];
    if has_names && !resolution.options.iter().any(|option| option.starts_with("ndots:")) {
        resolution.options.push("ndots:0".to_owned());
    }
    Ok(Resolver { resolution, servers, is_asked: true })
}

fn parse_server(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| Error::invalid(format!("{text} is not an ip address")))
}

/// Refuses what makes no sense.
pub(crate) fn check(host: &HostConfig) -> Result<()> {
    for server in host.dns.iter().flatten() {
        parse_server(server)?;
    }
    let words = host.dns_search.iter().chain(&host.dns_options).flatten();
    if let Some(wrong) = words.into_iter().find(|word| word.is_empty() || word.contains(char::is_whitespace))
    {
        return Err(Error::invalid(format!("invalid word for resolv.conf: {wrong:?}")));
    }
    for line in host.extra_hosts.iter().flatten() {
        parse_extra(line, None)?;
    }
    Ok(())
}

/// `name:address`, `host-gateway` being the host as the container sees it.
fn parse_extra(line: &str, gateway: Option<IpAddr>) -> Result<(IpAddr, String)> {
    let wrong = || Error::invalid(format!("bad format for add-host: {line:?}"));
    let (name, address) = line.split_once([':', '=']).ok_or_else(wrong)?;
    let is_name = !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || letter == '#');
    let ip = match address {
        "host-gateway" => gateway.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        _ => address
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?,
    };
    if is_name { Ok((ip, name.to_owned())) } else { Err(wrong()) }
}

/// What a container is called in its own `hosts`: its whole name, and what is before the first dot.
fn own_names(definition: &Definition) -> String {
    let config = &definition.config;
    let whole = match config.domainname.as_str() {
        "" => config.hostname.clone(),
        domain => format!("{}.{domain}", config.hostname),
    };
    match whole.split_once('.') {
        Some((bare, _)) => format!("{whole} {bare}"),
        None => whole,
    }
}

/// The container's own lines of `hosts`.
pub(crate) fn host_lines(
    definition: &Definition,
    places: &[&Place],
    links: &[(IpAddr, String)],
) -> Result<Vec<(IpAddr, String)>> {
    let gateway = places.iter().flat_map(|place| &place.gateways).copied().next();
    let own = own_names(definition);
    let extra = definition.host_config.extra_hosts.iter().flatten();
    let mut lines: Vec<_> = extra.map(|line| parse_extra(line, gateway)).collect::<Result<_>>()?;
    lines.extend(links.iter().cloned());
    lines.extend(places.iter().flat_map(|place| place.ips()).map(|ip| (ip, own.clone())));
    Ok(lines)
}

impl Local {
    /// Writes the files that a container's programs read.
    pub(crate) fn write_resolution(
        &self,
        record: &Record,
        resolver: &Resolver,
        lines: &[(IpAddr, String)],
    ) -> Result<()> {
        let disk = self.disk.container(&record.id);
        write_shown_file(&disk.hosts(), mica_network::hosts(lines).as_bytes())?;
        write_shown_file(&disk.resolv_conf(), resolver.resolution.text().as_bytes())
    }

    /// Adds a running container's name at a further place to its `hosts`.
    pub(crate) fn add_hosts(&self, record: &Record, place: &Place) -> Result<()> {
        self.edit_hosts(record, place, true)
    }

    /// Takes its name at a place from its `hosts`.
    pub(crate) fn forget_hosts(&self, record: &Record, place: &Place) -> Result<()> {
        self.edit_hosts(record, place, false)
    }

    /// Lines of others, which the container's programs may have written, stay. The file is written
    /// where it is, for the container has it by a mount.
    fn edit_hosts(&self, record: &Record, place: &Place, is_there: bool) -> Result<()> {
        let path = self.disk.container(&record.id).hosts();
        let Some(text) = read_some(&path)? else { return Ok(()) };
        let own = own_names(&record.definition(&self.database())?);
        let lines: Vec<String> = place.ips().iter().map(|ip| format!("{ip}\t{own}")).collect();
        let kept = text.lines().filter(|line| !lines.iter().any(|own| own == line)).map(str::to_owned);
        let mut edited: Vec<String> = kept.collect();
        if is_there {
            edited.extend(lines);
        }
        write_shown_file(&path, (edited.join("\n") + "\n").as_bytes())
    }

    /// Lets a running container ask its own resolver, now that it is on a network with names: unless its
    /// programs have changed `resolv.conf`, or ask it already.
    pub(crate) fn wake_resolver(
        &self,
        record: &Record,
        namespace: BorrowedFd<'_>,
        networks: (&[Network], &[Network]),
    ) -> Result<()> {
        let definition = record.definition(&self.database())?;
        let [before, now] = [networks.0, networks.1].map(|all| resolver(&definition.host_config, all));
        let (before, now) = (before?, now?);
        let path = self.disk.container(&record.id).resolv_conf();
        let is_untouched = read_some(&path)?.is_some_and(|text| text == before.resolution.text());
        if before.is_asked || !now.is_asked || !is_untouched {
            return Ok(());
        }
        mica_network::sandbox::wake_resolver(namespace)?;
        write_shown_file(&path, now.resolution.text().as_bytes())
    }

    /// Tells the resolvers of its neighbours about a container.
    pub(crate) fn tell_neighbours(
        &self,
        record: &Record,
        host_name: &str,
        on: &[(Network, Endpoint)],
    ) -> Result<()> {
        let run: &Path = self.disk.run_root();
        let links = |endpoint: &Endpoint| {
            let split = endpoint.settings.links.iter().flatten().map(|link| split_link(link));
            split.map(|(alias, target)| (alias.to_owned(), target.to_owned())).collect()
        };
        let membership = |(network, endpoint): &(Network, Endpoint)| Membership {
            id: network.id.clone(),
            name: network.name.clone(),
            is_internal: network.definition.plan.is_internal,
            links: links(endpoint),
        };
        let memberships: Vec<Membership> = on.iter().map(membership).collect();
        mica_network::membership::write(run, record.id.as_str(), &memberships)?;
        for (network, endpoint) in on.iter().filter(|(network, _)| has_names(network)) {
            let Some(place) = &endpoint.place else { continue };
            let member = Member {
                container: record.id.to_string(),
                addresses: place.ips(),
                names: names_of(record, host_name, endpoint),
            };
            Names::of(run, &network.id).add(&member)?;
        }
        Ok(())
    }
}

/// Reads a file that a container's programs may have written; `None` if they have made it very long.
fn read_some(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    let read = opened.and_then(|file| file.take(HOSTS_LENGTH_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| Error::io("read", path, source))?;
    let is_short = bytes.len() as u64 <= HOSTS_LENGTH_MAX;
    Ok(is_short.then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// What a container is called on a network: its name, aliases, the short id, the host name.
pub(crate) fn names_of(record: &Record, host_name: &str, endpoint: &Endpoint) -> Vec<String> {
    let mut names = vec![record.name.clone()];
    names.extend(endpoint.settings.aliases.iter().flatten().cloned());
    names.extend([record.id.short().to_owned(), host_name.to_owned()]);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| !name.is_empty() && seen.insert(name.to_ascii_lowercase()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTSIDE: &str = "nameserver 10.0.0.53\nsearch corp.test\n";

    #[test]
    fn the_default_network_asks_the_hosts_resolvers_where_it_can() {
        let host = HostConfig::default();
        let direct = choose(&host, false, [OUTSIDE, ""]).unwrap();
        assert_eq!(direct.resolution.text(), OUTSIDE);
        assert!(!direct.is_asked);
        let by_systemd = choose(&host, false, ["nameserver 127.0.0.53\n", OUTSIDE]).unwrap();
        assert_eq!(by_systemd.resolution.servers, ["10.0.0.53".parse::<IpAddr>().unwrap()]);
        let local = choose(&host, false, ["nameserver 127.0.0.1\n", ""]).unwrap();
        assert_eq!(local.resolution.text(), "nameserver 127.0.0.11\n");
        assert!(local.is_asked);
        assert_eq!(local.servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn networks_with_names_have_a_resolver_of_their_own() {
        let host = HostConfig {
            dns: Some(vec!["9.9.9.9".to_owned()]),
            dns_search: Some(vec![".".to_owned()]),
            ..HostConfig::default()
        };
        let resolver = choose(&host, true, [OUTSIDE, ""]).unwrap();
        assert_eq!(resolver.resolution.text(), "nameserver 127.0.0.11\noptions ndots:0\n");
        assert_eq!(resolver.servers, ["9.9.9.9:53".parse().unwrap()]);
    }

    #[test]
    fn extra_hosts_have_a_name_and_an_address() {
        let gateway: IpAddr = "172.17.0.1".parse().unwrap();
        assert_eq!(parse_extra("h:host-gateway", Some(gateway)).unwrap().0, gateway);
        assert_eq!(parse_extra("six:fd00::1", None).unwrap().0, "fd00::1".parse::<IpAddr>().unwrap());
        for wrong in ["", "a", ":1.2.3.4", "a b:1.2.3.4", "a:b", "a\n6.6.6.6 x:1.2.3.4"] {
            assert!(parse_extra(wrong, None).is_err(), "{wrong:?}");
        }
    }
}
