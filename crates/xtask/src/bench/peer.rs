//! Who takes part in a comparison, and how each is asked for the same work.

use super::workshop::Workshop;
use crate::failure::Failure;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Somebody who can be timed.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its name in the table.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// What kinds of work a peer can be asked for.
#[derive(Debug)]
pub(super) enum Kind {
    /// An engine with docker's command line: the words before the command, and its environment.
    Engine {
        /// Program and options.
        prefix: Vec<OsString>,
        /// Variables to set.
        environment: Vec<(&'static str, OsString)>,
    },
    /// A low-level runtime that runs a bundle (OCI runtime specification).
    Bundle {
        /// Program and options.
        prefix: Vec<OsString>,
    },
    /// bubblewrap, which needs nothing but a directory.
    Bubblewrap,
    /// The plain tools of the system: `tar`, `cat`. What they cost is the floor.
    Plain,
}

impl Peer {
    /// Everybody who is installed, ourselves first; docker only when a daemon answers on the socket given.
    pub(super) fn all(mica: &Path, workshop: &Workshop, docker: Option<&str>) -> Vec<Self> {
        let path = |name: &str| OsString::from(workshop.path(name));
        let ours = Kind::Engine {
            prefix: vec![mica.into()],
            environment: vec![("MICA_ROOT", path("mica-root")), ("MICA_RUN", path("mica-run"))],
        };
        let mut peers = vec![Self { name: "mica", kind: ours }];
        if let Some(socket) = docker {
            let prefix = vec!["docker".into(), "-H".into(), format!("unix://{socket}").into()];
            peers.push(Self { name: "docker", kind: Kind::Engine { prefix, environment: Vec::new() } });
        }
        if installed("podman") {
            let mut prefix: Vec<OsString> = vec!["podman".into(), "--root".into(), path("podman-root")];
            prefix.extend([
                "--runroot".into(),
                path("podman-run"),
                "--cgroup-manager".into(),
                "cgroupfs".into(),
            ]);
            let environment = vec![("CONTAINERS_CONF", path("containers.conf"))];
            peers.push(Self { name: "podman", kind: Kind::Engine { prefix, environment } });
        }
        for name in ["crun", "runc"] {
            if installed(name) {
                let prefix = vec![name.into(), "--root".into(), path(name)];
                peers.push(Self { name, kind: Kind::Bundle { prefix } });
            }
        }
        if installed("bwrap") {
            peers.push(Self { name: "bwrap", kind: Kind::Bubblewrap });
        }
        peers.push(Self { name: "tar, cat", kind: Kind::Plain });
        peers
    }

    /// A command line of an engine; nothing for those that are none.
    pub(super) fn engine(&self, arguments: &[&str]) -> Option<Command> {
        let Kind::Engine { prefix, environment } = &self.kind else { return None };
        let mut command = words(prefix);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        Some(command)
    }

    /// Whether this is an engine.
    pub(super) fn is_engine(&self) -> bool {
        matches!(self.kind, Kind::Engine { .. })
    }
}

/// A command of a program and its options.
pub(super) fn words(prefix: &[OsString]) -> Command {
    let mut command = Command::new(prefix.first().cloned().unwrap_or_default());
    command.args(prefix.iter().skip(1));
    command
}

/// Runs a command to its end and tells how long that took; what it prints is thrown away unless it fails.
pub(super) fn timed(command: &mut Command) -> Result<Duration, Failure> {
    command.stdin(Stdio::null());
    let begun = Instant::now();
    crate::build::capture(command)?;
    Ok(begun.elapsed())
}

fn installed(program: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/sbin", "/bin"]
        .iter()
        .any(|place| Path::new(place).join(program).exists())
}
