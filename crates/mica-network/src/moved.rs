//! Where a container's published ports lead since it was put on other networks while it runs, as a file
//! that its monitor reads where it relays.
//!
//! ```text
//! RUN/network/ports/<container>    line 1: addresses, or nothing; then a line each: PROTOCOL PRIVATE HOST PORT
//! ```
//!
//! Of a container whose networks have stayed there is no such file. One that is on no network for a while
//! keeps its ports, which its monitor holds, and finds them here when it is put on one again.

use crate::error::{Error, Result};
use crate::publish::Protocol;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// What is known of a container that was moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moved {
    /// Its addresses on the network that its ports lead to; none while they lead nowhere.
    pub addresses: Vec<IpAddr>,
    /// Its ports: protocol, the container's port, the host's address and port.
    pub ports: Vec<(Protocol, u16, IpAddr, u16)>,
}

impl Moved {
    /// Writes it down.
    pub fn write(&self, run_root: &Path, container: &str) -> Result<()> {
        let path = path(run_root, container);
        let parent = path.parent().unwrap_or(run_root);
        fs::create_dir_all(parent).map_err(Error::file("make directory", parent))?;
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let port = |(protocol, private, host, port): &(Protocol, u16, IpAddr, u16)| {
            format!("{} {private} {host} {port}\n", protocol.name())
        };
        let ports: String = self.ports.iter().map(port).collect();
        // By way of another name, so that a reader sees all or nothing.
        let temporary = path.with_extension("new");
        let text = format!("{}\n{ports}", addresses.join(" "));
        fs::write(&temporary, text).map_err(Error::file("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(Error::file("write", &path))
    }

    /// Reads it; `None` of a container that was not moved.
    pub fn read(run_root: &Path, container: &str) -> Option<Self> {
        let text = fs::read_to_string(path(run_root, container)).ok()?;
        let (first, rest) = text.split_once('\n')?;
        let port = |line: &str| {
            let mut words = line.split(' ');
            let protocol = Protocol::of_name(words.next()?)?;
            let private = words.next()?.parse().ok()?;
            Some((protocol, private, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        let addresses = first.split(' ').filter_map(|word| word.parse().ok()).collect();
        Some(Self { addresses, ports: rest.lines().filter_map(port).collect() })
    }
}

/// Forgets that a container was moved.
pub(crate) fn forget(run_root: &Path, container: &str) {
    let _ = fs::remove_file(path(run_root, container));
}

fn path(run_root: &Path, container: &str) -> PathBuf {
    run_root.join("network/ports").join(container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Moved::read(directory.path(), "aa"), None);
        let address = |text: &str| text.parse().unwrap();
        let ports =
            vec![(Protocol::Tcp, 80, address("0.0.0.0"), 8080), (Protocol::Udp, 53, address("::"), 5353)];
        for addresses in [vec![address("172.18.0.2"), address("fd00::2")], Vec::new()] {
            let moved = Moved { addresses, ports: ports.clone() };
            moved.write(directory.path(), "aa").unwrap();
            assert_eq!(Moved::read(directory.path(), "aa"), Some(moved));
        }
        forget(directory.path(), "aa");
        assert_eq!(Moved::read(directory.path(), "aa"), None);
    }
}
