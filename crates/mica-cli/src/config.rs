//! Everything that is read from the environment and from `config.json`; the only place that looks at either.

use crate::proxy::EngineProxies;
use jiff::tz::TimeZone;
use mica_model::Proxies;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where the engine keeps things when nothing else is said.
const ROOT_DEFAULT: &str = "/var/lib/mica";

/// Where running containers keep things when nothing else is said.
const RUN_DIRECTORY_DEFAULT: &str = "/run/mica";

/// What the machine's administrator sets, when nothing else is said.
const CONFIG_DEFAULT: &str = "/etc/mica/config.toml";

/// The environment of this process, or of a test.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// What this process was started with.
    pub fn inherited() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable, if it is set and is text.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    /// A variable, if it is set and not empty.
    pub fn nonempty(&self, name: &str) -> Option<&str> {
        self.variable(name).filter(|value| !value.is_empty())
    }

    /// All variables that are text.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let pairs = self.variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether colours are unwanted, whatever the terminal can do.
    pub fn is_colour_unwanted(&self) -> bool {
        self.nonempty("NO_COLOR").is_some() || self.variable("TERM") == Some("dumb")
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// The options before the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GlobalOptions {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--run-root`.
    pub run_directory: Option<PathBuf>,
    /// `--config`.
    pub config_directory: Option<PathBuf>,
    /// `-H, --host`; the last one wins.
    pub host: Option<String>,
    /// `-c, --context`.
    pub context: Option<String>,
    /// `-D, --debug`.
    pub debug: bool,
    /// `-l, --log-level`.
    pub log_level: Option<String>,
    /// `--tls` or `--tlsverify`.
    pub tls: bool,
}

/// Which engine to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Where images, layers, containers and the database are kept.
    pub root: PathBuf,
    /// Where the run-time state is kept.
    pub run_directory: PathBuf,
    /// The machine's configuration file.
    pub config: PathBuf,
}

/// `config.json`: what this program uses of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the fields carry docker's names and meanings one for one")]
pub struct ConfigFile {
    pub ps_format: String,
    pub images_format: String,
    pub volumes_format: String,
    pub networks_format: String,
    pub stats_format: String,
    pub detach_keys: String,
    pub current_context: String,
    /// By engine, or `default`.
    pub proxies: BTreeMap<String, EngineProxies>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An engine elsewhere was asked for.
    #[error("engines elsewhere are not supported yet: {name} is {value:?}")]
    Remote {
        /// Which option or variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Not a level.
    #[error("Unable to parse logging level: {level}")]
    LogLevel {
        /// What was typed.
        level: String,
    },
}

/// What the environment, the options and the file say together.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The environment.
    pub environment: Environment,
    /// The options before the command.
    pub options: GlobalOptions,
}

impl Config {
    /// The engine to open.
    ///
    /// # Errors
    /// An engine elsewhere was asked for.
    pub fn engine(&self) -> Result<EngineOptions, ConfigError> {
        self.refuse_remote()?;
        let path = |option: &Option<PathBuf>, name, default: &str| {
            option
                .clone()
                .or_else(|| self.environment.nonempty(name).map(PathBuf::from))
                .unwrap_or_else(|| default.into())
        };
        Ok(EngineOptions {
            root: path(&self.options.root, "MICA_ROOT", ROOT_DEFAULT),
            run_directory: path(&self.options.run_directory, "MICA_RUN", RUN_DIRECTORY_DEFAULT),
            config: path(&None, "MICA_CONFIG", CONFIG_DEFAULT),
        })
    }

    /// Checks the options that concern no command.
    ///
    /// # Errors
    /// A logging level that nobody knows.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self.options.log_level.as_deref() {
            None | Some("debug" | "info" | "warn" | "warning" | "error" | "fatal" | "panic" | "trace") => {
                Ok(())
            }
            Some(level) => Err(ConfigError::LogLevel { level: level.to_owned() }),
        }
    }

    /// Whether to tell of what was done otherwise than asked: not where only errors are wanted.
    pub fn wants_warnings(&self) -> bool {
        self.options.debug || !matches!(self.options.log_level.as_deref(), Some("error" | "fatal" | "panic"))
    }

    /// Whether to tell how the work goes on inside.
    pub fn wants_debug(&self) -> bool {
        self.options.debug || matches!(self.options.log_level.as_deref(), Some("debug" | "trace"))
    }

    /// Where `config.json` lies.
    pub fn file_path(&self) -> PathBuf {
        let directory = self
            .options
            .config_directory
            .clone()
            .or_else(|| self.environment.nonempty("DOCKER_CONFIG").map(PathBuf::from))
            .unwrap_or_else(|| {
                PathBuf::from(self.environment.variable("HOME").unwrap_or("/")).join(".docker")
            });
        directory.join("config.json")
    }

    /// Reads `config.json`; a missing or damaged one counts as empty, as it must never keep a
    /// container from being stopped.
    pub fn file(&self) -> ConfigFile {
        std::fs::read(self.file_path())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// The platform that images are wanted for; empty for the host's.
    pub fn platform(&self) -> String {
        self.environment.variable("DOCKER_DEFAULT_PLATFORM").unwrap_or_default().to_owned()
    }

    /// Through which proxies the network is reached, in either spelling of the variables.
    pub fn proxies(&self) -> Proxies {
        let value = |lower: &str| {
            let upper = lower.to_ascii_uppercase();
            let found = self.environment.nonempty(lower).or_else(|| self.environment.nonempty(&upper));
            found.unwrap_or_default().to_owned()
        };
        let all = value("all_proxy");
        let or_all = |own: String| if own.is_empty() { all.clone() } else { own };
        Proxies {
            http: or_all(value("http_proxy")),
            https: or_all(value("https_proxy")),
            none: value("no_proxy"),
        }
    }

    /// Whether characters beyond ASCII are shown.
    pub fn is_unicode(&self) -> bool {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| self.environment.nonempty(name));
        !matches!(locale, Some("C" | "POSIX"))
    }

    /// The zone in which dates are shown: `TZ`, or that of the machine.
    pub fn zone(&self) -> TimeZone {
        let Some(name) = self.environment.nonempty("TZ") else {
            return zone_of_file(Path::new("/etc/localtime")).unwrap_or(TimeZone::UTC);
        };
        let name = name.trim_start_matches(':');
        zone_of_file(&Path::new("/usr/share/zoneinfo").join(name))
            .or_else(|| TimeZone::posix(name).ok())
            .unwrap_or(TimeZone::UTC)
    }

    /// Whether the engine asked for is the one in this process.
    fn refuse_remote(&self) -> Result<(), ConfigError> {
        let options = &self.options;
        let variable = |name| self.environment.nonempty(name).map(str::to_owned);
        let asked = [
            ("--host", options.host.clone()),
            ("--context", options.context.clone()),
            ("DOCKER_HOST", variable("DOCKER_HOST")),
            ("DOCKER_CONTEXT", variable("DOCKER_CONTEXT")),
        ];
        let mut asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let first = asked.find(|(_, value)| !value.is_empty());
        match first {
            Some((name, value)) if value != "default" && value != LOCAL_HOST => {
                Err(ConfigError::Remote { name, value })
            }
            _ if options.tls => Err(ConfigError::Remote { name: "--tls", value: "true".to_owned() }),
            _ => Ok(()),
        }
    }
}

/// The address that means "the engine in this process" once somebody listens there.
const LOCAL_HOST: &str = "unix:///var/run/mica.sock";

/// Reads one zone (tzfile(5)). The library would list the whole data base of zones first, which
/// costs more than all else that `ps` does.
fn zone_of_file(path: &Path) -> Option<TimeZone> {
    TimeZone::tzif("Local", &std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Config {
        Config { environment: pairs.iter().copied().collect(), options: GlobalOptions::default() }
    }

    #[test]
    fn roots_come_from_option_then_environment_then_default() {
        let mut config = config(&[("MICA_ROOT", "/from/environment")]);
        let engine = config.engine().unwrap();
        assert_eq!(engine.root, PathBuf::from("/from/environment"));
        assert_eq!(engine.run_directory, PathBuf::from("/run/mica"));
        assert_eq!(engine.config, PathBuf::from("/etc/mica/config.toml"));
        config.options.root = Some("/from/option".into());
        assert_eq!(config.engine().unwrap().root, PathBuf::from("/from/option"));
    }

    #[test]
    fn an_engine_elsewhere_is_refused() {
        assert!(config(&[("DOCKER_HOST", "tcp://other:2375")]).engine().is_err());
        assert!(config(&[("DOCKER_CONTEXT", "other")]).engine().is_err());
        assert!(config(&[("DOCKER_CONTEXT", "default")]).engine().is_ok());
        assert!(config(&[("DOCKER_HOST", "")]).engine().is_ok());
    }

    #[test]
    fn the_file_follows_docker() {
        assert_eq!(config(&[("HOME", "/h")]).file_path(), PathBuf::from("/h/.docker/config.json"));
        assert_eq!(config(&[("DOCKER_CONFIG", "/c")]).file_path(), PathBuf::from("/c/config.json"));
    }
}
