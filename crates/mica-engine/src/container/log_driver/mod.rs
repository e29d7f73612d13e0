//! Log drivers: their options checked in docker's words, and made into a plan for the monitor.
//!
//! A driver is a file here and its line in [`DRIVERS`]. Those whose receiver cannot be read back from
//! get a second log beside it, in the `local` format, which `logs` reads (docker's dual logging).

mod file;
mod identity;
mod journald;
mod syslog;

use crate::config::Config;
use crate::disk::ContainerDisk;
use crate::error::{Error, Result};
use identity::Identity;
use mica_api::types::host_config::LogConfig;
use mica_model::size;
use mica_runtime::{LogDriver, LogPlan, Overflow};
use std::collections::BTreeMap;

pub(crate) use file::Readable;
pub(crate) use identity::Subject;

/// Options as they were typed.
type Options = BTreeMap<String, String>;

/// A driver.
struct Kind {
    name: &'static str,
    /// Its options, besides those of all drivers.
    options: &'static [&'static str],
    /// What it says of one that it does not know.
    unknown: fn(&str) -> String,
    /// Makes its part of the plan, and refuses options whose values are wrong.
    plan: fn(&Options, &Target<'_>) -> Result<Option<LogDriver>>,
    /// The log that can be read back from, if it is a file of its own.
    readable: Option<Readable>,
}

/// Whose log it is, and where its files lie.
struct Target<'a> {
    identity: &'a Identity,
    disk: &'a ContainerDisk,
    overflow: Overflow,
}

/// All drivers, by name.
const DRIVERS: [Kind; 5] = [journald::KIND, file::JSON_FILE, file::LOCAL, NONE, syslog::KIND];

const NONE: Kind = Kind {
    name: "none",
    options: &[],
    unknown: |_| "invalid logging opts for driver none".to_owned(),
    plan: |_, _| Ok(None),
    readable: None,
};

/// The driver where nothing else is asked for.
const DEFAULT: &str = "json-file";

/// Options of every driver.
const COMMON: [&str; 6] =
    ["cache-compress", "cache-disabled", "cache-max-file", "cache-max-size", "max-buffer-size", "mode"];

/// Options that choose what entries tell of their container.
const ATTRIBUTES: [&str; 5] = ["env", "env-regex", "labels", "labels-regex", "tag"];

/// Room for messages that wait, in bytes, where nothing else is asked for.
const BUFFER_LENGTH_DEFAULT: usize = 1 << 20;

/// The names of the drivers that record something.
pub(crate) fn names() -> Vec<String> {
    DRIVERS.iter().map(|kind| kind.name).filter(|name| *name != NONE.name).map(str::to_owned).collect()
}

/// The driver of containers that ask for none.
pub(crate) fn default_driver(machine: &Config) -> &str {
    if machine.log_driver.is_empty() { DEFAULT } else { &machine.log_driver }
}

/// Fills in what the machine has set.
pub(crate) fn fill_in(config: &mut LogConfig, machine: &Config) {
    let default = default_driver(machine);
    if config.driver.is_empty() {
        default.clone_into(&mut config.driver);
    }
    if config.driver == default {
        for (name, value) in &machine.log_opts {
            config.config.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// Refuses what docker would.
pub(crate) fn check(config: &LogConfig, subject: &Subject<'_>, disk: &ContainerDisk) -> Result<()> {
    let kind = find(&config.driver)?;
    if let Some(option) =
        config.config.keys().find(|key| !kind.options.contains(&key.as_str()) && !is_common(key))
    {
        return Err(Error::invalid((kind.unknown)(option)));
    }
    plan(config, subject, disk).map(drop)
}

/// What the monitor has to know.
pub(crate) fn plan(config: &LogConfig, subject: &Subject<'_>, disk: &ContainerDisk) -> Result<LogPlan> {
    let kind = find(&config.driver)?;
    let options = &config.config;
    let overflow = overflow(options)?;
    let is_cached = !switch(options, "cache-disabled", false).map_err(|_| {
        Error::invalid(format!("invalid value for option cache-disabled: {}", options["cache-disabled"]))
    })?;
    let identity = Identity::new(options, subject)?;
    let mut drivers = Vec::new();
    if let Some(driver) = (kind.plan)(options, &Target { identity: &identity, disk, overflow })? {
        drivers.push(driver);
        if kind.readable.is_none() && is_cached {
            drivers.push(file::cache(options, disk)?);
        }
    }
    Ok(LogPlan { drivers })
}

/// The files that a container's output can be read back from.
pub(crate) fn readable(config: &LogConfig) -> Result<Readable> {
    let kind = find(&config.driver)?;
    let is_cached =
        kind.name != NONE.name && !switch(&config.config, "cache-disabled", false).unwrap_or(false);
    kind.readable
        .or(is_cached.then_some(Readable::Local))
        .ok_or_else(|| Error::state("configured logging driver does not support reading"))
}

fn is_common(option: &str) -> bool {
    COMMON.contains(&option)
}

fn find(name: &str) -> Result<&'static Kind> {
    const KINDS: &[Kind] = &DRIVERS;
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        Error::invalid(format!("error looking up logging plugin {name}: plugin \"{name}\" not found"))
    })
}

fn overflow(options: &Options) -> Result<Overflow> {
    let mode = options.get("mode").map_or("", String::as_str);
    let is_blocking = match mode {
        "" | "blocking" => true,
        "non-blocking" => false,
        other => return Err(Error::invalid(format!("logger: logging mode not supported: {other}"))),
    };
    let Some(typed) = options.get("max-buffer-size") else {
        let discard = Overflow::Discard { max_bytes: BUFFER_LENGTH_DEFAULT };
        return Ok(if is_blocking { Overflow::Wait } else { discard });
    };
    if is_blocking {
        let message = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
        return Err(Error::invalid(message));
    }
    let bytes = size::parse_binary(typed)
        .map_err(|error| Error::invalid(format!("error parsing option max-buffer-size: {error}")))?;
    Ok(Overflow::Discard { max_bytes: usize::try_from(bytes).unwrap_or(BUFFER_LENGTH_DEFAULT) })
}

/// A switch as Go reads it.
fn switch(options: &Options, name: &str, default: bool) -> Result<bool> {
    match options.get(name).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Ok(true),
        Some("0" | "f" | "F" | "FALSE" | "false" | "False") => Ok(false),
        Some(other) => Err(refused(format!("strconv.ParseBool: parsing {other:?}: invalid syntax"))),
    }
}

/// The driver cannot work with these options.
fn refused(reason: impl std::fmt::Display) -> Error {
    Error::invalid(format!("failed to initialize logging driver: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_model::ContainerId;

    /// A driver, its options, and the words.
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], String);

    fn planned(driver: &str, options: &[(&str, &str)]) -> std::result::Result<LogPlan, String> {
        let id = ContainerId::from_random([7; 32]);
        let directory = tempfile::tempdir().unwrap();
        let disk = crate::disk::Disk::open(directory.path(), directory.path()).unwrap().container(&id);
        let labels = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
        let environment = ["LEVEL=3".to_owned()];
        let subject = Subject {
            id: id.as_str(),
            name: "web",
            image_id: "sha256:0123456789abcdef0123456789abcdef",
            image: "busybox:1",
            labels: &labels,
            environment: &environment,
        };
        let config = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = LogConfig { driver: driver.to_owned(), config };
        check(&config, &subject, &disk).map_err(|error| error.to_string())?;
        plan(&config, &subject, &disk).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_refused_in_dockers_words() {
        let init = "failed to initialize logging driver: ";
        let cases: [Case<'_>; 22] = [
            ("foo", &[], "error looking up logging plugin foo: plugin \"foo\" not found".to_owned()),
            ("json-file", &[("foo", "1")], "unknown log opt 'foo' for json-file log driver".to_owned()),
            ("local", &[("labels", "x")], "unknown log opt 'labels' for log driver local".to_owned()),
            ("syslog", &[("foo", "1")], "unknown log opt 'foo' for syslog log driver".to_owned()),
            ("journald", &[("foo", "1")], "unknown log opt 'foo' for journald log driver".to_owned()),
            ("none", &[("foo", "1")], "invalid logging opts for driver none".to_owned()),
            ("json-file", &[("mode", "x")], "logger: logging mode not supported: x".to_owned()),
            (
                "json-file",
                &[("max-buffer-size", "1m")],
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned(),
            ),
            (
                "json-file",
                &[("mode", "non-blocking"), ("max-buffer-size", "zz")],
                "error parsing option max-buffer-size: invalid size: 'zz'".to_owned(),
            ),
            ("json-file", &[("max-size", "zz")], format!("{init}invalid size: 'zz'")),
            ("json-file", &[("max-size", "0")], format!("{init}max-size must be a positive number")),
            ("json-file", &[("max-file", "0")], format!("{init}max-file cannot be less than 1")),
            ("json-file", &[("max-file", "x")], format!("{init}strconv.Atoi: parsing \"x\": invalid syntax")),
            (
                "json-file",
                &[("max-file", "1"), ("compress", "true")],
                format!("{init}compress cannot be true when max-file is less than 2 or max-size is not set"),
            ),
            (
                "json-file",
                &[("compress", "x")],
                format!("{init}strconv.ParseBool: parsing \"x\": invalid syntax"),
            ),
            (
                "local",
                &[("max-file", "1")],
                format!("{init}compression cannot be enabled when max file count is 1"),
            ),
            (
                "local",
                &[("max-size", "zz")],
                format!("{init}invalid value for max-size: zz: invalid size: 'zz'"),
            ),
            (
                "syslog",
                &[("syslog-address", "foo://x")],
                "syslog-address should be in form proto://address, got foo://x".to_owned(),
            ),
            (
                "syslog",
                &[("syslog-address", "unix:///no/such")],
                "stat /no/such: no such file or directory".to_owned(),
            ),
            ("syslog", &[("syslog-facility", "zz")], "invalid syslog facility".to_owned()),
            ("syslog", &[("syslog-format", "zz")], "Invalid syslog format".to_owned()),
            ("syslog", &[("cache-disabled", "x")], "invalid value for option cache-disabled: x".to_owned()),
        ];
        for (driver, options, expected) in cases {
            assert_eq!(planned(driver, options).err(), Some(expected), "{driver} {options:?}");
        }
    }

    #[test]
    fn logs_are_rotated_unless_that_is_turned_off() {
        let limits = |options| match planned("json-file", options).unwrap().drivers.remove(0) {
            LogDriver::JsonFile { file, .. } => (file.max_size_bytes, file.max_file_count, file.compress),
            other => panic!("{other:?}"),
        };
        assert_eq!(limits(&[]), (Some(30_000_000), 5, false));
        assert_eq!(limits(&[("max-size", "10k"), ("max-file", "2")]), (Some(10_000), 2, false));
        assert_eq!(limits(&[("max-size", "-1")]), (None, 1, false));
        assert_eq!(limits(&[("compress", "true")]), (Some(30_000_000), 5, true));
    }

    #[test]
    fn the_machine_chooses_for_those_who_do_not() {
        let machine = Config {
            log_driver: "local".to_owned(),
            log_opts: BTreeMap::from([("max-file".to_owned(), "9".to_owned())]),
            ..Config::default()
        };
        let filled = |driver: &str| {
            let mut config = LogConfig { driver: driver.to_owned(), config: BTreeMap::new() };
            fill_in(&mut config, &machine);
            (config.driver, config.config.len())
        };
        assert_eq!(filled(""), ("local".to_owned(), 1));
        assert_eq!(filled("local"), ("local".to_owned(), 1));
        assert_eq!(filled("json-file"), ("json-file".to_owned(), 0));
        let mut nothing = LogConfig { driver: String::new(), config: BTreeMap::new() };
        fill_in(&mut nothing, &Config::default());
        assert_eq!(nothing.driver, DEFAULT);
    }

    #[test]
    fn entries_carry_what_was_asked_for() {
        let attributes = |options| match planned("json-file", options).unwrap().drivers.remove(0) {
            LogDriver::JsonFile { attributes, .. } => attributes,
            other => panic!("{other:?}"),
        };
        assert_eq!(attributes(&[]), "");
        assert_eq!(
            attributes(&[
                ("labels", "colour,none"),
                ("env-regex", "^LEV"),
                ("tag", "{{.Name}}/{{ .ImageName }}")
            ]),
            r#"{"LEVEL":"3","colour":"blue","tag":"web/busybox:1"}"#
        );
        let wrong = planned("json-file", &[("tag", "{{.Foo}}")]).unwrap_err();
        assert!(wrong.contains("can't evaluate field Foo"), "{wrong}");
    }

    #[test]
    fn a_log_that_cannot_be_read_back_is_kept_beside_as_well() {
        let count = |options| planned("syslog", options).unwrap().drivers.len();
        assert_eq!(count(&[("syslog-address", "udp://127.0.0.1")]), 2);
        assert_eq!(count(&[("syslog-address", "udp://127.0.0.1"), ("cache-disabled", "true")]), 1);
        assert_eq!(planned("none", &[]).unwrap().drivers.len(), 0);
        let config = |driver: &str| LogConfig { driver: driver.to_owned(), config: BTreeMap::new() };
        assert_eq!(readable(&config("syslog")).unwrap(), Readable::Local);
        assert!(readable(&config("none")).is_err());
    }
}
