//! How a container lives: its first process, and what brings it back.

use crate::args::{Matches, ValueError, switch, text};
use crate::report::Failure;
use clap::Arg;
use mica_api::types::host_config::{HostConfig, RestartPolicy};

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        switch("init", "Run an init inside the container that forwards signals and reaps processes"),
        restart_flag("Restart policy to apply when a container exits (default \"no\")"),
    ]
}

/// `--restart`, which `update` has too.
pub fn restart_flag(help: &'static str) -> Arg {
    text("restart", "string", help).value_parser(parse_restart)
}

/// Puts what was typed into the request.
///
/// # Errors
/// Flags that exclude each other.
pub fn apply(matches: &Matches, host: &mut HostConfig) -> Result<(), Failure> {
    host.init = matches.switch("init");
    host.restart_policy = restart(matches).unwrap_or_default();
    if host.auto_remove && host.restart_policy.name != "no" {
        return Err(Failure::refused_launch("conflicting options: cannot specify both --restart and --rm"));
    }
    Ok(())
}

/// The policy that was typed, if one was.
pub fn restart(matches: &Matches) -> Option<RestartPolicy> {
    let typed = matches.text("restart").filter(|typed| !typed.is_empty())?;
    policy(&typed).ok()
}

fn parse_restart(typed: &str) -> Result<String, ValueError> {
    policy(typed).map(|_| typed.to_owned())
}

/// `NAME[:RETRIES]`. Which names there are the engine knows.
fn policy(typed: &str) -> Result<RestartPolicy, ValueError> {
    let error = |reason: &str| ValueError { message: format!("invalid restart policy format: {reason}") };
    let (name, count) = typed.split_once(':').unwrap_or((typed, ""));
    if name.is_empty() && typed.contains(':') {
        return Err(error("no policy provided before colon"));
    }
    let count = match count {
        "" => 0,
        digits => digits.parse().map_err(|_| error("maximum retry count must be an integer"))?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count: count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_as_docker_reads_them() {
        let read = |typed: &str| {
            policy(typed)
                .map(|policy| (policy.name, policy.maximum_retry_count))
                .map_err(|error| error.message)
        };
        assert_eq!(read("always"), Ok(("always".to_owned(), 0)));
        assert_eq!(read("on-failure:3"), Ok(("on-failure".to_owned(), 3)));
        assert_eq!(read("on-failure:"), Ok(("on-failure".to_owned(), 0)));
        assert_eq!(
            read(":3"),
            Err("invalid restart policy format: no policy provided before colon".to_owned())
        );
        for wrong in ["on-failure:x", "on-failure:1:2", "on-failure: 1"] {
            assert_eq!(
                read(wrong),
                Err("invalid restart policy format: maximum retry count must be an integer".to_owned())
            );
        }
    }
}
