//! Routes of the host that came after a network and lead where its addresses are, as those of a VPN do.

use crate::network::record::Network;
use mica_network::HostRoute;
use std::collections::BTreeSet;

/// Routes of fewer bits are for all the world, whatever they are called: VPNs that take everything
/// divide it into two halves. They are less to the point than any network of ours.
const PREFIX_MIN: u8 = 8;

/// What there is to say about such routes; nothing where the host cannot be asked.
pub(crate) fn warnings<'a>(networks: impl Iterator<Item = &'a Network>) -> Vec<String> {
    let networks: Vec<&Network> = networks.collect();
    let mut subnets = networks.iter().flat_map(|network| &network.definition.plan.subnets);
    let wants_ipv6 = subnets.any(|subnet| subnet.network.ip.is_ipv6());
    let routes = mica_network::routed_networks(wants_ipv6).unwrap_or_default();
    let routes: Vec<HostRoute> =
        routes.into_iter().filter(|route| route.network.prefix >= PREFIX_MIN).collect();
    networks.into_iter().flat_map(|network| of_network(network, &routes, &HostRoute::link_name)).collect()
}

fn of_network(
    network: &Network,
    routes: &[HostRoute],
    link_name: &dyn Fn(&HostRoute) -> String,
) -> BTreeSet<String> {
    let plan = &network.definition.plan;
    let mut warnings = BTreeSet::new();
    for subnet in &plan.subnets {
        for route in routes.iter().filter(|route| route.network.overlaps(subnet.network)) {
            let link = link_name(route);
            // Its own, or that of a network that is on a link of the host.
            let is_own = link.split('.').next() == plan.link.split('.').next();
            if link.is_empty() || is_own {
                continue;
            }
            warnings.insert(format!(
                "the addresses {} of network {} are also routed by {link} ({}): what has one of them both here and \
                 there is reached in one place only; remedy: a network with another range (`mica network create \
                 --subnet`)",
                subnet.network, network.name, route.network
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::record::tests::network;

    #[test]
    fn routes_by_other_links_are_told_and_its_own_are_not() {
        let network = network("172.20.0.0/16");
        let route = |text: &str, index| HostRoute { network: text.parse().unwrap(), index };
        let name = |route: &HostRoute| match route.index {
            1 => "tun0".to_owned(),
            2 => network.definition.plan.link.clone(),
            _ => String::new(),
        };
        let told = |routes: &[HostRoute]| of_network(&network, routes, &name);
        assert!(
            told(&[route("172.20.0.0/16", 2), route("10.0.0.0/8", 1), route("172.20.1.0/24", 0)]).is_empty()
        );
        for overlapping in ["172.16.0.0/12", "172.20.7.0/24", "172.20.0.0/16"] {
            let told = told(&[route("172.20.0.0/16", 2), route(overlapping, 1)]);
            assert_eq!(told.len(), 1, "{told:?}");
            let text = told.first().unwrap();
            assert!(
                text.contains("tun0") && text.contains(overlapping) && text.contains("--subnet"),
                "{text}"
            );
        }
    }
}
