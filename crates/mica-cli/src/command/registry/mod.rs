//! Commands about registries themselves, one file each.

pub mod login;
pub mod logout;

use crate::command::Command;

/// All of them.
pub const COMMANDS: &[Command] = &[login::COMMAND, logout::COMMAND];

/// The registry that a user means: `docker.io` when none is named, a host where an address is given.
fn registry(typed: Option<String>) -> String {
    let typed = typed.unwrap_or_default();
    let rest = typed.split_once("://").map_or(typed.as_str(), |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_means_its_host() {
        let of = |text: &str| registry(Some(text.to_owned()));
        assert_eq!(registry(None), "docker.io");
        assert_eq!(of("https://index.docker.io/v1/"), "docker.io");
        assert_eq!(of("http://localhost:5000/v2/"), "localhost:5000");
        assert_eq!(of("quay.io"), "quay.io");
    }
}
