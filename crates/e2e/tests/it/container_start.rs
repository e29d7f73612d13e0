//! `mica start`: starting what exists, alone or staying with it.

use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_start_attached_gives_output_and_code() {
    let world = World::with_busybox();
    let script = "echo out; echo err >&2; exit 3";
    world.mica(["create", "--name", "box", "busybox", "sh", "-c", script]).success();
    for flags in [&["-a"][..], &["-a", "-i"]] {
        let output = world.mica([&["start"], flags, &["box"]].concat());
        output.code(3).stdout_is("out\n");
        assert_eq!(output.stderr(), "err\n");
    }
    world.mica(["start", "box"]).success().stdout_is("box\n");
    world.mica(["wait", "box"]).success().stdout_is("3\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_start_interactive_feeds_input() {
    let world = World::with_busybox();
    world.mica(["create", "-i", "--name", "cat", "busybox", "cat"]).success();
    world.invoke(["start", "-i", "cat"]).stdin("one\n").run().success().stdout_is("one\n");
    world.invoke(["start", "-ai", "cat"]).stdin("two\n").run().success().stdout_is("two\n");
    world.mica(["logs", "cat"]).success().stdout_is("one\ntwo\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_start_goes_on_after_an_error_and_names_it() {
    let world = World::with_busybox();
    world.sleeper("awake");
    world.mica(["create", "--name", "box", "busybox", "true"]).success();
    let output = world.mica(["start", "nobody", "box", "awake"]);
    output.code(1).stdout_is("box\nawake\n").stderr_contains("No such container: nobody");
    output.stderr_contains("failed to start containers: nobody");
    world.mica(["start", "-a", "box", "awake"]).code(1).stderr_contains("multiple containers at once");
    world.mica(["start"]).failure().stderr_contains("requires at least 1 argument");
    world.mica(["container", "start", "box"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_start_of_a_program_that_is_not_there_can_be_tried_again() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "lost", "busybox", "/no/program"]).success();
    world.mica(["start", "lost"]).code(1).stderr_contains("/no/program");
    assert_eq!(world.inspect("lost", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
    world.mica(["start", "lost"]).code(1).stderr_contains("/no/program");
    world.mica(["rm", "lost"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_restart_runs_again_with_the_same_files() {
    let world = World::with_busybox();
    let script = "echo run >> /runs; trap 'exit 0' TERM; wc -l < /runs; sleep 1000 & wait";
    world.mica(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]).success();
    world.await_log("box", "1\n");
    let before = world.inspect("box", "{{.State.Pid}}");
    world.mica(["restart", "-t", "5", "box"]).success().stdout_is("box\n");
    world.await_log("box", "2\n");
    assert_ne!(world.inspect("box", "{{.State.Pid}}"), before);
    world.mica(["stop", "box"]).success();
    world.mica(["restart", "box"]).success();
    world.await_log("box", "3\n");
    world.mica(["pause", "box"]).success();
    world.mica(["restart", "-t", "0", "box"]).success();
    world.await_log("box", "4\n");
    world.mica(["restart", "nobody"]).code(1).stderr_contains("No such container: nobody");
}
