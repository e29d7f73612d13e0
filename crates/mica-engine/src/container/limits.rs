//! Limits: checked as docker checks them, changed on a live container.

use crate::error::{Error, Result};
use crate::host;
use mica_api::types::host_config::Resources;

/// The least memory a container may have, in bytes: docker's 6 MiB.
const MEMORY_MIN_BYTES: i64 = 6 << 20;

/// Checks limits against each other and fills in what follows from them; answers warnings.
pub(crate) fn check(limits: &mut Resources) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    check_memory(limits)?;
    check_cpu(limits)?;
    if limits.memory_swappiness.is_some_and(|value| value != -1) {
        check_range("memory swappiness", limits.memory_swappiness.unwrap_or(0), 0, 100)?;
    }
    if limits.memory > 0 && limits.memory_swap == 0 {
        // docker: swap as large as the memory itself.
        limits.memory_swap = limits.memory.saturating_mul(2);
    }
    if limits.pids_limit.is_some_and(|limit| limit < -1) {
        return Err(Error::invalid("invalid pids limit: it must be positive, or -1 for no limit"));
    }
    if limits.pids_limit == Some(0) {
        limits.pids_limit = None;
        warnings.push("a pids limit of 0 means no limit".to_owned());
    }
    if limits.oom_kill_disable == Some(true) && limits.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                .to_owned(),
        );
    }
    check_realtime(limits)?;
    check_weight(limits)?;
    Ok(warnings)
}

fn check_realtime(limits: &Resources) -> Result<()> {
    let (runtime, period) = (limits.cpu_realtime_runtime, limits.cpu_realtime_period);
    if runtime == 0 && period == 0 {
        return Ok(());
    }
    if !mica_runtime::has_realtime_limits() {
        return Err(Error::invalid("Your kernel does not support CPU real-time scheduler"));
    }
    if period != 0 && runtime > period {
        return Err(Error::invalid("cpu real-time runtime cannot be higher than cpu real-time period"));
    }
    if runtime < 0 || period < 0 {
        return Err(Error::invalid("cpu real-time runtime and period cannot be negative"));
    }
    Ok(())
}

fn check_weight(limits: &Resources) -> Result<()> {
    let weight = limits.blkio_weight;
    if weight != 0 && !(10..=1000).contains(&weight) {
        return Err(Error::invalid("Range of blkio weight is from 10 to 1000"));
    }
    Ok(())
}

fn check_memory(limits: &Resources) -> Result<()> {
    if limits.memory != 0 && limits.memory < MEMORY_MIN_BYTES {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    if limits.memory > 0 && limits.memory_swap > 0 && limits.memory_swap < limits.memory {
        return Err(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if limits.memory == 0 && limits.memory_swap > 0 {
        return Err(Error::invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    if limits.memory_reservation != 0 && limits.memory_reservation < MEMORY_MIN_BYTES {
        return Err(Error::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if limits.memory > 0 && limits.memory_reservation > limits.memory {
        return Err(Error::invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    Ok(())
}

fn check_cpu(limits: &Resources) -> Result<()> {
    if limits.nano_cpus != 0 && (limits.cpu_period != 0 || limits.cpu_quota != 0) {
        return Err(Error::invalid("Conflicting options: Nano CPUs and CPU Period/Quota cannot both be set"));
    }
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let limit = i64::try_from(available).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    if limits.nano_cpus < 0 || limits.nano_cpus > limit {
        return Err(Error::invalid(format!(
            "range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
        )));
    }
    if limits.cpu_period != 0 {
        check_range("CPU cfs period", limits.cpu_period, 1_000, 1_000_000)?;
    }
    if limits.cpu_quota != 0 && limits.cpu_quota != -1 && limits.cpu_quota < 1_000 {
        return Err(Error::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if limits.cpu_shares < 0 {
        return Err(Error::invalid(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            limits.cpu_shares
        )));
    }
    for (what, list) in [("cpuset-cpus", &limits.cpuset_cpus), ("cpuset-mems", &limits.cpuset_mems)] {
        if !is_cpu_list(list) {
            return Err(Error::invalid(format!("invalid value {list:?} for {what}")));
        }
    }
    check_available("CPUs", &limits.cpuset_cpus, host::processors)?;
    check_available("memory nodes", &limits.cpuset_mems, host::memory_nodes)
}

/// Whether the host has all of a list; it is asked only if there is one.
fn check_available(what: &str, wished: &str, available: fn() -> String) -> Result<()> {
    if wished.is_empty() {
        return Ok(());
    }
    let available = available();
    if host::has_all(&available, wished) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "Requested {what} are not available - requested {wished}, available: {available}"
    )))
}

fn check_range(what: &str, value: i64, low: i64, high: i64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid value: {value}, valid {what} range is {low}-{high}")))
}

/// `0-2,7` as cpuset(7) writes it; numbers of up to four digits, so that none can overflow.
fn is_cpu_list(list: &str) -> bool {
    let number = |text: &str| (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    list.is_empty()
        || list.split(',').all(|part| match part.split_once('-') {
            Some((low, high)) => number(low) && number(high),
            None => number(part),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_follows_memory_and_nonsense_is_refused() {
        let mut limits = Resources { memory: 32 << 20, ..Default::default() };
        check(&mut limits).unwrap();
        assert_eq!(limits.memory_swap, 64 << 20);
        for wrong in [
            Resources { memory: 1, ..Default::default() },
            Resources { memory: -1, ..Default::default() },
            Resources { memory_swap: 1 << 30, ..Default::default() },
            Resources { nano_cpus: i64::MAX, ..Default::default() },
            Resources { cpu_quota: 5, ..Default::default() },
            Resources { cpuset_cpus: "0-9999999999".to_owned(), ..Default::default() },
            Resources { cpuset_cpus: "9999".to_owned(), ..Default::default() },
            Resources { cpuset_mems: "9999".to_owned(), ..Default::default() },
        ] {
            assert!(check(&mut wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
