//! What a start does about networks: ports, addresses, a namespace with links, rules, names.
//!
//! First the ports of the host are taken, which nobody else can then have; then, in one transaction,
//! the addresses; then everything is made. Killed at any step, the command leaves records that the
//! next look at the container lets go, and nothing in the kernel but elements of a map, which go
//! when their port is published again or the rules are written anew.

use crate::Local;
use crate::container::record::{Definition, Record};
use crate::database::query;
use crate::error::{Error, Result};
use crate::network::endpoint::{Endpoint, Place, PublishedPort, forget, release};
use crate::network::overlap;
use crate::network::ports;
use crate::network::record::Network;
use crate::network::resolution::{self, Resolver};
use mica_model::ContainerId;
use mica_network::{AttendantOrder, Book, Filter, Join, PortWish, Protocol, Reservation, sandbox};
use mica_runtime::CompanionPlan;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// What the runtime is given of the networks.
#[derive(Debug)]
pub(crate) struct Furnished {
    /// The namespace with its links; none where the container is born with it.
    pub(crate) namespace: Option<OwnedFd>,
    /// What the monitor does for it.
    pub(crate) companion: CompanionPlan,
    /// What its program is told of the containers that it is linked to.
    pub(crate) environment: Vec<String>,
    /// What the user should know.
    pub(crate) warnings: Vec<String>,
}

/// A container with its networks and its places in them.
pub(crate) type Places = Vec<(Network, Endpoint)>;

impl Local {
    /// Gives a container that is about to run its places in its networks; `None` if it is on none and can be put on none. A
    /// network that is to belong to the container's own user namespace is fitted out by the monitor.
    pub(crate) fn furnish(
        &self,
        record: &Record,
        definition: &Definition,
        is_mapped: bool,
    ) -> Result<Option<Furnished>> {
        let places = self.places(record)?;
        if places.is_empty() && !can_join(definition) {
            return Ok(None);
        }
        let furnished = self.furnish_places(record, definition, (places, is_mapped));
        if furnished.is_err() {
            self.unfurnish(record);
        }
        furnished.map(Some)
    }

    /// Takes back what a start that failed has of its networks.
    pub(crate) fn unfurnish(&self, record: &Record) {
        mica_network::membership::forget(self.disk.run_root(), record.id.as_str());
        // What stays is let go when the container is looked at, and never given to two.
        let _ = self.database().write(|transaction| release(transaction, record.id.as_str()));
    }

    /// Forgets all places of a container that does not exist.
    pub(crate) fn forget_places(&self, id: &ContainerId) {
        mica_network::membership::forget(self.disk.run_root(), id.as_str());
        // What stays is let go by the next one who tidies up.
        let _ = self.database().write(|transaction| forget(transaction, id.as_str()));
    }

    pub(crate) fn places(&self, record: &Record) -> Result<Places> {
        self.database().read(|connection| {
            let endpoints = Endpoint::of_container(connection, record.id.as_str())?;
            let mut places = Vec::with_capacity(endpoints.len());
            for endpoint in endpoints {
                if let Some(network) = Network::by_id(connection, &endpoint.network)? {
                    places.push((network, endpoint));
                }
            }
            Ok(places)
        })
    }

    fn furnish_places(
        &self,
        record: &Record,
        definition: &Definition,
        (mut places, is_mapped): (Places, bool),
    ) -> Result<Furnished> {
        if places.iter().any(|(network, _)| network.definition.is_config_only) {
            return Err(Error::Unsupported {
                what: "cannot create endpoint on configuration-only network".to_owned(),
            });
        }
        let way_out = way_out(&places);
        let reservations = match places.get(way_out) {
            Some((network, _)) if can_publish(network) => self.reserve(definition, network)?,
            _ => Vec::new(),
        };
        let has_rules = places.iter().any(|(network, _)| can_publish(network));
        let filter = has_rules.then(Filter::open).transpose()?;
        self.take_places(&mut places, way_out, &reservations)?;
        let networks: Vec<Network> = places.iter().map(|(network, _)| network.clone()).collect();
        let resolver = resolution::resolver(&definition.host_config, &networks)?;
        let joins: Vec<Join> = places
            .iter()
            .filter_map(|(network, endpoint)| {
                Some(Join {
                    network: network.definition.plan.clone(),
                    endpoint: endpoint.place.as_ref()?.plan(),
                })
            })
            .collect();
        // Making a namespace takes the kernel a while; what the host has to know is done meanwhile.
        let (made, told) = std::thread::scope(|scope| {
            let made = (!is_mapped).then(|| scope.spawn(|| sandbox::make(&joins, resolver.is_asked)));
            let told = self.tell(record, definition, &places, (&resolver, filter.as_ref()));
            (made.map(std::thread::ScopedJoinHandle::join), told)
        });
        let failed = |_| Err(mica_network::Error::Invalid { what: "a thread failed".to_owned() });
        let made = made.map(|made| made.unwrap_or_else(failed)).transpose()?;
        let warnings = told?;
        let environment = self.link_environment(record, &places)?;
        let letters = self.letters(record, definition, !reservations.is_empty())?;
        let (namespace, insides) = match made {
            Some(made) => (Some(made.namespace), Insides::Made(made.resolver)),
            None => (None, Insides::Wanted(joins, resolver.is_asked)),
        };
        let found = (filter, insides, resolver.servers);
        let companion = self.hand_over(record, &places, found, (letters, reservations));
        Ok(Furnished { namespace, companion, environment, warnings })
    }

    /// Takes the ports of the host that a container wants.
    pub(crate) fn reserve(&self, definition: &Definition, network: &Network) -> Result<Vec<Reservation>> {
        let config = self.config()?.network.clone();
        let wishes = ports::wishes(definition, host_binding(network).or(config.publish_address))?;
        let is_sctp = |wish: &PortWish| wish.protocol == Protocol::Sctp;
        if config.respect_host_firewall && wishes.iter().any(is_sctp) {
            return Err(Error::Unsupported {
                what: "ports of sctp cannot be published while respect_host_firewall is set: they are not relayed"
                    .to_owned(),
            });
        }
        Ok(mica_network::reserve(&wishes)?)
    }

    /// Addresses for all places, and the ports that lead to one of them, in one transaction. Where
    /// there is none left, containers that have ended unseen are looked for first.
    fn take_places(&self, places: &mut Places, way_out: usize, reservations: &[Reservation]) -> Result<()> {
        let mut has_looked = false;
        loop {
            let taken = self.database().write(|transaction| {
                for (index, (network, endpoint)) in places.iter_mut().enumerate() {
                    // One that was removed meanwhile must not come to life by its containers.
                    let is_there = Network::by_id(transaction, &network.id).map_err(query)?.is_some();
                    if !is_there {
                        return Err(Error::NoSuchNetwork { reference: network.name.clone() });
                    }
                    endpoint.take_place(transaction, network)?;
                    if index == way_out
                        && let Some(place) = &mut endpoint.place
                    {
                        place.has_default_route = !network.definition.plan.is_internal;
                        place.ports = reservations.iter().map(published).collect();
                        endpoint.save(transaction)?;
                    }
                }
                Ok(())
            });
            match taken {
                Err(Error::State { .. }) if !has_looked => {
                    has_looked = true;
                    self.observe_all()?;
                }
                other => return other,
            }
        }
    }

    /// Rules, files and names.
    fn tell(
        &self,
        record: &Record,
        definition: &Definition,
        places: &Places,
        (resolver, filter): (&Resolver, Option<&Filter>),
    ) -> Result<Vec<String>> {
        let live: Vec<_> = places.iter().filter_map(|(_, endpoint)| endpoint.place.as_ref()).collect();
        let links = self.link_lines(record, places)?;
        let lines = resolution::host_lines(definition, &live, &links)?;
        self.write_resolution(record, resolver, &lines)?;
        self.tell_neighbours(record, &definition.config.hostname, places)?;
        let with_ports = live.iter().find(|place| !place.ports.is_empty());
        let mut warnings = match (filter, with_ports.or(live.first())) {
            (Some(filter), Some(place)) => self.publish(filter, place)?,
            _ => Vec::new(),
        };
        warnings.extend(overlap::warnings(places.iter().map(|(network, _)| network)));
        Ok(warnings)
    }

    fn hand_over(
        &self,
        record: &Record,
        places: &Places,
        (filter, insides, servers): (Option<Filter>, Insides, Vec<SocketAddr>),
        (letters, reservations): (Option<OwnedFd>, Vec<Reservation>),
    ) -> CompanionPlan {
        let live = places.iter().filter_map(|(_, endpoint)| endpoint.place.as_ref());
        let addresses = live.into_iter().find(|place| !place.ports.is_empty()).map(Place::ips);
        let run_root = self.disk.run_root().to_owned();
        let container = record.id.to_string();
        let ports = (reservations, &*addresses.unwrap_or_default());
        let (mut order, port_sockets) =
            AttendantOrder::new(run_root.clone(), container.clone(), &self.site().table(), ports);
        order.has_filter = filter.is_some();
        order.takes_letters = letters.is_some();
        order.book = Some(Book { run_root, container, servers });
        let mut sockets = Vec::new();
        match insides {
            Insides::Made(resolver) => sockets.extend([resolver.0, resolver.1]),
            Insides::Wanted(joins, is_asked) => order.fittings = Some((joins, is_asked)),
        }
        let filter = filter.map(Filter::into_descriptor);
        let all = filter.into_iter().chain(letters).chain(sockets).chain(port_sockets);
        CompanionPlan { order: order.encode(), descriptors: all.collect() }
    }

    /// Where a container is told of ports that it cannot have yet, if it wants any.
    fn letters(&self, record: &Record, definition: &Definition, has_ports: bool) -> Result<Option<OwnedFd>> {
        if has_ports || ports::wishes(definition, None)?.is_empty() {
            return Ok(None);
        }
        Ok(Some(mica_network::letters_to(self.disk.run_root(), record.id.as_str())?))
    }
}

/// What is inside of a container's network namespace.
enum Insides {
    /// It was made: the sockets of its resolver.
    Made((OwnedFd, OwnedFd)),
    /// The monitor makes it: places, and whether the resolver is asked.
    Wanted(Vec<Join>, bool),
}

/// Whether a container that is on no network can be put on one while it runs.
fn can_join(definition: &Definition) -> bool {
    let mode = definition.host_config.network_mode.as_str();
    !Network::is_plain(mode) && !mode.starts_with("container:")
}

pub(crate) fn published(reservation: &Reservation) -> PublishedPort {
    let Reservation { protocol, private, host, port, .. } = *reservation;
    PublishedPort { protocol, private, host, port }
}

/// Whether the host leads to containers of such a network.
pub(crate) fn can_publish(network: &Network) -> bool {
    mica_network::named(&network.definition.plan.driver).is_some_and(mica_network::Driver::is_gateway_of_host)
}

/// The place that a container goes out by: the one with the highest priority, of those that lead
/// out at all, and of equals the first by name.
pub(crate) fn way_out(places: &[(Network, Endpoint)]) -> usize {
    let rank = |(network, endpoint): &(Network, Endpoint)| {
        let leads_out = !network.definition.plan.is_internal;
        (!leads_out, -endpoint.settings.gw_priority, network.name.clone())
    };
    (0..places.len()).min_by_key(|index| rank(&places[*index])).unwrap_or(0)
}

/// The address that ports are published at unless `-p` names one.
fn host_binding(network: &Network) -> Option<IpAddr> {
    let text = network.definition.plan.options.get("com.docker.network.bridge.host_binding_ipv4")?;
    text.parse().ok()
}
