//! `kill -9` of any command at any time: everything listed works, and the next commands tidy up.
//!
//! Each command is killed at a few of its system calls, evenly spread; with `MICA_FAULT_STEP=1` in the environment at
//! every one of them, with 10 at every tenth.

use crate::fault::check_invariants;
use e2e::{Entry, Tarball, World, fixture};
use std::fs;

/// At how many system calls each command is killed, unless told.
const KILLS_DEFAULT: usize = 4;

/// A container that ends willingly, but not by itself.
const WILLING: &[&str] = &["busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"];

/// Kills `command` at several of its system calls, each time in a new world where `prepare` was done.
#[track_caller]
fn kill_everywhere(prepare: &[Vec<&str>], command: &[&str]) {
    let count = count_calls(prepare, command);
    for number in moments(count) {
        println!("{command:?} is killed at system call {number} of {count}");
        let world = prepared(prepare);
        let inject = format!("inject=all:signal=SIGKILL:when={number}");
        let strace = ["-qq", "-o", "/dev/null", "-e", &inject];
        // Commands differ a little from run to run, so some end by themselves.
        drop(world.invoke_by("strace", &strace, arguments(&world, command)).run());
        check_invariants(&world);
        world.close();
    }
}

/// At which of so many system calls a command is ended.
pub(crate) fn moments(count: usize) -> impl Iterator<Item = usize> {
    let step = std::env::var_os("MICA_FAULT_STEP").and_then(|text| text.to_str()?.parse().ok());
    let step: usize = step.unwrap_or(count / KILLS_DEFAULT).max(1);
    (step / 2 + 1..=count).step_by(step)
}

fn prepared(commands: &[Vec<&str>]) -> World {
    let world = World::new();
    for command in commands {
        world.mica(arguments(&world, command)).success();
    }
    world
}

/// Words with the places of archives filled in.
fn arguments(world: &World, command: &[&str]) -> Vec<String> {
    let fill = |word: &&str| match *word {
        "BUSYBOX" => fixture::busybox_archive().unwrap().display().to_string(),
        "ROOT" => {
            let path = world.scratch().join("root.tar");
            let busybox = fs::read("/bin/busybox").unwrap();
            let tar = Tarball::new()
                .with(Entry::directory("bin/"))
                .with(Entry::file("bin/busybox", busybox).mode(0o755));
            fs::write(&path, tar.finish()).unwrap();
            path.display().to_string()
        }
        other => other.to_owned(),
    };
    command.iter().map(fill).collect()
}

fn count_calls(prepare: &[Vec<&str>], command: &[&str]) -> usize {
    let world = prepared(prepare);
    let trace = world.scratch().join("trace");
    let strace = ["-qq", "-o", trace.to_str().unwrap()];
    world.invoke_by("strace", &strace, arguments(&world, command)).run().success();
    let calls = fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains('(')).count();
    assert!(calls > 20, "{command:?} made {calls} system calls");
    check_invariants(&world);
    calls
}

fn load() -> Vec<&'static str> {
    vec!["load", "-q", "-i", "BUSYBOX"]
}

fn with<'a>(start: &[&'a str], end: &[&'a str]) -> Vec<&'a str> {
    [start, end].concat()
}

#[test]
#[ignore = "needs root"]
fn privileged_killed_loads_and_imports_leave_whole_images_or_none() {
    kill_everywhere(&[], &load());
    kill_everywhere(&[], &["import", "ROOT", "imported:v1"]);
    kill_everywhere(&[], &["run", "hello"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_killed_runs_leave_what_can_be_started_or_removed() {
    let writing = ["busybox", "sh", "-c", "echo hi > /file"];
    kill_everywhere(&[load()], &with(&["run", "--name", "victim"], &writing));
    kill_everywhere(&[load()], &with(&["run", "--rm", "--name", "victim"], &writing));
    kill_everywhere(&[load()], &with(&["run", "-d", "--name", "victim"], WILLING));
    kill_everywhere(&[load(), with(&["run", "--name", "victim"], &writing)], &["start", "victim"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_killed_removals_are_finished_by_the_next_command() {
    let ended = vec!["run", "--name", "victim", "busybox", "true"];
    let running = with(&["run", "-d", "--name", "victim"], WILLING);
    kill_everywhere(&[load(), ended.clone()], &["rm", "victim"]);
    kill_everywhere(&[load(), running], &["rm", "-f", "victim"]);
    kill_everywhere(&[load(), ended], &["container", "prune", "-f"]);
    kill_everywhere(&[load()], &["rmi", "busybox"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_killed_commits_execs_and_stops_harm_nobody() {
    let running = || with(&["run", "-d", "--name", "victim"], WILLING);
    kill_everywhere(&[load(), running()], &["commit", "victim", "new:v1"]);
    kill_everywhere(&[load(), running()], &["exec", "victim", "sh", "-c", "echo hi > /file"]);
    kill_everywhere(&[load(), running()], &["stop", "victim"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_removal_killed_after_its_rename_is_no_longer_listed() {
    let world = World::with_busybox();
    let id = world.mica(["create", "--name", "victim", "busybox", "true"]).success().line();
    // What a removal leaves that is killed between its first two steps.
    let trashed = world.root().join("trash").join(format!("container-{id}"));
    fs::rename(world.root().join("container").join(&id), trashed).unwrap();
    world.mica(["start", "victim"]).failure().stderr_contains("No such container");
    world.mica(["ps", "-aq"]).success().stdout_is("");
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_monitor_killed_at_its_birth_leaves_no_cgroups() {
    for call in ["setsid", "bind", "mkdirat", "clone3"] {
        let world = World::with_busybox();
        let inject = format!("inject={call}:signal=SIGKILL:when=1");
        let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &inject];
        drop(world.invoke_by("strace", &strace, ["run", "--name", "victim", "busybox", "true"]).run());
        check_invariants(&world);
    }
}
