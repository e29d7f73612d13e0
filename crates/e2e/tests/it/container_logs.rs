//! `mica logs`: what a container said, while it runs and after.

use e2e::World;
use std::time::Duration;

#[test]
#[ignore = "needs root"]
fn privileged_logs_keep_both_streams_apart_and_tail() {
    let world = World::with_busybox();
    world
        .mica(["run", "--name", "talker", "busybox", "sh", "-c", "echo one; echo two; echo bad >&2"])
        .success();
    let output = world.mica(["logs", "talker"]);
    output.success().stdout_is("one\ntwo\n");
    assert_eq!(output.stderr(), "bad\n");
    world.mica(["run", "--name", "counter", "busybox", "seq", "100"]).success();
    world.mica(["logs", "-n", "2", "counter"]).success().stdout_is("99\n100\n");
    world.mica(["logs", "no-such"]).code(1).stderr_contains("No such container: no-such");
}

#[test]
#[ignore = "needs root"]
fn privileged_logs_follow_until_the_end() {
    let world = World::with_busybox();
    let script = "echo first; read word; echo last";
    world.mica(["create", "-i", "--name", "live", "busybox", "sh", "-c", script]).success();
    world.mica(["start", "live"]).success();
    let mut following = world.invoke(["logs", "-f", "live"]).spawn();
    following.stdout_until("first", Duration::from_secs(20));
    world.invoke(["attach", "live"]).stdin("go\n").run().success();
    following.wait(Duration::from_secs(20)).success().stdout_is("first\nlast\n");
}
