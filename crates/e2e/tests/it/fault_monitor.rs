//! What is left when a monitor, a command or the host goes down: the container is known to have ended, or goes on.

use crate::fault::check_invariants;
use e2e::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// Kills the monitor of a container and waits until it is gone.
#[track_caller]
fn kill_monitor(id: &str) {
    let monitor = monitor_of(id).expect("a monitor");
    let watched = pidfd_open(monitor, PidfdFlags::empty()).unwrap();
    kill_process(monitor, Signal::KILL).unwrap();
    // Its name goes before its locks do.
    let limit = Timespec::try_from(LIMIT).ok();
    let ended = poll(&mut [PollFd::new(&watched, PollFlags::IN)], limit.as_ref());
    assert_eq!(ended, Ok(1), "the monitor does not die");
}

fn monitor_of(id: &str) -> Option<Pid> {
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = words.split(|&byte| byte == 0);
        let is_it = words.next() == Some(b"mica-monitor") && words.next() == Some(id.as_bytes());
        is_it.then(|| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw)).flatten()
    })
}

fn state(world: &World, name: &str) -> String {
    world.inspect(name, "{{.State.Status}} {{.State.ExitCode}} {{.State.Running}} {{.State.Pid}}")
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_monitor_takes_its_container_along() {
    let world = World::with_busybox();
    let id = world.sleeper("orphan");
    let mut waiting = world.invoke(["wait", "orphan"]).spawn();
    let mut following = world.invoke(["logs", "-f", "orphan"]).spawn();
    kill_monitor(&id);
    assert_eq!(state(&world, "orphan"), "exited 255 false 0");
    waiting.wait(LIMIT).success();
    following.wait(LIMIT);
    world.mica(["exec", "orphan", "true"]).code(1).stderr_contains("is not running");
    world.mica(["ps", "-a"]).success().stdout_contains("Exited (255)");
    world.mica(["start", "orphan"]).success();
    world.mica(["exec", "orphan", "true"]).success();
    kill_monitor(&id);
    world.mica(["stop", "orphan"]).success();
    world.mica(["rm", "-f", "orphan"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_paused_container_without_its_monitor_can_be_removed() {
    let world = World::with_busybox();
    let id = world.sleeper("frozen");
    world.mica(["pause", "frozen"]).success();
    kill_monitor(&id);
    assert_eq!(state(&world, "frozen"), "exited 255 false 0");
    world.mica(["rm", "frozen"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_of_rm_without_its_monitor_goes_with_the_next_listing() {
    let world = World::with_busybox();
    let script = "trap 'exit 0' TERM; sleep 1000 & wait";
    let id =
        world.mica(["run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", script]).success().line();
    kill_monitor(&id);
    // Until then it works: the mark of its unsynced layer does not stand in the way.
    world.mica(["cp", "gone:/etc/passwd", "-"]).success();
    world.mica(["start", "gone"]).success();
    kill_monitor(&id);
    world.mica(["ps", "-a"]).success();
    world.mica(["ps", "-aq"]).success().stdout_is("");
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_containers_outlive_the_commands_that_show_them() {
    let world = World::with_busybox();
    let script = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.05; done";
    let mut run = world.invoke(["run", "--name", "talker", "busybox", "sh", "-c", script]).spawn();
    run.stdout_until("line 2", LIMIT);
    let pid = world.inspect("talker", "{{.State.Pid}}");
    for command in
        [&["attach", "talker"][..], &["logs", "-f", "talker"], &["stats", "talker"], &["wait", "talker"]]
    {
        let mut shown = world.invoke(command).spawn();
        if command[0] != "wait" {
            shown.stdout_until("", LIMIT);
        }
        shown.signal(Signal::KILL);
        shown.wait(LIMIT).code(137);
    }
    run.signal(Signal::KILL);
    run.wait(LIMIT).code(137);
    assert_eq!(world.inspect("talker", "{{.State.Status}} {{.State.Pid}}"), format!("running {pid}"));
    let seen = world.mica(["logs", "talker"]).success().lines().len();
    let mut following = world.invoke(["logs", "-f", "talker"]).spawn();
    following.stdout_until(&format!("line {}\n", seen + 5), LIMIT);
    following.signal(Signal::KILL);
    following.wait(LIMIT).code(137);
    let lines = world.mica(["logs", "talker"]).success().lines();
    let expected: Vec<String> = (1..=lines.len()).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected, "the log has a gap");
    world.mica(["rm", "-f", "talker"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_after_a_reboot_what_ran_has_exited_and_starts_again() {
    let world = World::with_busybox();
    let ids = [world.sleeper("running"), world.sleeper("paused")];
    world.mica(["pause", "paused"]).success();
    let gone =
        world.mica(["run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000"]).success().line();
    world.mica(["create", "--name", "new", "busybox", "true"]).success();
    world.mica(["run", "--name", "ended", "busybox", "sh", "-c", "exit 3"]).code(3);
    // A power cut as the containers see it. Their cgroups, which a reboot would take too, are taken by a listing.
    ids.iter().chain([&gone]).for_each(|id| kill_monitor(id));
    world.mica(["ps", "-a"]).success();
    fs::remove_dir_all(world.run_directory()).unwrap();
    for name in ["running", "paused"] {
        assert_eq!(state(&world, name), "exited 255 false 0");
        assert_ne!(world.inspect(name, "{{.State.FinishedAt}}"), "0001-01-01T00:00:00Z");
        world.mica(["start", name]).success();
        assert_eq!(world.inspect(name, "{{.State.Status}}"), "running");
    }
    assert_eq!(world.inspect("new", "{{.State.Status}}"), "created");
    assert_eq!(world.inspect("ended", "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
    world.mica(["inspect", "gone"]).failure();
    world.mica(["start", "new", "ended"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_start_whose_command_is_killed_is_not_taken_for_ended() {
    let world = World::with_busybox();
    for number in 0..8 {
        let name = format!("orphan{number}");
        world.mica(["create", "--name", &name, "busybox", "sleep", "1000"]).success();
        // The plan has just been handed over when the command would wait for the answer.
        let strace =
            ["-qq", "-o", "/dev/null", "-e", "trace=recvfrom", "-e", "inject=recvfrom:signal=SIGKILL:when=1"];
        world.invoke_by("strace", &strace, ["start", name.as_str()]).run().failure();
        // Whoever looks now must not record an end.
        world.mica(["ps", "-a"]).success();
        // An end that was recorded would stay; until the monitor has said so the run is not seen yet.
        let deadline = std::time::Instant::now() + LIMIT;
        while !state(&world, &name).starts_with("running") {
            assert!(std::time::Instant::now() < deadline, "{name} is {}", state(&world, &name));
        }
        world.mica(["rm", "-f", &name]).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_who_outlives_its_monitor_by_another_user_ends_with_the_first_look() {
    let world = World::with_busybox();
    // A change of user frees a process of the signal that its parent's end would send.
    let script = "echo u:x:1000:1000::/:/bin/sh >> /etc/passwd; exec su u -c 'echo ready; exec sleep 1000'";
    let id = world.mica(["run", "-d", "--name", "free", "busybox", "sh", "-c", script]).success().line();
    world.await_log("free", "ready");
    let pid = world.inspect("free", "{{.State.Pid}}");
    let state_of = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    kill_monitor(&id);
    assert!(state_of().contains(") S "), "the test is none: {}", state_of());
    assert_eq!(state(&world, "free"), "exited 255 false 0");
    let deadline = std::time::Instant::now() + LIMIT;
    while !(state_of().is_empty() || state_of().contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "it lives: {}", state_of());
    }
    world.mica(["start", "free"]).success();
    world.mica(["rm", "-f", "free"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_monitor_whose_limit_of_files_is_lowered_goes_on_and_does_not_spin() {
    let world = World::with_busybox();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let id = world.mica(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]).success().line();
    world.await_log("box", "ready");
    let monitor = monitor_of(&id).unwrap();
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let limit = rustix::process::Rlimit { current: Some(1), maximum: most };
    rustix::process::prlimit(Some(monitor), rustix::process::Resource::Nofile, limit).unwrap();
    let ticks = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", monitor.as_raw_nonzero())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    let begun = std::time::Instant::now();
    world.mica(["exec", "box", "sleep", "1"]);
    let limit = begun.elapsed().as_millis() as u64 / 20;
    let spent = ticks() - before;
    assert!(spent <= limit, "{spent} hundredths of a second of {}", begun.elapsed().as_millis() / 10);
    world.mica(["stop", "box"]).success();
    assert_eq!(state(&world, "box"), "exited 3 false 0");
    world.mica(["logs", "box"]).success().stdout_is("ready\nbye\n");
}

/// Takes every file descriptor from a process that it has not opened yet, for good.
fn forbid_files(process: Pid) {
    let limit = rustix::process::Rlimit { current: Some(1), maximum: Some(1) };
    rustix::process::prlimit(Some(process), rustix::process::Resource::Nofile, limit).unwrap();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_monitor_that_can_open_nothing_is_waited_for_no_longer_than_the_container() {
    let world = World::with_busybox();
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let box_of = |name: &str, script: &str| {
        let id = world.mica(["run", "-d", "--name", name, "busybox", "sh", "-c", script]).success().line();
        world.await_log(name, "ready");
        forbid_files(monitor_of(&id).unwrap());
    };
    box_of("stopped", script);
    let mut waiting = world.invoke(["wait", "stopped"]).spawn();
    world.invoke(["stop", "stopped"]).limit(LIMIT).run().success();
    assert_eq!(state(&world, "stopped"), "exited 3 false 0", "the code is not lost either");
    waiting.wait(LIMIT).success().stdout_is("3\n");
    box_of("killed", script);
    world.invoke(["kill", "killed"]).limit(LIMIT).run().success();
    assert_eq!(state(&world, "killed"), "exited 137 false 0");
    box_of("deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    world.invoke(["stop", "-t", "1", "deaf"]).limit(LIMIT).run().success();
    assert_eq!(state(&world, "deaf"), "exited 137 false 0");
    box_of("removed", script);
    world.invoke(["rm", "-f", "removed"]).limit(LIMIT).run().success();
    for name in ["stopped", "killed", "deaf"] {
        world.mica(["start", name]).success();
        assert_eq!(world.inspect(name, "{{.State.Status}}"), "running");
        world.mica(["rm", "-f", name]).success();
    }
    check_invariants(&world);
}
