//! What can go wrong with networks, typed.

use mica_model::ErrorKind;
use rustix::io::Errno;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a network or a container's place in it could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused a link, an address or a route.
    #[error("could not {action} {subject}")]
    Link {
        /// What was tried, as "make the bridge".
        action: &'static str,
        /// With which.
        subject: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused the rules of the firewall.
    #[error("could not {action} the packet filter table {table}")]
    Filter {
        /// A verb.
        action: &'static str,
        /// Our table.
        table: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// Forwarding is off and cannot be switched on, or may not be.
    #[error("{path} is 0: this host does not forward packets")]
    Forwarding {
        /// The switch.
        path: &'static str,
    },
    /// A setting of the kernel could not be written.
    #[error("could not write {}", path.display())]
    Setting {
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A port of the host that somebody has.
    #[error("failed to bind host port {address}:{port}/{protocol}: address already in use")]
    PortTaken {
        /// Address on the host.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
    },
    /// A port of the host that cannot be had for another reason.
    #[error("failed to bind host port {address}:{port}/{protocol}")]
    Port {
        /// Address on the host.
        address: IpAddr,
        /// Its port.
        port: u16,
        /// `tcp`, `udp` or `sctp`.
        protocol: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of ours failed.
    #[error("could not {action} {}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Something that a driver does not do.
    #[error("{what}")]
    Unsupported {
        /// In docker's words.
        what: String,
    },
    /// A wish that makes no sense.
    #[error("{what}")]
    Invalid {
        /// In docker's words.
        what: String,
    },
}

impl Error {
    pub(crate) fn link(action: &'static str, subject: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let subject = subject.into();
        move |errno| Self::Link { action, subject, source: errno.into() }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::Invalid { what: what.into() }
    }

    /// The branch that callers may take.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::PortTaken { .. } => ErrorKind::Conflict,
            Self::Forwarding { .. } => ErrorKind::Forbidden,
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Link { source, .. }
            | Self::Filter { source, .. }
            | Self::Setting { source, .. }
            | Self::Port { source, .. }
            | Self::File { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::PERM | Errno::ACCESS | Errno::ROFS) => ErrorKind::Forbidden,
                Some(Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT) => ErrorKind::Unsupported,
                Some(Errno::ADDRNOTAVAIL) => ErrorKind::InvalidArgument,
                Some(Errno::NOSPC | Errno::NOMEM | Errno::MFILE | Errno::XFULL) => ErrorKind::Exhausted,
                _ => ErrorKind::Internal,
            },
        }
    }

    /// What the user can do, where we know.
    pub fn hint(&self) -> Option<&'static str> {
        let errno = match self {
            Self::Forwarding { .. } => {
                return Some(
                    "switch it on (`sysctl -w net.ipv4.ip_forward=1`), or use `--network host` or `none`",
                );
            }
            Self::PortTaken { .. } => {
                return Some("choose another port with -p, or stop what listens there (`ss -lntup` tells)");
            }
            Self::Link { source, .. } | Self::Filter { source, .. } | Self::Setting { source, .. } => {
                Errno::from_io_error(source)
            }
            _ => None,
        };
        match (self, errno?) {
            (_, Errno::PERM | Errno::ACCESS | Errno::ROFS) => Some(
                "networks need root with CAP_NET_ADMIN and a writable /proc/sys/net; without it use `--network none` or `host`",
            ),
            (
                Self::Filter { .. },
                Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::NOENT | Errno::AFNOSUPPORT,
            ) => Some(
                "the kernel lacks nf_tables with NAT (`modprobe nf_tables nft_chain_nat nft_masq nft_fib_inet`); without it use `--network none` or `host`",
            ),
            (Self::Link { .. }, Errno::OPNOTSUPP) => Some(
                "the kernel lacks this kind of device (`modprobe veth bridge macvlan ipvlan`); without it use `--network none` or `host`",
            ),
            (Self::Link { .. }, Errno::XFULL) => Some(
                "a bridge takes 1023 containers: put further ones into another network (`mica network create`)",
            ),
            _ => None,
        }
    }
}
