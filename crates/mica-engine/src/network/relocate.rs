//! What changes its place while a container runs: the way out of its networks, and with it where its
//! published ports lead.
//!
//! The ports themselves stay with the container's monitor, which holds them. On no network that could have
//! them they lead nowhere, and are remembered in the run-time directory.

use crate::Local;
use crate::container::record::Record;
use crate::error::Result;
use crate::network::endpoint::{Place, PublishedPort};
use crate::network::furnish::{Places, can_publish, way_out};
use mica_network::{Filter, Moved, sandbox};
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
        let (ports, before) = self.ports_of(record, &places, left);
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
        let moved = |port: &PublishedPort| (port.protocol, port.private, port.host, port.port);
        let moved = Moved { addresses: after, ports: ports.iter().map(moved).collect() };
        moved.write(self.disk.run_root(), record.id.as_str())?;
        self.rewrite_rules()?;
        mica_network::forget_datagrams(&Filter::open()?, &before);
        Ok(())
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
