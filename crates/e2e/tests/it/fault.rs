//! What must hold of a store whatever was done to it: the checks that the tests of faults share.

use e2e::{Output, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long monitors are given to tidy up after their containers.
const GRACE: Duration = Duration::from_secs(5);

/// Checks that everything listed works, and that nothing is left once all of it is removed.
#[track_caller]
pub(crate) fn check_invariants(world: &World) {
    for parent in [world.root().join("container"), world.run_directory().join("container")] {
        names_in(&parent).iter().for_each(|id| world.remember(id));
    }
    for command in [&["ps", "-a"][..], &["images", "-a"], &["system", "df"], &["image", "tree"]] {
        world.mica(command).success();
    }
    let images = world.mica(["images", "-aq", "--no-trunc"]).success().lines();
    for image in &images {
        world.mica(["inspect", image]).success();
        world.mica(["run", "--rm", image, "/bin/busybox", "true"]).success();
    }
    for container in world.mica(["ps", "-aq", "--no-trunc"]).success().lines() {
        world.remember(&container);
        check_container(world, &container);
    }
    if let Some(image) = images.first() {
        world.mica(["create", "--name", "victim", image, "true"]).success();
    }
    world.mica(["container", "prune", "-f"]).success();
    world.mica(["image", "prune", "-af"]).success();
    world.mica(["ps", "-aq"]).success().stdout_is("");
    world.mica(["images", "-aq"]).success().stdout_is("");
    check_emptiness(world);
}

/// A listed container can be looked at, started or entered, and removed.
#[track_caller]
fn check_container(world: &World, id: &str) {
    let Some(status) = unless_gone(world, id, &["inspect", "--format", "{{.State.Status}}", id]) else {
        return;
    };
    match status.line().as_str() {
        "running" => {
            unless_gone(world, id, &["exec", id, "true"]);
        }
        "created" | "exited" => {
            unless_gone(world, id, &["start", id]);
        }
        other => panic!("container {id} is {other}"),
    }
    unless_gone(world, id, &["logs", id]);
    unless_gone(world, id, &["rm", "-f", id]);
}

/// Runs a command that must succeed; `None` if the container's own monitor has removed it meanwhile, as that of a
/// `--rm` container does.
#[track_caller]
fn unless_gone(world: &World, id: &str, command: &[&str]) -> Option<Output> {
    let output = world.mica(command);
    if output.code != 0
        && !world.mica(["ps", "-aq", "--no-trunc"]).success().lines().iter().any(|one| one == id)
    {
        return None;
    }
    output.success();
    Some(output)
}

/// Nothing lies in any of the store's directories.
#[track_caller]
fn check_emptiness(world: &World) {
    let root = world.root();
    let inside = [
        "container",
        "trash",
        "image/blobs/sha256",
        "image/ingest",
        "layer/sha256",
        "layer/ingest",
        "layer/trash",
    ];
    let mut directories: Vec<PathBuf> = inside.iter().map(|name| root.join(name)).collect();
    directories.push(world.run_directory().join("container"));
    let deadline = Instant::now() + GRACE;
    loop {
        let left: Vec<String> = directories
            .iter()
            .flat_map(|path| names_in(path).into_iter().map(|name| path.join(name).display().to_string()))
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind:\n{}", left.join("\n"));
        // Monitors end by themselves and tell nobody.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The names in a directory, none if there is no such directory.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
