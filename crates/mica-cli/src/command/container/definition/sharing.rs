//! What a container shares with its host or with another container: `--pid`, `--ipc`, `--uts`, `--cgroupns`; and
//! where its cgroup lies.

use crate::args::{Matches, ValueError, list, text};
use clap::Arg;
use mica_api::types::host_config::HostConfig;

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        list("annotation", "map", "Add an annotation to the container (passed through to the OCI runtime)")
            .value_parser(parse_annotation),
        text("cgroup-parent", "string", "Optional parent cgroup for the container"),
        text("cgroupns", "string", "Cgroup namespace to use (host|private)").value_parser(parse_cgroup),
        text("ipc", "string", "IPC mode to use"),
        text("pid", "string", "PID namespace to use").value_parser(parse_pid),
        text("uts", "string", "UTS namespace to use").value_parser(parse_uts),
    ]
}

/// Puts what was typed into the request.
pub fn apply(matches: &Matches, host: &mut HostConfig) {
    let annotations = matches.list("annotation");
    let pairs = annotations.iter().map(|typed| typed.split_once('=').unwrap_or((typed, "")));
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    host.annotations = Some(pairs.collect()).filter(|_| !annotations.is_empty());
    host.resources.cgroup_parent = matches.text_or_empty("cgroup-parent");
    host.pid_mode = matches.text_or_empty("pid");
    host.uts_mode = matches.text_or_empty("uts");
    let given = |flag: &str| matches.text(flag).filter(|typed| !typed.is_empty());
    if let Some(mode) = given("ipc") {
        host.ipc_mode = mode;
    }
    if let Some(mode) = given("cgroupns") {
        host.cgroupns_mode = mode;
    }
}

fn parse_annotation(typed: &str) -> Result<String, ValueError> {
    if typed.starts_with('=') || typed.is_empty() {
        return Err(ValueError { message: format!("invalid annotation format: {typed:?}") });
    }
    Ok(typed.to_owned())
}

fn parse_pid(typed: &str) -> Result<String, ValueError> {
    let joins = typed.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    one_of(joins || ["", "host"].contains(&typed), typed, "invalid PID mode")
}

fn parse_uts(typed: &str) -> Result<String, ValueError> {
    one_of(["", "host"].contains(&typed), typed, "invalid UTS mode")
}

fn parse_cgroup(typed: &str) -> Result<String, ValueError> {
    one_of(["", "host", "private"].contains(&typed), typed, "invalid CGROUP mode")
}

fn one_of(is_known: bool, typed: &str, reason: &str) -> Result<String, ValueError> {
    if is_known { Ok(typed.to_owned()) } else { Err(ValueError { message: reason.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_docker() {
        for (parse, known) in [
            (parse_pid as fn(&str) -> _, &["", "host", "container:web"][..]),
            (parse_uts, &["", "host"]),
            (parse_cgroup, &["", "host", "private"]),
        ] {
            for typed in known {
                assert_eq!(parse(typed), Ok((*typed).to_owned()));
            }
            for wrong in ["hosts", "container:", "private:"] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }
        assert!(parse_annotation("=x").is_err() && parse_annotation("key").is_ok());
    }
}
