//! The freezer: stops and continues all processes of a group without their noticing.

use super::{Group, Version};
use crate::RuntimeError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take: a group that forks wildly settles slowly.
const PATIENCE: Duration = Duration::from_secs(10);

/// Version 2 freezes in any group, without a controller; it also tells when it is done.
fn place(group: &Group) -> Option<(PathBuf, Version)> {
    if let Some(directory) = &group.unified
        && Path::new(directory).join("cgroup.freeze").exists()
    {
        return Some((PathBuf::from(directory), Version::Unified));
    }
    group.controller("freezer").map(|(directory, version)| (directory.to_owned(), version))
}

/// Freezes and waits until every process is frozen.
pub(crate) fn freeze(group: &Group) -> Result<(), RuntimeError> {
    set(group, true)
}

/// Thaws and waits until every process is thawed.
pub(crate) fn thaw(group: &Group) -> Result<(), RuntimeError> {
    set(group, false)
}

/// Thaws a group that version 1 has frozen, where even a killed process ends only then.
pub(crate) fn thaw_legacy(group: &Group) -> Result<(), RuntimeError> {
    match place(group) {
        Some((_, Version::Legacy)) if is_frozen(group)? => thaw(group),
        _ => Ok(()),
    }
}

/// Whether the group is frozen or becoming so.
pub(crate) fn is_frozen(group: &Group) -> Result<bool, RuntimeError> {
    let Some((directory, version)) = place(group) else { return Ok(false) };
    let file = directory.join(if version == Version::Unified { "cgroup.freeze" } else { "freezer.state" });
    let text = fs::read_to_string(&file).map_err(RuntimeError::file("read", &file))?;
    Ok(matches!(text.trim(), "1" | "FROZEN" | "FREEZING"))
}

fn set(group: &Group, frozen: bool) -> Result<(), RuntimeError> {
    let directory = PathBuf::from(group.any_directory().unwrap_or_default());
    match place(group) {
        Some((directory, Version::Unified)) => set_unified(&directory, frozen),
        Some((directory, Version::Legacy)) => set_legacy(&directory, frozen),
        None => Err(RuntimeError::Freeze { path: directory }),
    }
}

fn set_unified(directory: &Path, frozen: bool) -> Result<(), RuntimeError> {
    let events = directory.join("cgroup.events");
    let mut file = File::open(&events).map_err(RuntimeError::file("open", &events))?;
    let switch = directory.join("cgroup.freeze");
    fs::write(&switch, if frozen { "1" } else { "0" }).map_err(RuntimeError::file("write", &switch))?;
    let wanted = if frozen { "frozen 1" } else { "frozen 0" };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        file.rewind().map_err(RuntimeError::file("read", &events))?;
        file.read_to_string(&mut text).map_err(RuntimeError::file("read", &events))?;
        if text.lines().any(|line| line == wanted) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RuntimeError::Freeze { path: directory.to_owned() });
        }
        wait_for_change(&file, left);
    }
}

/// The kernel reports each change of `cgroup.events` by `POLLPRI`.
fn wait_for_change(file: &File, patience: Duration) {
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    let mut descriptors = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::PRI)];
    let _ = poll(&mut descriptors, Some(&timeout));
}

/// Version 1 has no notification, and a group that forks while it freezes can hang half way:
/// writing `FROZEN` again takes the newcomers in, which the documentation asks for.
fn set_legacy(directory: &Path, frozen: bool) -> Result<(), RuntimeError> {
    let state = directory.join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        fs::write(&state, wanted).map_err(RuntimeError::file("write", &state))?;
        let text = fs::read_to_string(&state).map_err(RuntimeError::file("read", &state))?;
        if text.trim() == wanted {
            return Ok(());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Err(RuntimeError::Freeze { path: directory.to_owned() })
}
