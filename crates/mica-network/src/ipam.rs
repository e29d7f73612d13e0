//! Which addresses are free: the arithmetic, without any memory of its own.

use crate::link::Address;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The ranges that networks are made of when nobody names one, in docker's order: a base, and how
/// many bits the network of each part has.
const POOLS: [(Ipv4Addr, u8, u8); 7] = [
    (Ipv4Addr::new(172, 17, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 18, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 19, 0, 0), 16, 16),
    (Ipv4Addr::new(172, 20, 0, 0), 14, 16),
    (Ipv4Addr::new(172, 24, 0, 0), 14, 16),
    (Ipv4Addr::new(172, 28, 0, 0), 14, 16),
    (Ipv4Addr::new(192, 168, 0, 0), 16, 20),
];

/// How many networks of IPv6 one engine can give out by itself.
const POOL_6_COUNT: u16 = 4096;

impl Address {
    /// How many bits an address of this family has.
    pub const fn width(self) -> u8 {
        match self.ip {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// The network with all bits of the host cleared.
    #[must_use]
    pub fn network(self) -> Self {
        Self { ip: from_number(number(self.ip) & !self.host_mask(), self.ip), prefix: self.prefix }
    }

    fn host_mask(self) -> u128 {
        let bits = u32::from(self.width().saturating_sub(self.prefix));
        1_u128.checked_shl(bits).map_or(u128::MAX, |size| size - 1)
    }

    /// Whether the network has this address.
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && number(ip) & !self.host_mask() == number(self.network().ip)
    }

    /// Whether two networks have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let wider = if self.prefix <= other.prefix { self } else { other };
        let narrower = if self.prefix <= other.prefix { other } else { self };
        wider.contains(narrower.ip)
    }

    /// The first and the last address that hosts may have. The network's own address and, in IPv4,
    /// the one for everybody are left out where there are others.
    fn hosts(self) -> (u128, u128) {
        let first = number(self.network().ip);
        let last = first | self.host_mask();
        match self.width() - self.prefix {
            0 | 1 => (first, last),
            _ if self.ip.is_ipv4() => (first + 1, last - 1),
            _ => (first + 1, last),
        }
    }

    /// Whether a host may have this address.
    pub fn is_host(self, ip: IpAddr) -> bool {
        let (first, last) = self.hosts();
        self.contains(ip) && (first..=last).contains(&number(ip))
    }

    /// The lowest address that hosts may have: the gateway, unless another one is asked for.
    pub fn first_host(self) -> IpAddr {
        from_number(self.hosts().0, self.ip)
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError { text: text.to_owned() };
        let (ip, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address =
            Self { ip: ip.parse().map_err(|_| wrong())?, prefix: prefix.parse().map_err(|_| wrong())? };
        if address.prefix > address.width() || prefix.starts_with('+') {
            return Err(wrong());
        }
        Ok(address)
    }
}

/// Not an address with the length of a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {text}")]
pub struct AddressError {
    /// As it was given.
    pub text: String,
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn from_number(number: u128, family: IpAddr) -> IpAddr {
    match family {
        IpAddr::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// The lowest address of `range` that nobody has; `used` holds those of hosts, gateways and others
/// that are reserved.
pub fn free_address(subnet: Address, range: Address, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let (first_of_subnet, last_of_subnet) = subnet.hosts();
    let base = number(range.network().ip);
    let (first, last) = (base.max(first_of_subnet), (base | range.host_mask()).min(last_of_subnet));
    let mut candidate = first;
    // In order, so that the first gap is the lowest.
    for taken in used.iter().filter(|ip| ip.is_ipv4() == subnet.ip.is_ipv4()).map(|ip| number(*ip)) {
        if taken == candidate {
            candidate = candidate.checked_add(1)?;
        } else if taken > candidate {
            break;
        }
    }
    (candidate <= last && first <= last).then(|| from_number(candidate, subnet.ip))
}

/// The first range of docker's that overlaps none of `taken`.
pub fn free_network(taken: &[Address]) -> Option<Address> {
    let parts = POOLS.into_iter().flat_map(|(base, outer, inner)| {
        let count = 1_u32 << (inner - outer);
        let step = 1_u32 << (32 - inner);
        (0..count).map(move |index| Address {
            ip: Ipv4Addr::from(u32::from(base) + index * step).into(),
            prefix: inner,
        })
    });
    parts.into_iter().find(|part| !taken.iter().any(|other| other.overlaps(*part)))
}

/// The first range of this engine's own of IPv6 (RFC 4193) that overlaps none of `taken`.
pub fn free_network_6(taken: &[Address], seed: &[u8]) -> Option<Address> {
    let own = u128::from(crate::site::hash(seed) >> 24);
    let base = 0xfd_u128 << 120 | own << 80;
    let parts = (0..POOL_6_COUNT)
        .map(|index| Address { ip: Ipv6Addr::from(base | u128::from(index) << 64).into(), prefix: 64 });
    parts.into_iter().find(|part| !taken.iter().any(|other| other.overlaps(*part)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_and_compared() {
        assert_eq!(address("172.20.3.4/14").network(), address("172.20.0.0/14"));
        assert!(address("10.0.0.0/8").overlaps(address("10.1.2.0/24")));
        assert!(!address("10.0.0.0/24").overlaps(address("10.0.1.0/24")));
        assert!(!address("10.0.0.0/8").overlaps(address("fd00::/8")));
        for wrong in ["", "1.2.3.4", "1.2.3.4/33", "::/129", "a/8", "1.2.3.4/+8", "1.2.3/8"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_are_as_many_networks_as_docker_has() {
        let mut taken = Vec::new();
        while let Some(free) = free_network(&taken) {
            taken.push(free);
        }
        assert_eq!(taken.len(), 31);
        assert_eq!(taken[0], address("172.17.0.0/16"));
        assert_eq!(taken[15], address("192.168.0.0/20"));
        assert_eq!(free_network(&[address("172.16.0.0/12")]), Some(address("192.168.0.0/20")));
    }

    #[test]
    fn a_small_network_has_few_hosts() {
        let subnet = address("10.0.0.0/29");
        let mut used = BTreeSet::from([subnet.first_host()]);
        while let Some(free) = free_address(subnet, subnet, &used) {
            assert!(subnet.is_host(free) && used.insert(free));
        }
        assert_eq!(used.len(), 6);
        assert!(!subnet.is_host("10.0.0.7".parse().unwrap()));
    }

    #[test]
    fn a_range_within_the_network_is_kept_to() {
        let (subnet, range) = (address("10.0.0.0/24"), address("10.0.0.128/30"));
        let mut used = BTreeSet::new();
        while let Some(free) = free_address(subnet, range, &used) {
            used.insert(free);
        }
        assert_eq!(used.len(), 4);
        assert!(used.iter().all(|ip| range.contains(*ip)));
    }

    proptest! {
        #[test]
        fn what_is_free_is_used_by_nobody(used in proptest::collection::btree_set(0_u32..600, 0..300)) {
            let subnet = address("10.0.0.0/23");
            let base = 0x0a00_0000;
            let used: BTreeSet<IpAddr> = used.into_iter().map(|low| Ipv4Addr::from(base + low).into()).collect();
            match free_address(subnet, subnet, &used) {
                Some(free) => prop_assert!(!used.contains(&free) && subnet.is_host(free)),
                None => prop_assert!((1..511).all(|low| used.contains(&Ipv4Addr::from(base + low).into()))),
            }
        }

        #[test]
        fn no_text_makes_the_parser_fail(text in "\\PC{0,40}") {
            let _ = text.parse::<Address>();
        }
    }
}
