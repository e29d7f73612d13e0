//! The record of a network, and the three that are always there.

use crate::Local;
use crate::database::{Database, query};
use crate::error::{Error, Result};
use crate::system;
use mica_model::{ContainerId, Timestamp};
use mica_network::{Address, NetworkPlan, Site, Subnet};
use rusqlite::{Connection, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

/// What does not change while a network lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NetworkDefinition {
    pub(crate) version: u32,
    pub(crate) plan: NetworkPlan,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) has_ipv4: bool,
    pub(crate) has_ipv6: bool,
    pub(crate) is_attachable: bool,
    /// Whether somebody named its address range; only then may containers wish for addresses.
    pub(crate) is_range_chosen: bool,
    /// It is nothing but what other networks are made after, and has nothing itself.
    #[serde(default)]
    pub(crate) is_config_only: bool,
    /// The name of the one that it was made after, if any.
    #[serde(default)]
    pub(crate) config_from: String,
}

/// A network as the database has it.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) definition: NetworkDefinition,
}

/// The network of containers that name none.
pub(crate) const DEFAULT: &str = "bridge";

/// Those that are always there, with their drivers.
const PREDEFINED: [(&str, &str); 3] = [(DEFAULT, "bridge"), ("host", "host"), ("none", "null")];

impl Network {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text: String = row.get(3)?;
        let definition = serde_json::from_str(&text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
        })?;
        Ok(Self {
            id: row.get(0)?,
            name: row.get(1)?,
            created: Timestamp::from_nanoseconds(row.get(2)?),
            definition,
        })
    }

    /// All of them, by name.
    pub(crate) fn all(connection: &Connection) -> rusqlite::Result<Vec<Self>> {
        let mut statement =
            connection.prepare("SELECT id, name, created, definition FROM network ORDER BY name")?;
        statement.query_map([], Self::from_row)?.collect()
    }

    fn select(connection: &Connection, condition: &str, value: &str) -> rusqlite::Result<Vec<Self>> {
        let text = format!("SELECT id, name, created, definition FROM network WHERE {condition} LIMIT 2");
        connection.prepare(&text)?.query_map([value], Self::from_row)?.collect()
    }

    /// The network with this full id.
    pub(crate) fn by_id(connection: &Connection, id: &str) -> rusqlite::Result<Option<Self>> {
        Ok(Self::select(connection, "id = ?1", id)?.pop())
    }

    /// Finds by full id, then name, then unique prefix of an id.
    fn look_up(database: &Database, reference: &str) -> Result<Vec<Self>> {
        database.read(|connection| {
            for condition in ["id = ?1", "name = ?1"] {
                let found = Self::select(connection, condition, reference)?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            let is_prefix = !reference.is_empty() && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_prefix {
                return Ok(Vec::new());
            }
            Self::select(connection, "id >= ?1 AND id < ?1 || 'g'", reference)
        })
    }

    /// Stores a new network; its name must be free.
    pub(crate) fn insert(&self, transaction: &Transaction<'_>) -> Result<()> {
        let taken = Self::select(transaction, "name = ?1", &self.name).map_err(query)?;
        if !taken.is_empty() {
            return Err(Error::state(format!("network with name {} already exists", self.name)));
        }
        let text = serde_json::to_string(&self.definition)
            .map_err(|source| Error::Record { what: format!("network {}", self.name), source })?;
        transaction
            .execute(
                "INSERT INTO network (id, name, created, definition) VALUES (?1,?2,?3,?4)",
                params![self.id, self.name, self.created.nanoseconds(), text],
            )
            .map_err(query)?;
        Ok(())
    }

    /// Forgets it.
    pub(crate) fn delete(&self, transaction: &Transaction<'_>) -> Result<()> {
        transaction.execute("DELETE FROM network WHERE id=?1", [&self.id]).map_err(query)?;
        Ok(())
    }

    /// The ranges of addresses that are its own and nobody else's.
    pub(crate) fn own_subnets(&self) -> &[Subnet] {
        if self.definition.is_config_only { &[] } else { &self.definition.plan.subnets }
    }

    /// Whether it is one of those that are always there.
    pub(crate) fn is_predefined(&self) -> bool {
        PREDEFINED.iter().any(|(name, _)| *name == self.name)
    }

    /// A name that stands for one of those whose networks have nothing to be connected to.
    pub(crate) fn is_plain(name: &str) -> bool {
        matches!(name, "none" | "host")
    }
}

/// A new id.
pub(crate) fn new_id() -> String {
    ContainerId::from_random(system::random()).to_string()
}

impl Local {
    /// What our things are called in the kernel.
    pub(crate) fn site(&self) -> Site {
        Site::of_root(self.disk.root().as_os_str().as_bytes())
    }

    /// Finds a network by name, id or prefix of an id.
    pub(crate) fn find_network(&self, reference: &str) -> Result<Network> {
        let absent = || Error::NoSuchNetwork { reference: reference.to_owned() };
        let mut found = Network::look_up(&self.database(), reference)?;
        if found.is_empty() {
            // Whether or not this made them: another command may have made them since the first look.
            self.predefine_networks()?;
            found = Network::look_up(&self.database(), reference)?;
        }
        match <[Network; 1]>::try_from(found) {
            Ok([network]) => Ok(network),
            Err(found) if found.is_empty() => Err(absent()),
            Err(_) => Err(Error::AmbiguousPrefix { prefix: reference.to_owned() }),
        }
    }

    /// Makes the records of those networks that are always there.
    pub(crate) fn predefine_networks(&self) -> Result<()> {
        let all = self.database().read(Network::all)?;
        if PREDEFINED.iter().all(|(name, _)| all.iter().any(|network| network.name == *name)) {
            return Ok(());
        }
        let routed = routed();
        self.database().write(|transaction| {
            let all = Network::all(transaction).map_err(query)?;
            for (name, driver) in PREDEFINED {
                if !all.iter().any(|network| network.name == name) {
                    self.predefined(name, driver, (&all, &routed))?.insert(transaction)?;
                }
            }
            Ok(())
        })
    }

    fn predefined(&self, name: &str, driver: &str, taken: (&[Network], &[Address])) -> Result<Network> {
        let id = new_id();
        let mut subnets = Vec::new();
        let mut link = String::new();
        if name == DEFAULT {
            link = self.site().default_bridge();
            subnets.push(free_subnet(taken)?);
        }
        let plan = NetworkPlan {
            id: id.clone(),
            driver: driver.to_owned(),
            link,
            subnets,
            is_internal: false,
            options: BTreeMap::new(),
        };
        let definition = NetworkDefinition {
            version: 1,
            plan,
            labels: BTreeMap::new(),
            has_ipv4: true,
            has_ipv6: false,
            is_attachable: false,
            is_range_chosen: false,
            is_config_only: false,
            config_from: String::new(),
        };
        let created = Timestamp::from(std::time::SystemTime::now());
        Ok(Network { id, name: name.to_owned(), created, definition })
    }
}

/// Networks that this host has a route to; what cannot be asked is taken for nothing.
pub(crate) fn routed() -> Vec<Address> {
    let routed = mica_network::routed_networks(true).unwrap_or_default();
    routed.into_iter().map(|route| route.network).collect()
}

/// Ranges that networks of ours and routes of the host have.
pub(crate) fn taken((networks, routed): (&[Network], &[Address])) -> Vec<Address> {
    let ours = networks.iter().flat_map(Network::own_subnets);
    ours.map(|subnet| subnet.network).chain(routed.iter().copied()).collect()
}

/// A range of IPv4 that nobody has.
pub(crate) fn free_subnet(holders: (&[Network], &[Address])) -> Result<Subnet> {
    let network = mica_network::free_network(&taken(holders)).ok_or_else(|| Error::State {
        what: "all predefined address pools have been fully subnetted".to_owned(),
        hint: Some("remove networks (`mica network prune`), or choose a range with --subnet"),
    })?;
    let gateway = Some(network.first_host());
    Ok(Subnet { network, range: None, gateway, reserved: BTreeMap::new() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A network with one range.
    pub(crate) fn network(range: &str) -> Network {
        let network: Address = range.parse().unwrap();
        let gateway = Some(network.first_host());
        let subnet = Subnet { network, range: None, gateway, reserved: BTreeMap::new() };
        let plan = NetworkPlan {
            id: "net".to_owned(),
            driver: "bridge".to_owned(),
            link: "mc-net".to_owned(),
            subnets: vec![subnet],
            is_internal: false,
            options: BTreeMap::new(),
        };
        let definition = NetworkDefinition {
            version: 1,
            plan,
            labels: BTreeMap::new(),
            has_ipv4: true,
            has_ipv6: false,
            is_attachable: false,
            is_range_chosen: true,
            is_config_only: false,
            config_from: String::new(),
        };
        let created = Timestamp::NEVER;
        Network { id: "net".to_owned(), name: "net".to_owned(), created, definition }
    }

    #[test]
    fn what_others_are_made_after_has_no_addresses() {
        let mut network = network("10.0.0.0/24");
        assert_eq!(taken((std::slice::from_ref(&network), &[])).len(), 1);
        network.definition.is_config_only = true;
        assert!(taken((&[network], &[])).is_empty());
    }

    #[test]
    fn a_definition_of_before_is_read() {
        let mut value = serde_json::to_value(network("10.0.0.0/24").definition).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("is_config_only").unwrap();
        fields.remove("config_from").unwrap();
        let read: NetworkDefinition = serde_json::from_value(value).unwrap();
        assert!(!read.is_config_only && read.config_from.is_empty());
    }
}
