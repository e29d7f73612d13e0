//! What a container may do and touch: capabilities, devices, kernel settings, limits of processes.

use crate::args::{Matches, ValueError, list, number, switch, text};
use crate::command::container::definition::gpus;
use clap::Arg;
use mica_api::types::host_config::{DeviceMapping, HostConfig, Ulimit};
use std::collections::{BTreeMap, BTreeSet};

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        list("cap-add", "list", "Add Linux capabilities"),
        list("cap-drop", "list", "Drop Linux capabilities"),
        list("device", "list", "Add a host device to the container").value_parser(parse_device),
        list("device-cgroup-rule", "list", "Add a rule to the cgroup allowed devices list")
            .value_parser(parse_rule),
        switch("disable-content-trust", "Skip image verification (default true)").hide(true),
        list("group-add", "list", "Add additional groups to join"),
        text("isolation", "string", "Container isolation technology"),
        number("oom-score-adj", "Tune host's OOM preferences (-1000 to 1000)"),
        switch("privileged", "Give extended privileges to this container"),
        text("runtime", "string", "Runtime to use for this container"),
        list("storage-opt", "list", "Storage driver options for the container")
            .value_parser(parse_storage_option),
        list("sysctl", "map", "Sysctl options (default map[])").value_parser(parse_sysctl),
        ulimit_flag(),
        text("userns", "string", "User namespace to use (\"host\", \"auto\", \"auto:size=N\", \"keep-id\")"),
    ]
}

fn parse_storage_option(typed: &str) -> Result<String, ValueError> {
    match typed.split_once('=') {
        Some(_) => Ok(typed.to_owned()),
        None => Err(ValueError { message: "invalid storage option".to_owned() }),
    }
}

/// `--ulimit`.
pub fn ulimit_flag() -> Arg {
    list("ulimit", "ulimit", "Ulimit options (default [])").value_parser(parse_limit)
}

/// The limits that were typed; the last of a name wins.
pub fn limits(matches: &Matches) -> Vec<Ulimit> {
    let limits = matches.list("ulimit").into_iter().filter_map(|typed| limit(&typed).ok());
    let limits: BTreeMap<String, Ulimit> = limits.map(|limit| (limit.name.clone(), limit)).collect();
    limits.into_values().collect()
}

/// Puts what was typed into the request.
pub fn apply(matches: &Matches, host: &mut HostConfig) {
    let unless_empty = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    let (added, dropped) = capabilities(&matches.list("cap-add"), &matches.list("cap-drop"));
    host.cap_add = unless_empty(added);
    host.cap_drop = unless_empty(dropped);
    host.group_add = unless_empty(matches.list("group-add"));
    host.oom_score_adj = matches.number("oom-score-adj").unwrap_or_default();
    host.privileged = matches.on("privileged");
    host.isolation = matches.text_or_empty("isolation");
    if let Some(runtime) = matches.text("runtime").filter(|typed| !typed.is_empty()) {
        host.runtime = runtime;
    }
    let options = matches.list("storage-opt");
    let pairs = options.iter().filter_map(|typed| typed.split_once('='));
    let pairs: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    host.storage_opt = Some(pairs).filter(|pairs| !pairs.is_empty());
    host.userns_mode = matches.text_or_empty("userns");
    let sysctls: BTreeMap<String, String> = matches
        .list("sysctl")
        .iter()
        .filter_map(|typed| typed.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    host.sysctls = Some(sysctls).filter(|sysctls| !sysctls.is_empty());
    let paths = matches.list("device");
    let devices = paths.iter().filter(|typed| !gpus::is_name(typed)).map(|typed| device(typed)).collect();
    host.resources.devices = Some(devices);
    host.resources.device_cgroup_rules = unless_empty(matches.list("device-cgroup-rule"));
    host.resources.ulimits = Some(limits(matches));
}

/// Names in one form, each once, in order; "all" outdoes the others, and adding outdoes dropping.
fn capabilities(added: &[String], dropped: &[String]) -> (Vec<String>, Vec<String>) {
    const ALL: &str = "ALL";
    let named = |typed: &[String]| -> BTreeSet<String> {
        let upper = typed.iter().map(|name| name.trim().to_ascii_uppercase());
        let full = upper
            .map(|name| if name == ALL || name.starts_with("CAP_") { name } else { format!("CAP_{name}") });
        let names: BTreeSet<String> = full.collect();
        if names.contains(ALL) { BTreeSet::from([ALL.to_owned()]) } else { names }
    };
    let (added, dropped) = (named(added), named(dropped));
    let left = dropped.difference(&added).cloned().collect();
    (added.into_iter().collect(), left)
}

fn is_access(text: &str) -> bool {
    let once = |letter: char| text.matches(letter).count() <= 1;
    !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter) && once(letter))
}

fn parse_device(typed: &str) -> Result<String, ValueError> {
    if gpus::is_name(typed) {
        return Ok(typed.to_owned());
    }
    let error = |message: String| Err(ValueError { message });
    let parts: Vec<&str> = typed.split(':').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return error(format!("bad format for path: {typed}"));
    }
    let inside = match parts.as_slice() {
        [_, inside, access] if is_access(access) => inside,
        [_, _, access] => return error(format!("bad mode specified: {access}")),
        [_, inside] if !is_access(inside) => inside,
        _ => parts[0],
    };
    if !inside.starts_with('/') {
        return error(format!("{inside} is not an absolute path"));
    }
    Ok(typed.to_owned())
}

/// `PATH[:PATH][:ACCESS]`, already checked.
fn device(typed: &str) -> DeviceMapping {
    let parts: Vec<&str> = typed.split(':').collect();
    let (outside, inside, access) = match parts.as_slice() {
        [outside, inside, access] => (*outside, *inside, *access),
        [outside, access] if is_access(access) => (*outside, *outside, *access),
        [outside, inside] => (*outside, *inside, "rwm"),
        _ => (typed, typed, "rwm"),
    };
    DeviceMapping {
        path_on_host: outside.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: access.to_owned(),
    }
}

fn parse_rule(typed: &str) -> Result<String, ValueError> {
    let number =
        |text: &str| text == "*" || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = typed.split(' ').collect();
    let is_rule = match words.as_slice() {
        ["a" | "b" | "c", numbers, access] => {
            let is_access =
                (1..=3).contains(&access.len()) && access.bytes().all(|letter| b"rwm".contains(&letter));
            is_access && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        }
        _ => false,
    };
    if is_rule {
        return Ok(typed.to_owned());
    }
    Err(ValueError { message: format!("invalid device cgroup format '{typed}'") })
}

/// Settings that a container has of its own.
fn parse_sysctl(typed: &str) -> Result<String, ValueError> {
    let is_allowed =
        typed.split_once('=').is_some_and(|(name, _)| mica_model::sysctl::namespace_of(name).is_some());
    if is_allowed {
        return Ok(typed.to_owned());
    }
    Err(ValueError { message: format!("sysctl '{typed}' is not allowed") })
}

fn parse_limit(typed: &str) -> Result<String, ValueError> {
    limit(typed).map(|_| typed.to_owned())
}

/// `NAME=SOFT[:HARD]`, -1 being no limit.
fn limit(typed: &str) -> Result<Ulimit, ValueError> {
    const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let error = |message: String| ValueError { message };
    let (name, values) =
        typed.split_once('=').ok_or_else(|| error(format!("invalid ulimit argument: {typed}")))?;
    if !NAMES.contains(&name) {
        return Err(error(format!("invalid ulimit type: {name}")));
    }
    let number = |text: &str| text.parse::<i64>().map_err(|_| ValueError::syntax("ParseInt", text));
    let (soft, hard) = match values.split(':').collect::<Vec<_>>().as_slice() {
        [soft] => (number(soft)?, number(soft)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => {
            return Err(error(format!(
                "too many limit value arguments - {values}, can only have up to two, `soft[:hard]`"
            )));
        }
    };
    let order = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        return Err(error(format!("{order}: soft: -1 (unlimited), hard: {hard}")));
    }
    if hard != -1 && soft > hard {
        return Err(error(format!("{order}: {soft} > {hard}")));
    }
    Ok(Ulimit { name: name.to_owned(), hard, soft })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn capabilities_have_one_form_and_adding_wins() {
        let (added, dropped) =
            capabilities(&words(&["net_admin", "CAP_NET_ADMIN"]), &words(&["Net_Admin", "kill"]));
        assert_eq!(added, ["CAP_NET_ADMIN"]);
        assert_eq!(dropped, ["CAP_KILL"]);
        assert_eq!(
            capabilities(&words(&["all", "kill"]), &words(&["kill"])),
            (words(&["ALL"]), words(&["CAP_KILL"]))
        );
    }

    #[test]
    fn devices_are_read_as_docker_reads_them() {
        let read = |typed: &str| {
            parse_device(typed).unwrap();
            let device = device(typed);
            (device.path_on_host, device.path_in_container, device.cgroup_permissions)
        };
        let three = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(read("/dev/a"), three("/dev/a", "/dev/a", "rwm"));
        assert_eq!(read("/dev/a:rw"), three("/dev/a", "/dev/a", "rw"));
        assert_eq!(read("/dev/a:/dev/b"), three("/dev/a", "/dev/b", "rwm"));
        assert_eq!(read("/dev/a:/dev/b:r"), three("/dev/a", "/dev/b", "r"));
        for wrong in ["", ":", "a", "/a:b", "/a:/b:x", "/a:/b:rr", "/a:/b:r:w"] {
            assert!(parse_device(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_have_a_soft_and_a_hard_value() {
        assert_eq!(limit("nofile=5:10"), Ok(Ulimit { name: "nofile".to_owned(), hard: 10, soft: 5 }));
        assert_eq!(limit("core=-1").map(|limit| limit.hard), Ok(-1));
        let reason = |typed: &str| limit(typed).unwrap_err().message;
        assert_eq!(reason("nofile"), "invalid ulimit argument: nofile");
        assert_eq!(reason("x=1"), "invalid ulimit type: x");
        assert!(reason("nofile=10:5").ends_with("10 > 5"));
        assert!(reason("nofile=-1:5").ends_with("hard: 5"));
        assert!(reason("nofile=1:2:3").starts_with("too many"));
        assert!(limit("nofile=a").is_err());
    }

    #[test]
    fn rules_and_settings_are_checked_at_once() {
        assert!(
            parse_rule("c 1:* rwm").is_ok() && parse_rule("c 1:x r").is_err() && parse_rule("c 1:1").is_err()
        );
        assert!(parse_sysctl("net.core.somaxconn=1").is_ok());
        assert_eq!(parse_sysctl("vm.x=1").unwrap_err().message, "sysctl 'vm.x=1' is not allowed");
    }
}
