//! `mica stop`, `kill`, `pause`, `wait`, `rm`: how containers end.

use e2e::World;
use std::time::Duration;

#[test]
#[ignore = "needs root"]
fn privileged_stop_lets_a_willing_process_end() {
    let world = World::with_busybox();
    world.sleeper("willing");
    world.mica(["stop", "willing"]).success().stdout_is("willing\n");
    assert_eq!(world.inspect("willing", "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
}

#[test]
#[ignore = "needs root"]
fn privileged_stop_kills_after_the_grace_time() {
    let world = World::with_busybox();
    world.mica(["run", "-d", "--name", "deaf", "busybox", "sleep", "1000"]).success();
    world.mica(["stop", "-t", "0", "deaf"]).success();
    assert_eq!(world.inspect("deaf", "{{.State.ExitCode}}"), "137");
}

#[test]
#[ignore = "needs root"]
fn privileged_kill_sends_any_signal() {
    let world = World::with_busybox();
    world.sleeper("victim");
    world.mica(["kill", "-s", "TERM", "victim"]).success();
    world.mica(["wait", "victim"]).success().stdout_is("0\n");
    world.mica(["kill", "victim"]).code(1).stderr_contains("not running");
}

#[test]
#[ignore = "needs root"]
fn privileged_wait_ends_with_the_container() {
    let world = World::with_busybox();
    world.sleeper("awaited");
    let mut waiting = world.invoke(["wait", "awaited"]).spawn();
    world.mica(["kill", "awaited"]).success();
    waiting.wait(Duration::from_secs(20)).success().stdout_is("137\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_pause_freezes_and_unpause_thaws() {
    let world = World::with_busybox();
    world.sleeper("frozen");
    world.mica(["pause", "frozen"]).success();
    assert_eq!(world.inspect("frozen", "{{.State.Status}}"), "paused");
    world.mica(["exec", "frozen", "true"]).failure().stderr_contains("paused");
    world.mica(["unpause", "frozen"]).success();
    assert_eq!(world.inspect("frozen", "{{.State.Status}}"), "running");
    world.mica(["stop", "frozen"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_rm_refuses_what_runs_unless_forced() {
    let world = World::with_busybox();
    let id = world.sleeper("running");
    world.remember(&id);
    world.mica(["rm", "running"]).code(1).stderr_contains("running");
    world.mica(["rm", "-f", "running"]).success().stdout_is("running\n");
    world.mica(["ps", "-aq"]).success().stdout_is("");
}
