//! How a container's health is found out: `--health-cmd` and its like.

use crate::args::{Matches, duration, number, switch, text};
use crate::report::Failure;
use clap::Arg;
use mica_api::types::container::{ContainerConfig, Healthcheck};

/// The flags.
pub fn flags() -> Vec<Arg> {
    vec![
        text("health-cmd", "string", "Command to run to check health"),
        duration("health-interval", "Time between running the check (ms|s|m|h) (default 0s)"),
        number("health-retries", "Consecutive failures needed to report unhealthy"),
        duration(
            "health-start-interval",
            "Time between running the check during the start period (ms|s|m|h) (default 0s)",
        ),
        duration(
            "health-start-period",
            "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
        ),
        duration("health-timeout", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
        switch("no-healthcheck", "Disable any container-specified HEALTHCHECK"),
    ]
}

/// Puts what was typed into the request.
///
/// # Errors
/// Flags that exclude each other, negative numbers.
pub fn apply(matches: &Matches, config: &mut ContainerConfig) -> Result<(), Failure> {
    let numbers = NUMBERS.map(|flag| matches.number(flag).unwrap_or(0));
    let command = matches.text_or_empty("health-cmd");
    let is_asked_for = !command.is_empty() || numbers.iter().any(|number| *number != 0);
    if matches.on("no-healthcheck") {
        if is_asked_for {
            return Err(Failure::refused_launch("--no-healthcheck conflicts with --health-* options"));
        }
        config.healthcheck = Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        return Ok(());
    }
    if let Some((flag, _)) = NUMBERS.iter().zip(numbers).find(|(_, number)| *number < 0) {
        return Err(Failure::refused_launch(format!("--{flag} cannot be negative")));
    }
    let [interval, timeout, retries, start_period, start_interval] = numbers;
    let test = if command.is_empty() { Vec::new() } else { vec!["CMD-SHELL".to_owned(), command] };
    let check = Healthcheck { test, interval, timeout, start_period, start_interval, retries };
    config.healthcheck = is_asked_for.then_some(check);
    Ok(())
}

/// The flags with a number or a duration, in the order in which docker looks at them.
const NUMBERS: [&str; 5] =
    ["health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval"];
