//! Where a container's output is recorded, in full detail: nothing is looked up later.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Where the output of a container is recorded: by each of these drivers, or nowhere.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LogPlan {
    /// In the order in which they are written to.
    pub drivers: Vec<LogDriver>,
}

/// One way of recording output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LogDriver {
    /// Docker's `json-file` format.
    JsonFile {
        /// The files.
        file: LogFilePlan,
        /// A JSON object that each entry carries; empty is none.
        attributes: String,
    },
    /// Docker's `local` format: binary, smaller, byte for byte.
    Local {
        /// The files.
        file: LogFilePlan,
    },
    /// A syslog daemon.
    Syslog(SyslogPlan),
    /// The journal of systemd.
    Journald(JournaldPlan),
}

/// A file that is begun anew when it is full.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogFilePlan {
    /// The file; older ones get `.1`, `.2`, ... appended.
    pub path: PathBuf,
    /// Start another file when this many bytes are reached; `None` never does.
    pub max_size_bytes: Option<u64>,
    /// How many files to keep, at least 1.
    pub max_file_count: u32,
    /// Compress the older ones.
    pub compress: bool,
}

/// A syslog daemon and how to talk to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SyslogPlan {
    /// Where it listens.
    pub address: SyslogAddress,
    /// How messages are written.
    pub format: SyslogFormat,
    /// The facility's number (RFC 5424, 6.2.1).
    pub facility: u8,
    /// The name that messages carry.
    pub tag: String,
    /// What happens when it does not keep up.
    pub overflow: Overflow,
}

/// Where a syslog daemon listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogAddress {
    /// The host's own, wherever its socket is.
    Local,
    /// A stream socket.
    UnixStream(PathBuf),
    /// A datagram socket.
    UnixDatagram(PathBuf),
    /// A port for datagrams.
    Udp(SocketAddr),
    /// A port for connections.
    Tcp(SocketAddr),
    /// A port for connections that are secured by TLS.
    Tls(TlsPlan),
}

/// A server that is spoken to by TLS, whom to believe, and who we are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsPlan {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name, or address, that its certificate must be for.
    pub server_name: String,
    /// Certificates of authorities that are believed besides those of the machine.
    pub authorities: Option<PathBuf>,
    /// Our own certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Any certificate will do.
    pub is_unverified: bool,
}

/// How a syslog message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyslogFormat {
    /// As programs tell the host's own daemon: no host name.
    Unix,
    /// RFC 3164.
    Rfc3164,
    /// RFC 5424.
    Rfc5424,
    /// RFC 5424, times in microseconds.
    Rfc5424Micro,
}

/// The journal and what each entry carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JournaldPlan {
    /// Where it listens.
    pub socket: PathBuf,
    /// Names, which must be valid in the journal, and values.
    pub fields: Vec<(String, String)>,
    /// What happens when it does not keep up.
    pub overflow: Overflow,
}

/// What happens when a receiver of logs does not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// The container's output waits.
    Wait,
    /// What finds no room in memory is left out.
    Discard {
        /// Room for messages.
        max_bytes: usize,
    },
}

impl LogPlan {
    /// One file in docker's `json-file` format that grows for ever.
    pub fn one_json_file(path: impl Into<PathBuf>) -> Self {
        let file =
            LogFilePlan { path: path.into(), max_size_bytes: None, max_file_count: 1, compress: false };
        Self { drivers: vec![LogDriver::JsonFile { file, attributes: String::new() }] }
    }
}
