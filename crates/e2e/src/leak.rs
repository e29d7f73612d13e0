//! Asks the kernel what a world left behind: processes, mounts, cgroups.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long things that end by themselves (a process being reaped, a cgroup being emptied) are given.
const GRACE: Duration = Duration::from_secs(5);

/// Everything that still bears a mark of the world at `directory`, or of one of its containers, as lines for people.
///
/// What is on its way out is awaited for a few seconds; the list is empty when nothing is left.
pub fn left_behind(directory: &Path, containers: &BTreeSet<String>) -> Vec<String> {
    let deadline = Instant::now() + GRACE;
    loop {
        let mut found = processes(directory);
        found.extend(mounts(directory));
        found.extend(cgroups(containers));
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        // There is no event for "the last of several processes is gone", so the question is asked again.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes (other than this one) with an open file, a working directory or a root inside the directory, or that
/// name it on their command line.
fn processes(directory: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let numbers = entries(Path::new("/proc")).into_iter().filter(|path| {
        let name = path.file_name().unwrap_or_default();
        name.as_bytes().iter().all(u8::is_ascii_digit) && name.as_bytes() != own.as_bytes()
    });
    numbers.filter_map(|process| describe_holder(&process, directory)).collect()
}

fn describe_holder(process: &Path, directory: &Path) -> Option<String> {
    let typed = fs::read(process.join("cmdline")).unwrap_or_default();
    let mark = directory.as_os_str().as_bytes();
    let named = typed.windows(mark.len()).any(|window| window == mark);
    let mut links = entries(&process.join("fd"));
    links.extend([process.join("cwd"), process.join("root")]);
    let held =
        links.iter().filter_map(|link| fs::read_link(link).ok()).find(|target| target.starts_with(directory));
    if !named && held.is_none() {
        return None;
    }
    let words = String::from_utf8_lossy(&typed).replace('\0', " ");
    Some(format!("process {} `{}` holding {held:?}", process.display(), words.trim()))
}

fn mounts(directory: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mark = directory.to_string_lossy().into_owned();
    table.lines().filter(|line| line.contains(&mark)).map(|line| format!("mount {line}")).collect()
}

/// Cgroups named after the containers, in any hierarchy and version.
fn cgroups(containers: &BTreeSet<String>) -> Vec<String> {
    let parents = [PathBuf::from("/sys/fs/cgroup")].into_iter().chain(entries(Path::new("/sys/fs/cgroup")));
    let groups = parents.flat_map(|hierarchy| entries(&hierarchy.join("mica")));
    groups
        .filter(|group| group.file_name().is_some_and(|name| containers.contains(&*name.to_string_lossy())))
        .map(|group| format!("cgroup {}", group.display()))
        .collect()
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_inside_is_found_and_then_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let mut child = Command::new("cat").current_dir(&path).stdin(Stdio::piped()).spawn().unwrap();
        let found = processes(&path);
        assert!(found.iter().any(|line| line.contains("cat")), "{found:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(left_behind(&path, &BTreeSet::new()), Vec::<String>::new());
    }
}
