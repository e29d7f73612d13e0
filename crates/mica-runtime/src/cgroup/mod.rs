//! Cgroups of a container, whatever mixture of versions the host has.
//!
//! On version 1 (and hybrid) hosts there is a directory per hierarchy; a process goes in by writing
//! `0` to each `tasks` file itself. Writing another's pid to `cgroup.procs` would take a lock that
//! waits for an RCU grace period, 5 to 15 ms; a thread that moves itself does not take it. In the
//! version 2 hierarchy a process is born in its cgroup (`CLONE_INTO_CGROUP`), which is as cheap.

mod annex;
mod block;
mod devices;
mod freezer;
mod hierarchy;
mod limits;

pub(crate) use annex::Annex;
pub(crate) use devices::restrict;
pub(crate) use freezer::{freeze, is_frozen, thaw, thaw_legacy};
pub(crate) use limits::apply;

use crate::error::{SetupError, SetupStep};
pub(crate) use hierarchy::{Hierarchy, mounted};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often processes are looked for that were made while others were ended.
const KILLS_MAX: usize = 8;

/// The directories of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// One per hierarchy of version 1.
    pub(crate) legacy: Vec<LegacyGroup>,
    /// The one of version 2.
    pub(crate) unified: Option<String>,
}

/// A directory in a hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LegacyGroup {
    /// Its controllers, or `systemd` for the named hierarchy, as in the last directory of its mount.
    pub(crate) controllers: Vec<String>,
    /// Name of the mount point's last component: where it shows inside the container.
    pub(crate) mount_name: String,
    /// The directory on the host.
    pub(crate) directory: String,
}

/// Open descriptors by which a new process goes into a group.
#[derive(Debug, Default)]
pub(crate) struct Entrance {
    tasks: Vec<OwnedFd>,
    /// Directory of the version 2 cgroup, for `CLONE_INTO_CGROUP`.
    pub(crate) unified: Option<OwnedFd>,
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> SetupError {
    move |errno| SetupError::new(SetupStep::Cgroup, path.display().to_string(), errno)
}

impl Group {
    /// Makes the directories `name` (relative) in each of the `hierarchies`, or none.
    pub(crate) fn create(hierarchies: Vec<Hierarchy>, name: &str) -> Result<Self, SetupError> {
        let mut group = Self::default();
        for hierarchy in hierarchies {
            if let Err(error) = group.make(hierarchy, name) {
                group.remove();
                return Err(error);
            }
        }
        Ok(group)
    }

    fn make(&mut self, hierarchy: Hierarchy, name: &str) -> Result<(), SetupError> {
        match hierarchy {
            Hierarchy::Legacy { controllers, mount_point } => {
                let directory = mount_point.join(name);
                let mount_name = mount_point.file_name().map(|name| name.to_string_lossy().into_owned());
                self.legacy.push(LegacyGroup {
                    controllers: controllers.clone(),
                    mount_name: mount_name.unwrap_or_default(),
                    directory: directory.to_string_lossy().into_owned(),
                });
                create_legacy(&mount_point, &directory, &controllers)
            }
            Hierarchy::Unified { mount_point } => {
                let directory = mount_point.join(name);
                self.unified = Some(directory.to_string_lossy().into_owned());
                create_unified(&mount_point, &directory)
            }
        }
    }

    /// The directories `name` that there are, without what only matters to those who use them.
    pub(crate) fn existing(name: &str) -> Self {
        let mut group = Self::default();
        for hierarchy in mounted() {
            let (Hierarchy::Legacy { mount_point, .. } | Hierarchy::Unified { mount_point }) = &hierarchy;
            let directory = mount_point.join(name);
            if !directory.is_dir() {
                continue;
            }
            let directory = directory.to_string_lossy().into_owned();
            match hierarchy {
                Hierarchy::Legacy { controllers, .. } => {
                    group.legacy.push(LegacyGroup { controllers, mount_name: String::new(), directory });
                }
                Hierarchy::Unified { .. } => group.unified = Some(directory),
            }
        }
        group
    }

    /// Opens what a process needs to go in.
    pub(crate) fn entrance(&self) -> Result<Entrance, SetupError> {
        let mut entrance = Entrance::default();
        for legacy in &self.legacy {
            let path = Path::new(&legacy.directory).join("tasks");
            let file = rustix::fs::openat(CWD, &path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            entrance.tasks.push(file.map_err(failed(&path))?);
        }
        if let Some(directory) = &self.unified {
            let path = Path::new(directory);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            entrance.unified =
                Some(rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed(path))?);
        }
        Ok(entrance)
    }

    /// Host directory of `controller` and whether it is of version 2.
    pub(crate) fn controller(&self, controller: &str) -> Option<(&Path, Version)> {
        let legacy = self.legacy.iter().find(|group| group.controllers.iter().any(|name| name == controller));
        if let Some(group) = legacy {
            return Some((Path::new(&group.directory), Version::Legacy));
        }
        let directory = Path::new(self.unified.as_deref()?);
        let known = fs::read_to_string(directory.join("cgroup.controllers")).unwrap_or_default();
        known.split_whitespace().any(|name| name == controller).then_some((directory, Version::Unified))
    }

    /// All pids in it and below, in any of its hierarchies that lists them best.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut pids = BTreeSet::new();
        if let Some(directory) = self.any_directory() {
            collect_processes(Path::new(directory), &mut pids);
        }
        pids.into_iter().collect()
    }

    fn any_directory(&self) -> Option<&str> {
        let legacy = || self.legacy.iter().find(|group| group.controllers.iter().any(|name| name == "pids"));
        let first = || self.legacy.first();
        self.unified.as_deref().or_else(|| legacy().or_else(first).map(|group| group.directory.as_str()))
    }

    /// How many times the kernel killed a process of it for lack of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let Some((directory, version)) = self.controller("memory") else { return 0 };
        let file = if version == Version::Unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }

    /// Ends every process in it, thawing those that version 1 has frozen, which die only then.
    pub(crate) fn kill_all(&self) {
        for _ in 0..KILLS_MAX {
            let is_done = self.kill_each();
            let _ = thaw(self);
            if is_done {
                return;
            }
        }
    }

    /// The same, but whoever is frozen stays so and ends when thawed.
    pub(crate) fn kill_once(&self) {
        for _ in 0..KILLS_MAX {
            if self.kill_each() {
                return;
            }
        }
    }

    /// Ends the processes that are in it now: by `cgroup.kill` where the kernel has it, else one by one. `true`
    /// when nobody can have slipped through.
    fn kill_each(&self) -> bool {
        if let Some(directory) = &self.unified
            && fs::write(Path::new(directory).join("cgroup.kill"), "1").is_ok()
        {
            return true;
        }
        let pids = self.processes();
        for pid in &pids {
            let Some(pid) = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw) else {
                continue;
            };
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        pids.is_empty()
    }

    /// Removes the directories; `false` when a process is still in one.
    pub(crate) fn remove(&self) -> bool {
        let directories = self.legacy.iter().map(|group| &group.directory).chain(&self.unified);
        // All of them, even if one is busy; backwards, so that the first is there as long as any.
        directories.rev().filter(|directory| !remove_tree(Path::new(directory))).count() == 0
    }
}

/// Groups below `parent` that are older than `age`, by their names.
pub(crate) fn older_than(age: Duration, parent: &str) -> Vec<String> {
    let Some(Hierarchy::Legacy { mount_point, .. } | Hierarchy::Unified { mount_point }) =
        mounted().into_iter().next()
    else {
        return Vec::new();
    };
    let is_old = |directory: &PathBuf| {
        let made = fs::metadata(directory).and_then(|metadata| metadata.modified());
        made.is_ok_and(|made| made.elapsed().is_ok_and(|elapsed| elapsed >= age))
    };
    let directories = child_directories(&mount_point.join(parent));
    let name = |directory: PathBuf| Some(directory.file_name()?.to_str()?.to_owned());
    directories.into_iter().filter(is_old).filter_map(name).collect()
}

/// Whether this host can give a cgroup real-time processor time: version 1 alone can.
pub(crate) fn has_realtime() -> bool {
    mounted().iter().any(|hierarchy| match hierarchy {
        Hierarchy::Legacy { controllers, mount_point } => {
            controllers.iter().any(|name| name == "cpu") && mount_point.join("cpu.rt_runtime_us").exists()
        }
        Hierarchy::Unified { .. } => false,
    })
}

/// A version of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// cgroups(7), "Cgroups version 1".
    Legacy,
    /// "Cgroups version 2".
    Unified,
}

impl Entrance {
    /// What is needed to enter.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.tasks.iter().map(AsFd::as_fd)
    }

    /// Moves the calling thread, which must be its process's only one, into the groups of version 1.
    pub(crate) fn enter(&self) -> Result<(), SetupError> {
        for tasks in &self.tasks {
            rustix::io::write(tasks.as_fd(), b"0")
                .map_err(|errno| SetupError::new(SetupStep::Cgroup, "tasks", errno))?;
        }
        Ok(())
    }
}

fn make_directory(path: &Path) -> Result<bool, SetupError> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(failed(path)(errno)),
    }
}

/// Makes `directory` and what is missing between it and `top`, calling `made` on each new parent.
fn make_directories(top: &Path, directory: &Path, made: &mut dyn FnMut(&Path)) -> Result<(), SetupError> {
    if rustix::fs::mkdir(directory, Mode::from_raw_mode(0o755)).is_ok() {
        return Ok(());
    }
    let mut path = top.to_owned();
    let relative = directory.strip_prefix(top).unwrap_or(directory);
    let mut parts = relative.components().peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        if make_directory(&path)? && parts.peek().is_some() {
            made(&path);
        }
    }
    Ok(())
}

fn create_legacy(top: &Path, directory: &Path, controllers: &[String]) -> Result<(), SetupError> {
    let is_cpuset = controllers.iter().any(|name| name == "cpuset");
    let mut inherit = |parent: &Path| {
        if is_cpuset {
            // Without processors and memory nodes no process may enter; with this flag each new
            // child takes those of its parent, so that only the first parent needs them by hand.
            copy_cpuset(parent);
            let _ = fs::write(parent.join("cgroup.clone_children"), "1");
        }
    };
    make_directories(top, directory, &mut inherit)?;
    if is_cpuset && fs::read(directory.join("cpuset.cpus")).is_ok_and(|text| text.trim_ascii().is_empty()) {
        copy_cpuset(directory);
    }
    Ok(())
}

fn copy_cpuset(directory: &Path) {
    let Some(parent) = directory.parent() else { return };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(text) = fs::read(parent.join(file)) {
            let _ = fs::write(directory.join(file), text.trim_ascii());
        }
    }
}

fn create_unified(top: &Path, directory: &Path) -> Result<(), SetupError> {
    make_directories(top, directory, &mut |_| {})?;
    let mut parents: Vec<&Path> =
        directory.ancestors().skip(1).take_while(|path| path.starts_with(top)).collect();
    parents.reverse();
    for parent in parents {
        enable_controllers(parent);
    }
    Ok(())
}

/// Hands controllers down; those that cannot be are noticed when a limit needs them.
fn enable_controllers(directory: &Path) {
    const WANTED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
    let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    let available = read("cgroup.controllers");
    if available.trim().is_empty() {
        return;
    }
    let enabled = read("cgroup.subtree_control");
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    for name in WANTED {
        if has(&available, name) && !has(&enabled, name) {
            let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

fn collect_processes(directory: &Path, pids: &mut BTreeSet<u32>) {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for child in child_directories(directory) {
        collect_processes(&child, pids);
    }
}

fn child_directories(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(directory: &Path) -> bool {
    match rustix::fs::rmdir(directory) {
        Ok(()) | Err(Errno::NOENT) => return true,
        Err(_) => {}
    }
    for child in child_directories(directory) {
        remove_tree(&child);
    }
    matches!(rustix::fs::rmdir(directory), Ok(()) | Err(Errno::NOENT))
}
