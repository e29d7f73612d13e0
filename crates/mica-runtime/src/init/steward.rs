//! The first process of a container that asked for one of ours (`--init`): it reaps, passes signals
//! on to the program, and ends as the program ends.
//!
//! It is a fork of this process and not a program of its own, so the container needs none and has
//! none to overwrite: `/proc/1/exe` leads to the read-only clone that monitors are executed from,
//! and nobody without the right to trace may look there at all. It has the program's own rights
//! and filter, and not one open file but the descriptor of the program's process.

use super::program::{Limits, load_filter, take_rights};
use super::user::Identity;
use super::{Chapter, at, credentials, settings};
use crate::error::SetupStep;
use crate::plan::ProcessPlan;
use mica_sys::process::{Fork, NamespaceFlags, fork};
use mica_sys::signal;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{WaitOptions, wait};

/// Exit code of a steward that could not do its work.
const FAILED: i32 = 255;

/// Divides this process: the new one returns and becomes the program, the old one never does.
pub(super) fn stand_before(
    process: &ProcessPlan,
    identity: &Identity,
    channel: &OwnedFd,
    limits: Limits,
) -> Chapter {
    // For both; what is set again is the same.
    if limits == Limits::ToSet {
        settings::limits(process, None)?;
    }
    // Before there are two: what arrives from now on is kept until it is waited for.
    signal::block_all().map_err(at(SetupStep::Clone, "signals"))?;
    match fork(NamespaceFlags::NONE, None).map_err(at(SetupStep::Clone, "init"))? {
        Fork::Child => Ok(()),
        Fork::Parent { pid, pidfd } => match prepare(process, identity, channel, &pidfd) {
            Ok(()) => mica_sys::process::exit_now(serve(pid, &pidfd)),
            // The program's process goes with this one, and its end of the channel tells the monitor.
            Err(_) => mica_sys::process::exit_now(FAILED),
        },
    }
}

/// Becomes as small and as powerless as the program will be.
fn prepare(process: &ProcessPlan, identity: &Identity, channel: &OwnedFd, child: &OwnedFd) -> Chapter {
    // Both are only what listings show.
    let _ = rustix::thread::set_name(c"mica-init");
    let shown = ["/sbin/mica-init", "--"].into_iter().chain(process.arguments.iter().map(String::as_str));
    let _ = mica_sys::process::show_arguments(&shown.collect::<Vec<_>>());
    // Where it shares the pid namespace of others it is not the one that orphans fall to.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let admin = take_rights(process, identity, channel)?;
    // From here on only the program's process holds the channel, so that its exec can be noticed.
    mica_sys::process::close_standard_streams();
    mica_sys::process::close_all_but(&[child.as_fd()]).map_err(at(SetupStep::Streams, "init"))?;
    mica_sys::process::trim_memory();
    load_filter(process, admin)?;
    credentials::fade(identity, &process.capabilities)
}

/// Waits for signals until the program has ended; gives its exit code.
fn serve(program: u32, child: &OwnedFd) -> i32 {
    loop {
        match signal::wait_any() {
            Ok(signal::CHILD) => match reap(program) {
                Some(code) => return code,
                None => continue,
            },
            Ok(number) => {
                // One that has ended already is reaped next: its SIGCHLD is pending.
                let _ = signal::send(child.as_fd(), number);
            }
            Err(_) => return FAILED,
        }
    }
}

/// Reaps all who have ended; gives the exit code of the program if it was among them.
fn reap(program: u32) -> Option<i32> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if u32::try_from(pid.as_raw_nonzero().get()) == Ok(program) {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            return Some(status.exit_status().or(signal).unwrap_or(FAILED));
        }
    }
    None
}
