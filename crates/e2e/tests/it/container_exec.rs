//! `mica exec`: another process in a running container.

use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_exec_shares_the_container_and_has_its_own_code() {
    let world = World::with_busybox();
    world.sleeper("host");
    world.mica(["exec", "host", "sh", "-c", "echo here > /mark"]).success().stdout_is("");
    world.mica(["exec", "host", "cat", "/mark"]).success().stdout_is("here\n");
    world.mica(["exec", "host", "sh", "-c", "exit 9"]).code(9);
    world.mica(["exec", "host", "no-such-program"]).code(127);
    world
        .mica(["exec", "-u", "daemon", "-w", "/tmp", "-e", "A=1", "host", "sh", "-c", "id -u; pwd; echo $A"])
        .success()
        .stdout_is("1\n/tmp\n1\n");
    world.invoke(["exec", "-i", "host", "cat"]).stdin("fed").run().success().stdout_is("fed");
}

#[test]
#[ignore = "needs root"]
fn privileged_exec_needs_a_running_container() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "idle", "busybox", "true"]).success();
    world.mica(["exec", "idle", "true"]).failure().stderr_contains("not running");
}
