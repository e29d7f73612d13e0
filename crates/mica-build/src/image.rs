//! What a stage makes: the layers of its files, and the defaults of containers.

use crate::dockerfile::Inherited;
use mica_model::{Digest, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Where programs are looked for if no image says anything else.
pub(crate) const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The files of a state of a stage: the digests of its layers, base first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Root {
    /// Digests of the uncompressed layers.
    pub layers: Vec<Digest>,
}

/// What a container of the image runs with if nobody says otherwise. Durations are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Config {
    pub user: String,
    pub exposed_ports: BTreeSet<String>,
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub volumes: BTreeSet<String>,
    pub working_dir: String,
    pub labels: BTreeMap<String, String>,
    pub stop_signal: String,
    pub healthcheck: Option<Healthcheck>,
    pub on_build: Vec<String>,
    pub shell: Option<Vec<String>>,
}

/// How a container's health is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct Healthcheck {
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

/// A step of how an image came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When its layer was made; nothing for a step without a layer, which is as old as the image.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Whether it has no layer of its own.
    pub empty_layer: bool,
    /// What is said of it, if that is not what is said of all steps.
    pub comment: Option<String>,
}

/// An image or a finished stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Its files.
    pub root: Root,
    /// The defaults of its containers.
    pub config: Config,
    /// Digest of the config of the image that it began with; nothing for `scratch`.
    pub base: Option<Digest>,
    /// What was done to that, oldest first.
    pub history: Vec<History>,
    /// `MAINTAINER`.
    pub author: Option<String>,
    /// `os/architecture[/variant]`; nothing is the platform of the build.
    pub platform: Option<String>,
    /// What its arguments leave to the stages of the same file that stand on it.
    pub inherited: Inherited,
}

impl Config {
    /// What an image without anything says.
    pub(crate) fn of_nothing() -> Self {
        let mut config = Self { working_dir: "/".to_owned(), ..Self::default() };
        config.ensure_path();
        config
    }

    /// Every image says where programs are looked for.
    pub(crate) fn ensure_path(&mut self) {
        if self.variable("PATH").is_none() {
            self.env.push(format!("PATH={PATH_DEFAULT}"));
        }
    }

    /// The value of a variable of the environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .rev()
            .find_map(|entry| entry.split_once('=').filter(|(known, _)| *known == name))
            .map(|(_, value)| value)
    }

    /// Sets a variable where it stands, or as the last one.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        let entry = format!("{name}={value}");
        let is_same = |known: &&mut String| match known.strip_prefix(name) {
            Some(rest) => rest.is_empty() || rest.starts_with('='),
            None => false,
        };
        match self.env.iter_mut().find(is_same) {
            Some(known) => *known = entry,
            None => self.env.push(entry),
        }
    }

    /// What texts for a shell are handed to.
    pub fn shell(&self) -> Vec<String> {
        self.shell.clone().unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).to_vec())
    }

    /// A path as instructions mean it: relative to the working directory, without `.` and `..`.
    pub fn absolute(&self, path: &str) -> String {
        let joined =
            if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.working_dir) };
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_working_directory_and_never_leave_the_root() {
        let config = Config { working_dir: "/app/src".to_owned(), ..Config::default() };
        assert_eq!(config.absolute("x/../y/."), "/app/src/y");
        assert_eq!(config.absolute("../../../../etc"), "/etc");
        assert_eq!(config.absolute("/"), "/");
        assert_eq!(Config::default().absolute("."), "/");
    }

    #[test]
    fn variables_keep_their_place() {
        let mut config = Config::default();
        config.set_variable("A", "1");
        config.set_variable("AB", "2");
        config.set_variable("A", "3");
        assert_eq!(config.env, ["A=3", "AB=2"]);
        assert_eq!(config.variable("A"), Some("3"));
        assert_eq!(config.variable("B"), None);
    }
}
