//! How do containers talk? Links, addresses, names, published ports.
//!
//! A command that starts a container makes its network namespace here ([`sandbox`]), with a link
//! into each of its networks ([`driver`]), and publishes its ports ([`rules`], [`publish`]). What has
//! to live as long as the container (its resolver, the ports that it holds) is an [`Attendant`] in
//! its monitor. Everything is asked of the kernel by netlink; no program is executed.
//!
//! Nothing here knows a record of a container: networks, addresses and names are handed in.

mod attendant;
mod conntrack;
mod dns;
mod driver;
mod error;
mod files;
mod foreign;
mod ipam;
mod legacy;
mod letters;
mod link;
pub mod membership;
mod moved;
mod names;
mod netlink;
mod nftables;
mod publish;
mod redirect;
mod relay;
mod rules;
pub mod sandbox;
mod site;
mod watch;

pub use attendant::{Attendant, AttendantOrder, give_ports, letters_to, takes_letters};
pub use conntrack::forget_datagrams;
pub use dns::Book;
pub use driver::{Driver, EndpointPlan, NetworkPlan, Subnet, make, named, remove};
pub use error::{Error, Result};
pub use files::{RESOLVER, Resolution, hosts};
pub use foreign::{Obstacle, pass_docker};
pub use ipam::{AddressError, free_address, free_network, free_network_6};
pub use legacy::obstacles as legacy_obstacles;
pub use link::{Address, MacAddress, Route as HostRoute, routed_networks};
pub use membership::Membership;
pub use moved::Moved;
pub use names::{Member, Names};
pub use publish::{Forward, PortWish, Protocol, Reservation, reserve};
pub use relay::Route;
pub use rules::{Filter, NetworkRules, Rules, publish, remove_table};
pub use sandbox::{Join, Sandbox};
pub use site::Site;
