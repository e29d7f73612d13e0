//! What changes its place while a container runs: the way out of its networks, and with it where its
//! published ports lead.
//!
//! The ports themselves stay with the container's monitor, which holds them. On no network that could have
//! them they lead nowhere, and are remembered in the run-time directory.

use crate::Local;
use crate::container::record::Record;
use crate::error::Result;
use crate::network::endpoint::{Endpoint, Place, PublishedPort};
use crate::network::furnish::{Places, can_publish, published, way_out};
use crate::network::record::Network;
use mica_network::{Filter, Moved, Reservation, sandbox};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

impl Local {
    /// Gives the default route and the ports to the place that is to have them now; `left` is one that was just
    /// taken from the container.
    pub(crate) fn choose_way_out(
        &self,
        record: &Record,
        namespace: BorrowedFd<'_>,
        left: Option<&Place>,
    ) -> Result<()> {
        let mut places = self.places(record)?;
        let chosen = way_out(&places);
        let (mut ports, before) = self.ports_of(record, &places, left);
        let reservations =
            if ports.is_empty() { self.reserve_late(record, places.get(chosen))? } else { Vec::new() };
        ports.extend(reservations.iter().map(published));
        let mut after = Vec::new();
        for (index, (network, endpoint)) in places.iter_mut().enumerate() {
            let Some(place) = &mut endpoint.place else { continue };
            place.has_default_route = index == chosen && !network.definition.plan.is_internal;
            place.ports = Vec::new();
            if index == chosen {
                if can_publish(network) {
                    place.ports.clone_from(&ports);
                    after = place.ips();
                }
                sandbox::choose_gateway(namespace, &place.plan())?;
            }
        }
        self.database()
            .write(|transaction| places.iter().try_for_each(|(_, endpoint)| endpoint.save(transaction)))?;
        if ports.is_empty() || before == after {
            return Ok(());
        }
        let run_root = self.disk.run_root();
        if !reservations.is_empty() {
            let monitor = (run_root, record.id.as_str());
            mica_network::give_ports(monitor, &self.site().table(), &reservations, &after)?;
        }
        let moved = |port: &PublishedPort| (port.protocol, port.private, port.host, port.port);
        let moved = Moved { addresses: after, ports: ports.iter().map(moved).collect() };
        moved.write(run_root, record.id.as_str())?;
        self.rewrite_rules()?;
        mica_network::forget_datagrams(&Filter::open()?, &before);
        Ok(())
    }

    /// The ports of a container that has had none yet, because it was on no network that could have them.
    fn reserve_late(
        &self,
        record: &Record,
        chosen: Option<&(Network, Endpoint)>,
    ) -> Result<Vec<Reservation>> {
        match chosen {
            Some((network, _)) if can_publish(network) && self.takes_ports(record)? => {
                self.reserve(&record.definition(&self.database())?, network)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Whether a container's monitor waits for ports: one that has had them, or wants none, does not.
    fn takes_ports(&self, record: &Record) -> Result<bool> {
        Ok(mica_network::takes_letters(self.disk.run_root(), record.id.as_str())?)
    }

    /// A container's ports, and the addresses that they have led to.
    fn ports_of(
        &self,
        record: &Record,
        places: &Places,
        left: Option<&Place>,
    ) -> (Vec<PublishedPort>, Vec<IpAddr>) {
        let live = places.iter().filter_map(|(_, endpoint)| endpoint.place.as_ref());
        if let Some(holder) = left.into_iter().chain(live).find(|place| !place.ports.is_empty()) {
            return (holder.ports.clone(), holder.ips());
        }
        let moved = Moved::read(self.disk.run_root(), record.id.as_str()).unwrap_or_default();
        let port = |(protocol, private, host, port)| PublishedPort { protocol, private, host, port };
        (moved.ports.into_iter().map(port).collect(), Vec::new())
    }
}
