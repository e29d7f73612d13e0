//! A container's network namespace, made and furnished by the command that starts the container.
//!
//! Nothing names it but descriptors: when the last of them goes, with a command that was killed or
//! with the container, the kernel removes the namespace and every link that ends in it.

use crate::driver::{self, EndpointPlan, NetworkPlan};
use crate::error::{Error, Result};
use crate::files::RESOLVER;
use crate::link;
use crate::netlink::{Batch, Socket};
use crate::redirect;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::Path;

/// A container's place in a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Join {
    /// The network.
    pub network: NetworkPlan,
    /// The place.
    pub endpoint: EndpointPlan,
}

/// A furnished namespace.
#[derive(Debug)]
pub struct Sandbox {
    /// The namespace.
    pub namespace: OwnedFd,
    /// Sockets of the resolver: datagrams and streams.
    pub resolver: (OwnedFd, OwnedFd),
}

/// Makes a namespace with a place in each network, and a resolver that may be asked at once or has to be
/// woken. Works in a thread of its own, which alone enters the namespace.
pub fn make(joins: &[Join], is_asked: bool) -> Result<Sandbox> {
    let made = std::thread::scope(|scope| scope.spawn(|| make_here(joins, is_asked)).join());
    made.unwrap_or_else(|_| Err(Error::link("make", "a network namespace")(Errno::IO)))
}

fn make_here(joins: &[Join], is_asked: bool) -> Result<Sandbox> {
    let host = Socket::route().map_err(Error::link("open", "a route socket"))?;
    make_networks(joins, &host)?;
    mica_sys::network::enter_new().map_err(Error::link("make", "a network namespace"))?;
    let namespace = own_namespace()?;
    let inside = Socket::route().map_err(Error::link("open", "a route socket"))?;
    let resolver = furnish_all(joins, is_asked, (&host, &inside), namespace.as_fd())?;
    Ok(Sandbox { namespace, resolver })
}

/// The same for a namespace that a process was born with, because it belongs to that one's user namespace; gives the
/// sockets of the resolver.
pub fn fit_out(namespace: BorrowedFd<'_>, joins: &[Join], is_asked: bool) -> Result<(OwnedFd, OwnedFd)> {
    make_networks(joins, &Socket::route().map_err(Error::link("open", "a route socket"))?)?;
    inside(namespace, |host, inside| {
        for join in joins {
            // Of the life before: the kernel takes its time with a namespace that nobody is in any more.
            if let Some(old) = link::find(host, &join.endpoint.host_end)? {
                let mut batch = Batch::default();
                link::remove(&mut batch, old.index);
                link::carry_out(host, batch, "remove", &join.endpoint.host_end)?;
            }
        }
        furnish_all(joins, is_asked, (host, inside), namespace)
    })
}

/// Makes what the networks need on the host, in a thread that is there: some of it is files of its own namespace.
fn make_networks(joins: &[Join], host: &Socket) -> Result<()> {
    joins.iter().try_for_each(|join| driver::of(&join.network)?.make(&join.network, host))
}

/// Places and a resolver, in a thread that is inside.
fn furnish_all(
    joins: &[Join],
    is_asked: bool,
    (host, inside): (&Socket, &Socket),
    namespace: BorrowedFd<'_>,
) -> Result<(OwnedFd, OwnedFd)> {
    let mut batch = Batch::default();
    link::bring_up(&mut batch, LOOPBACK);
    link::carry_out(inside, batch, "bring up", "lo")?;
    for join in joins {
        furnish(join, host, inside, namespace)?;
    }
    resolver_sockets(is_asked)
}

/// Lets a running container's programs ask its resolver.
pub fn wake_resolver(namespace: BorrowedFd<'_>) -> Result<()> {
    inside(namespace, |_, _| {
        let failed = || Error::link("listen at", format!("{RESOLVER}"));
        let ports = redirect::resolver_ports().ok_or_else(|| failed()(Errno::NOENT))?;
        redirect::write(ports.0, ports.1).map_err(failed())
    })
}

/// Gives a running container's namespace a place in another network.
pub fn connect(namespace: BorrowedFd<'_>, join: &Join) -> Result<()> {
    make_networks(
        std::slice::from_ref(join),
        &Socket::route().map_err(Error::link("open", "a route socket"))?,
    )?;
    inside(namespace, |host, inside| furnish(join, host, inside, namespace))
}

/// Takes a place from a running container's namespace; the default routes are given anew.
pub fn disconnect(namespace: BorrowedFd<'_>, interface: &str, default: Option<&EndpointPlan>) -> Result<()> {
    inside(namespace, |_, inside| {
        if let Some(found) = link::find(inside, interface)? {
            let mut batch = Batch::default();
            link::remove(&mut batch, found.index);
            link::carry_out(inside, batch, "remove", interface)?;
        }
        match default {
            Some(endpoint) => set_default_routes(inside, endpoint),
            None => Ok(()),
        }
    })
}

/// Gives the default routes to one of the places.
pub fn choose_gateway(namespace: BorrowedFd<'_>, endpoint: &EndpointPlan) -> Result<()> {
    inside(namespace, |_, inside| set_default_routes(inside, endpoint))
}

fn set_default_routes(inside: &Socket, endpoint: &EndpointPlan) -> Result<()> {
    for is_6 in [false, true] {
        let mut batch = Batch::default();
        link::remove_default_route(&mut batch, is_6);
        // There may be none.
        let _ = inside.request(batch);
    }
    let Some(found) = link::find(inside, &endpoint.interface)? else { return Ok(()) };
    let mut batch = Batch::default();
    add_routes(&mut batch, found.index, endpoint);
    link::carry_out(inside, batch, "route by", &endpoint.interface)
}

fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce(&Socket, &Socket) -> Result<T> + Send,
) -> Result<T> {
    let worked = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let opened = Error::link("open", "a route socket");
                let host = Socket::route().map_err(opened)?;
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(namespace, kind)
                    .map_err(Error::link("enter", "the container's network namespace"))?;
                let inside = Socket::route().map_err(Error::link("open", "a route socket"))?;
                work(&host, &inside)
            })
            .join()
    });
    worked.unwrap_or_else(|_| Err(Error::link("enter", "a network namespace")(Errno::IO)))
}

fn furnish(join: &Join, host: &Socket, inside: &Socket, namespace: BorrowedFd<'_>) -> Result<()> {
    let endpoint = &join.endpoint;
    settle_ipv6(endpoint.addresses.iter().any(|address| address.ip.is_ipv6()))?;
    driver::of(&join.network)?.connect(&join.network, endpoint, host, namespace)?;
    let found = link::find(inside, &endpoint.interface)?;
    let index = found.ok_or_else(|| Error::link("find", &*endpoint.interface)(Errno::NODEV))?.index;
    for (name, value) in &endpoint.settings {
        let path = Path::new("/proc/sys/net").join(name);
        std::fs::write(&path, value).map_err(|source| Error::Setting { path, source })?;
    }
    let mut batch = Batch::default();
    for address in &endpoint.addresses {
        link::add_address(&mut batch, index, *address);
    }
    link::bring_up(&mut batch, index);
    add_routes(&mut batch, index, endpoint);
    link::carry_out(inside, batch, "set the addresses of", &endpoint.interface)
}

fn add_routes(batch: &mut Batch, index: u32, endpoint: &EndpointPlan) {
    for gateway in &endpoint.gateways {
        link::add_default_route(batch, index, gateway.is_ipv6(), Some(*gateway));
    }
    if endpoint.routes_by_link {
        link::add_default_route(batch, index, false, None);
    }
}

/// What links that are made from now on in this thread's namespace do about IPv6: nothing, or no
/// waiting and no listening to routers. A kernel without it has no such settings.
fn settle_ipv6(is_wanted: bool) -> Result<()> {
    let settings: &[(&str, &str)] = if is_wanted {
        &[("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")]
    } else {
        &[("disable_ipv6", "1")]
    };
    let directory = Path::new("/proc/sys/net/ipv6/conf/default");
    for (name, value) in settings {
        let path = directory.join(name);
        match std::fs::write(&path, value) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Setting { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Index of the loopback link, the first of every namespace.
const LOOPBACK: u32 = 1;

fn own_namespace() -> Result<OwnedFd> {
    let path = Path::new("/proc/thread-self/ns/net");
    rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::file("open", path)(errno.into()))
}

fn resolver_sockets(is_asked: bool) -> Result<(OwnedFd, OwnedFd)> {
    let failed = || Error::link("listen at", format!("{RESOLVER}"));
    let (datagrams, port_of_datagrams) = resolver_socket(SocketType::DGRAM, 0).map_err(failed())?;
    let (streams, port_of_streams) = resolver_socket(SocketType::STREAM, 0).map_err(failed())?;
    let written = if is_asked { redirect::write(port_of_datagrams, port_of_streams) } else { Ok(()) };
    let sockets = match written {
        Ok(()) => (datagrams, streams),
        // Without the packet filter it has the port itself, and no program of the container can.
        Err(_) => {
            let (datagrams, _) = resolver_socket(SocketType::DGRAM, redirect::PORT).map_err(failed())?;
            (datagrams, resolver_socket(SocketType::STREAM, redirect::PORT).map_err(failed())?.0)
        }
    };
    rustix::net::listen(&sockets.1, RESOLVER_BACKLOG).map_err(failed())?;
    Ok(sockets)
}

/// How many connections to the resolver may wait to be taken.
const RESOLVER_BACKLOG: i32 = 64;

fn resolver_socket(kind: SocketType, port: u16) -> std::result::Result<(OwnedFd, u16), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, kind, flags, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(RESOLVER.into(), port))?;
    let bound = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}
