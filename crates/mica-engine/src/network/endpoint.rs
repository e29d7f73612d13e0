//! A container's place in a network: what it wishes, and what it has while it runs.

use crate::database::query;
use crate::error::{Error, Result};
use crate::network::endpoint_options::EndpointOptions;
use crate::network::record::{Network, new_id};
use mica_api::types::network::EndpointSettings;
use mica_network::{Address, EndpointPlan, Site, Subnet};
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The record.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) container: String,
    pub(crate) network: String,
    pub(crate) position: i64,
    pub(crate) settings: EndpointSettings,
    /// While the container runs.
    pub(crate) place: Option<Place>,
}

/// What a running container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) interface: String,
    pub(crate) mac: [u8; 6],
    pub(crate) addresses: Vec<Address>,
    /// Settings of its link: files below `/proc/sys/net`, and what is to be in them.
    #[serde(default)]
    pub(crate) settings: Vec<(String, String)>,
    /// Those that it wished for besides, which no name leads to.
    #[serde(default)]
    pub(crate) further: Vec<Address>,
    /// Of the network, whether or not this container goes out by way of it.
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) has_default_route: bool,
    pub(crate) ports: Vec<PublishedPort>,
}

/// A port of the host that leads to the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedPort {
    pub(crate) protocol: mica_network::Protocol,
    pub(crate) private: u16,
    pub(crate) host: IpAddr,
    pub(crate) port: u16,
}

const COLUMNS: &str = "container, network, position, settings, place";

impl Endpoint {
    /// A new one that has nothing yet.
    pub(crate) fn new(container: &str, network: &Network, position: i64, settings: EndpointSettings) -> Self {
        Self { container: container.to_owned(), network: network.id.clone(), position, settings, place: None }
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let settings: String = row.get(3)?;
        let place: Option<String> = row.get(4)?;
        Ok(Self {
            container: row.get(0)?,
            network: row.get(1)?,
            position: row.get(2)?,
            settings: serde_json::from_str(&settings).unwrap_or_default(),
            place: place.and_then(|text| serde_json::from_str(&text).ok()),
        })
    }

    fn select(connection: &Connection, condition: &str, value: &str) -> rusqlite::Result<Vec<Self>> {
        let text = format!("SELECT {COLUMNS} FROM endpoint WHERE {condition} ORDER BY container, position");
        connection.prepare(&text)?.query_map([value], Self::from_row)?.collect()
    }

    /// Those of a container, in the order of its interfaces.
    pub(crate) fn of_container(connection: &Connection, container: &str) -> rusqlite::Result<Vec<Self>> {
        Self::select(connection, "container = ?1", container)
    }

    /// Those on a network.
    pub(crate) fn of_network(connection: &Connection, network: &str) -> rusqlite::Result<Vec<Self>> {
        Self::select(connection, "network = ?1", network)
    }

    /// All that have a place now.
    pub(crate) fn all_live(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        Self::select(connection, "place IS NOT NULL AND ?1 = ''", "")
    }

    /// All of them.
    pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        Self::select(connection, "?1 = ''", "")
    }

    /// Writes it down, in place of what was there.
    pub(crate) fn save(&self, transaction: &Transaction<'_>) -> Result<()> {
        let encode = |source| Error::Record { what: format!("container {}", self.container), source };
        let settings = serde_json::to_string(&self.settings).map_err(encode)?;
        let place = self.place.as_ref().map(serde_json::to_string).transpose().map_err(encode)?;
        let address = |is_4: bool| {
            let addresses = self.place.iter().flat_map(|place| &place.addresses);
            addresses.map(|address| address.ip).find(|ip| ip.is_ipv4() == is_4).map(|ip| ip.to_string())
        };
        transaction
            .execute(
                "INSERT OR REPLACE INTO endpoint \
                 (container, network, position, settings, address4, address6, place) \
                 VALUES (?1,?2,?3,?4,?5,?6,?7)",
                params![
                    self.container,
                    self.network,
                    self.position,
                    settings,
                    address(true),
                    address(false),
                    place
                ],
            )
            .map_err(query)?;
        Ok(())
    }

    /// Forgets it.
    pub(crate) fn delete(&self, transaction: &Transaction<'_>) -> Result<()> {
        transaction
            .execute(
                "DELETE FROM endpoint WHERE container=?1 AND network=?2",
                params![self.container, self.network],
            )
            .map_err(query)?;
        Ok(())
    }

    /// Finds addresses that nobody has and writes them down as this container's.
    pub(crate) fn take_place(&mut self, transaction: &Transaction<'_>, network: &Network) -> Result<()> {
        let plan = &network.definition.plan;
        let wishes = self.settings.ipam_config.clone().unwrap_or_default();
        let mut addresses = Vec::new();
        let mut gateways = Vec::new();
        for is_4 in [true, false] {
            let wish = if is_4 { &wishes.ipv4_address } else { &wishes.ipv6_address };
            let subnets: Vec<&Subnet> =
                plan.subnets.iter().filter(|subnet| subnet.network.ip.is_ipv4() == is_4).collect();
            if subnets.is_empty() {
                continue;
            }
            let used = used(transaction, self, is_4).map_err(query)?;
            let (subnet, ip) = choose(&subnets, wish, &used, network)?;
            addresses.push(Address { ip, prefix: subnet.network.prefix });
            gateways.extend(subnet.gateway);
        }
        let mac = match self.settings.mac_address.as_str() {
            "" => mac_of(addresses.first()),
            text => parse_mac(text)?,
        };
        let options = EndpointOptions::read(self.settings.driver_opts.as_ref())?;
        let interface = options.name(network, self.position);
        self.place = Some(Place {
            id: new_id(),
            settings: options.files(&interface),
            interface,
            mac,
            addresses,
            further: wishes.link_local_ips.iter().map(|text| parse_further(text)).collect::<Result<_>>()?,
            gateways,
            has_default_route: false,
            ports: Vec::new(),
        });
        self.save(transaction)
    }
}

/// Addresses on the network that other containers have.
fn used(
    transaction: &Transaction<'_>,
    endpoint: &Endpoint,
    is_4: bool,
) -> rusqlite::Result<BTreeSet<IpAddr>> {
    let column = if is_4 { "address4" } else { "address6" };
    let text = format!(
        "SELECT {column} FROM endpoint WHERE network = ?1 AND {column} IS NOT NULL AND container != ?2"
    );
    let mut statement = transaction.prepare(&text)?;
    let rows =
        statement.query_map(params![endpoint.network, endpoint.container], |row| row.get::<_, String>(0))?;
    let texts: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
}

fn choose<'a>(
    subnets: &[&'a Subnet],
    wish: &str,
    used: &BTreeSet<IpAddr>,
    network: &Network,
) -> Result<(&'a Subnet, IpAddr)> {
    if wish.is_empty() {
        let free = subnets.iter().find_map(|subnet| {
            let mut used = used.clone();
            used.extend(subnet.gateway.iter().chain(subnet.reserved.values()));
            let range = subnet.range.unwrap_or(subnet.network);
            Some((*subnet, mica_network::free_address(subnet.network, range, &used)?))
        });
        return free.ok_or_else(|| Error::State {
            what: format!("no available IPv4 addresses on the pools of network {}", network.name),
            hint: Some("remove containers, or use a network with a larger --subnet"),
        });
    }
    let ip: IpAddr = wish.parse().map_err(|_| Error::invalid(format!("invalid IP address: {wish}")))?;
    let subnet = subnets.iter().find(|subnet| subnet.network.is_host(ip)).ok_or_else(|| {
        Error::invalid(format!(
            "invalid endpoint settings: no configured subnet of network {} contains IP address {ip}",
            network.name
        ))
    })?;
    if used.contains(&ip) || subnet.gateway == Some(ip) || subnet.reserved.values().any(|taken| *taken == ip)
    {
        return Err(Error::state(format!("Address {ip} is already in use on network {}", network.name)));
    }
    Ok((subnet, ip))
}

/// Docker's: made of the address, so that neighbours which remember the one find the other.
fn mac_of(address: Option<&Address>) -> [u8; 6] {
    let [a, b, c, d] = match address.map(|address| address.ip) {
        Some(IpAddr::V4(ip)) => ip.octets(),
        _ => crate::system::random(),
    };
    [0x02, 0x42, a, b, c, d]
}

/// An address of one link only, with the prefix that docker gives it.
fn parse_further(text: &str) -> Result<Address> {
    let ip: IpAddr =
        text.parse().map_err(|_| Error::invalid(format!("invalid link local IP address: {text}")))?;
    Ok(Address { ip, prefix: if ip.is_ipv4() { 16 } else { 64 } })
}

/// `02:42:ac:11:00:02`.
pub(crate) fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let wrong = || Error::invalid(format!("{text} is not a valid mac address"));
    let mut bytes = [0; 6];
    let parts: Vec<&str> = text.split([':', '-']).collect();
    if parts.len() != bytes.len() {
        return Err(wrong());
    }
    for (byte, part) in bytes.iter_mut().zip(parts) {
        let is_pair = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| is_pair).ok_or_else(wrong)?;
    }
    // A group's address is nobody's own.
    if bytes[0] & 1 == 1 { Err(wrong()) } else { Ok(bytes) }
}

/// As people write it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Refuses wishes that the network cannot fulfil.
pub(crate) fn check_wishes(settings: &EndpointSettings, network: &Network) -> Result<()> {
    let invalid = |reason: &str| {
        Err(Error::invalid(format!(
            "invalid config for network {}: invalid endpoint settings:\n{reason}",
            network.name
        )))
    };
    let addresses = settings.ipam_config.clone().unwrap_or_default();
    let wished = [&addresses.ipv4_address, &addresses.ipv6_address];
    let is_default = network.name == crate::network::record::DEFAULT;
    if wished.iter().any(|text| !text.is_empty()) {
        if is_default {
            return invalid("user specified IP address is supported on user defined networks only");
        }
        if !network.definition.is_range_chosen {
            return invalid(
                "user specified IP address is supported only when connecting to networks with user configured subnets",
            );
        }
    }
    for (text, is_4) in wished.into_iter().zip([true, false]).filter(|(text, _)| !text.is_empty()) {
        let ip: IpAddr = text.parse().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?;
        let subnets = &network.definition.plan.subnets;
        if ip.is_ipv4() != is_4 || !subnets.iter().any(|subnet| subnet.network.contains(ip)) {
            return invalid(&format!("no configured subnet contains IP address {ip}"));
        }
    }
    if is_default && settings.aliases.as_ref().is_some_and(|aliases| !aliases.is_empty()) {
        return invalid("network-scoped aliases are only supported for user-defined networks");
    }
    for text in &addresses.link_local_ips {
        parse_further(text)?;
    }
    for link in settings.links.iter().flatten() {
        let (alias, target) = crate::network::links::split_link(link);
        if alias.is_empty() || target.is_empty() || link.contains(char::is_whitespace) {
            return Err(Error::invalid(format!("bad format for links: {link}")));
        }
    }
    EndpointOptions::read(settings.driver_opts.as_ref())?;
    if !settings.mac_address.is_empty() {
        parse_mac(&settings.mac_address)?;
    }
    Ok(())
}

/// Lets the addresses of a container go.
pub(crate) fn release(transaction: &Transaction<'_>, container: &str) -> Result<()> {
    transaction
        .execute(
            "UPDATE endpoint SET address4=NULL, address6=NULL, place=NULL WHERE container=?1",
            [container],
        )
        .map_err(query)?;
    Ok(())
}

/// Forgets all places of a container.
pub(crate) fn forget(transaction: &Transaction<'_>, container: &str) -> Result<()> {
    transaction.execute("DELETE FROM endpoint WHERE container=?1", [container]).map_err(query)?;
    Ok(())
}

impl Place {
    /// As the driver wants it.
    pub(crate) fn plan(&self) -> EndpointPlan {
        EndpointPlan {
            host_end: Site::host_end(&self.id),
            interface: self.interface.clone(),
            settings: self.settings.clone(),
            mac: self.mac,
            addresses: self.addresses.iter().chain(&self.further).copied().collect(),
            gateways: if self.has_default_route { self.gateways.clone() } else { Vec::new() },
            routes_by_link: false,
        }
    }

    /// Its addresses without the lengths of their prefixes.
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|address| address.ip).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::record::tests::network;

    #[test]
    fn mac_addresses_are_read_and_written() {
        assert_eq!(parse_mac("02:42:ac:11:00:02").unwrap(), [2, 0x42, 0xac, 0x11, 0, 2]);
        assert_eq!(mac_text(parse_mac("02-42-AC-11-00-0f").unwrap()), "02:42:ac:11:00:0f");
        for wrong in ["", "02:42:ac:11:00", "02:42:ac:11:00:zz", "02:42:ac:11:00:2", "01:00:5e:00:00:01"] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
        assert_eq!(mac_of(Some(&"172.17.0.2/16".parse().unwrap())), [2, 0x42, 172, 17, 0, 2]);
    }

    /// How many live places have this address.
    fn holders(transaction: &Transaction<'_>, address: &str) -> i64 {
        let count = "SELECT count(*) FROM endpoint WHERE address4 = ?1";
        transaction.query_row(count, [address], |row| row.get(0)).unwrap()
    }

    #[test]
    fn ten_thousand_allocations_by_several_at_once_give_no_live_address_twice() {
        let directory = tempfile::tempdir().unwrap();
        let disk =
            crate::disk::Disk::open(&directory.path().join("root"), &directory.path().join("run")).unwrap();
        drop(crate::database::Database::open(&disk).unwrap());
        let network = network("10.0.0.0/24");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (disk, network) = (&disk, &network);
                scope.spawn(move || {
                    // As many processes have: each its own connection.
                    let mut database = crate::database::Database::open(disk).unwrap();
                    for number in 0..2500 {
                        let container = format!("{thread}-{}", number % 50);
                        let mut endpoint = Endpoint::new(&container, network, 0, EndpointSettings::default());
                        database
                            .write(|transaction| {
                                endpoint.take_place(transaction, network)?;
                                let ip = endpoint.place.as_ref().unwrap().ips()[0].to_string();
                                assert_eq!(holders(transaction, &ip), 1, "{ip} has two holders");
                                if number % 3 == 0 {
                                    release(transaction, &format!("{thread}-{}", (number * 7) % 50))?;
                                }
                                Ok(())
                            })
                            .unwrap();
                    }
                });
            }
        });
    }
}
