//! Limits on what a container may use: flags of `run`, `create` and `update`.

use crate::args::{Matches, ValueError, bytes, number, parse_integer, text};
use crate::context::Context;
use clap::Arg;
use mica_api::types::host_config::Resources;
use mica_model::size;

/// Nanoseconds of processor time in a second: `--cpus 1`.
const NANO: i128 = 1_000_000_000;

/// The flags that all three have.
pub fn flags() -> Vec<Arg> {
    vec![
        text(
            "blkio-weight",
            "uint16",
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
        )
        .value_parser(parse_weight),
        number("cpu-period", "Limit CPU CFS (Completely Fair Scheduler) period"),
        number("cpu-quota", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        number("cpu-rt-period", "Limit CPU real-time period in microseconds"),
        number("cpu-rt-runtime", "Limit CPU real-time runtime in microseconds"),
        number("cpu-shares", "CPU shares (relative weight)").short('c'),
        text("cpus", "decimal", "Number of CPUs").value_parser(parse_cpus),
        text("cpuset-cpus", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        text("cpuset-mems", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        // The kernel has no such limit any more.
        bytes("kernel-memory", "").hide(true),
        bytes("memory", "Memory limit").short('m'),
        bytes("memory-reservation", "Memory soft limit"),
        text("memory-swap", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap")
            .value_parser(parse_swap),
        number("pids-limit", "Tune container pids limit (set -1 for unlimited)"),
    ]
}

/// Their names, to see whether any was typed.
pub const NAMES: &[&str] = &[
    "blkio-weight",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "kernel-memory",
    "memory",
    "memory-reservation",
    "memory-swap",
    "pids-limit",
];

/// What was typed.
pub fn from(matches: &Matches) -> Resources {
    let number = |flag| matches.number(flag).unwrap_or_default();
    Resources {
        blkio_weight: number("blkio-weight").try_into().unwrap_or_default(),
        cpu_realtime_period: number("cpu-rt-period"),
        cpu_realtime_runtime: number("cpu-rt-runtime"),
        oom_kill_disable: matches.switch("oom-kill-disable"),
        cpu_period: number("cpu-period"),
        cpu_quota: number("cpu-quota"),
        cpu_shares: number("cpu-shares"),
        nano_cpus: number("cpus"),
        cpuset_cpus: matches.text_or_empty("cpuset-cpus"),
        cpuset_mems: matches.text_or_empty("cpuset-mems"),
        memory: number("memory"),
        memory_reservation: number("memory-reservation"),
        memory_swap: number("memory-swap"),
        memory_swappiness: matches.number("memory-swappiness").filter(|value| *value != -1),
        pids_limit: matches.number("pids-limit"),
        ..Resources::default()
    }
}

/// Says what docker says of a flag without effect.
pub fn tell_deprecated(matches: &Matches, context: &Context<'_>) {
    if matches.given("kernel-memory") {
        context
            .say_error("Flag --kernel-memory has been deprecated, and no longer supported by the kernel\n");
    }
}

/// Go's `strconv.ParseUint` with 16 bits.
fn parse_weight(typed: &str) -> Result<i64, ValueError> {
    let number = parse_integer(typed).map_err(|_| ValueError::syntax("ParseUint", typed))?;
    if number < 0 {
        return Err(ValueError::syntax("ParseUint", typed));
    }
    let range =
        || ValueError { message: format!("strconv.ParseUint: parsing {typed:?}: value out of range") };
    u16::try_from(number).map(i64::from).map_err(|_| range())
}

fn parse_swap(typed: &str) -> Result<i64, ValueError> {
    size::parse_swap(typed).map_err(|error| ValueError { message: error.to_string() })
}

/// A decimal number of processors, in billionths; exact, as docker's is.
fn parse_cpus(typed: &str) -> Result<i64, ValueError> {
    let error = |reason: &str| ValueError { message: reason.to_owned() };
    let (whole, fraction) = typed.split_once('.').unwrap_or((typed, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || whole.len() > 12 || !is_number(whole) || !is_number(fraction) {
        return Err(error(&format!("failed to parse {typed} as a rational number")));
    }
    let significant = fraction.trim_end_matches('0');
    if significant.len() > 9 {
        return Err(error("value is too precise"));
    }
    let whole: i128 =
        if whole.is_empty() { 0 } else { whole.parse().map_err(|_| error("value is too large"))? };
    let fraction: i128 = format!("{significant:0<9}").parse().map_err(|_| error("value is too precise"))?;
    i64::try_from(whole * NANO + fraction).map_err(|_| error("value is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_exact_decimals() {
        assert_eq!(parse_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(parse_cpus(".5"), Ok(500_000_000));
        assert_eq!(parse_cpus("2"), Ok(2_000_000_000));
        assert_eq!(parse_cpus("0.000000001"), Ok(1));
        for wrong in ["", ".", "a", "-1", "1e3", "0.0000000001", "99999999999999"] {
            assert!(parse_cpus(wrong).is_err(), "{wrong}");
        }
    }
}
