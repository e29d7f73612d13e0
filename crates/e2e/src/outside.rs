//! What lies outside of the machine: used only where a person allows it, by way of the machine's own network.

use crate::invocation::Invocation;
use crate::neighbour::host;
use crate::world::World;
use std::path::PathBuf;
use std::time::Duration;

/// Set by hand where the machine's own network, and what lies outside of it, may be used by tests.
const CONSENT: &str = "MICA_TEST_OUTSIDE";

/// How long what comes from outside may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// A world's commands on the machine's own network, which the test itself has left. Dropping it takes away what the
/// engine has made there.
#[derive(Debug)]
pub struct Outside<'a> {
    world: &'a World,
    network: String,
    before: Vec<String>,
}

impl<'a> Outside<'a> {
    /// The way out of a world; none where it was not allowed.
    pub fn of(world: &'a World) -> Option<Self> {
        if std::env::var_os(CONSENT).is_none() {
            eprintln!("skipped: it uses the machine's own network; {CONSENT}=1 lets it");
            return None;
        }
        // The test has a network of its own; its process has that of the machine.
        let network = format!("--net=/proc/{}/ns/net", std::process::id());
        let before = bridges(&network);
        Some(Self { world, network, before })
    }

    /// A command that may use what lies outside.
    pub fn invoke(&self, words: &[&str]) -> Invocation {
        self.world.invoke_by("nsenter", &[&self.network], words).limit(PATIENCE)
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // The default network's bridge and our table stay with an engine, and this one is going.
        for mark in bridges(&self.network).into_iter().filter(|mark| !self.before.contains(mark)) {
            host(&["nsenter", &self.network, "ip", "link", "delete", &format!("mica0-{mark}")]);
            host(&["nsenter", &self.network, "nft", "delete", "table", "inet", &format!("mica-{mark}")]);
        }
    }
}

/// The marks of the engines that have a bridge there.
fn bridges(network: &str) -> Vec<String> {
    let links = host(&["nsenter", network, "ip", "-o", "link", "show", "type", "bridge"]);
    let names = links.lines().filter_map(|line| line.split(": ").nth(1));
    names.filter_map(|name| name.strip_prefix("mica0-")).map(str::to_owned).collect()
}

/// How this machine's own clients reach their registries, as secrets for a build: each with its name and its file.
pub fn client_settings() -> Vec<(&'static str, PathBuf)> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let said = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let places = [
        ("certificates", vec![said("SSL_CERT_FILE"), Some("/etc/ssl/certs/ca-certificates.crt".into())]),
        ("npmrc", vec![said("NPM_CONFIG_USERCONFIG"), Some(home.join(".npmrc"))]),
        (
            "pip",
            vec![
                said("PIP_CONFIG_FILE"),
                Some(home.join(".config/pip/pip.conf")),
                Some(home.join(".pip/pip.conf")),
                Some("/etc/pip.conf".into()),
            ],
        ),
        ("cargo", vec![Some(home.join(".cargo/config.toml"))]),
    ];
    let present = |places: Vec<Option<PathBuf>>| places.into_iter().flatten().find(|place| place.is_file());
    places.into_iter().filter_map(|(name, places)| Some((name, present(places)?))).collect()
}
