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

/// How often a process was made that is the first of a pid namespace.
fn first_processes(world: &World, command: &[&str]) -> usize {
    let trace = world.scratch().join("trace");
    let strace = ["-f", "-qq", "-e", "trace=clone3", "-o", trace.to_str().unwrap()];
    let words = ["run", "--rm"].into_iter().chain(command.iter().copied());
    world.invoke_by("strace", &strace, words).run().success();
    let calls = std::fs::read_to_string(trace).unwrap();
    calls.lines().filter(|line| line.contains("CLONE_NEWPID")).count()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_process_made_before_its_plan_is_the_one_that_runs() {
    let world = World::with_busybox();
    let large = format!("LARGE={}", "x".repeat(100 << 10));
    let cases: [(&[&str], usize); 8] = [
        (&["--network", "none"], 1),
        (&[], 1),
        (&["--privileged", "--network", "none"], 1),
        (&["--read-only", "--memory", "64m", "--shm-size", "1m", "--tmpfs", "/x"], 1),
        (&["--ulimit", "nofile=100:100", "--cap-drop", "all", "--user", "1"], 1),
        // No forecast is made where anything of the user's is mounted or shared.
        (&["-v", "/tmp:/x"], 1),
        (&["--ipc", "host"], 1),
        // Too much to be told: what was made before is ended, and another takes its place.
        (&["-e", &large], 2),
    ];
    for (flags, expected) in cases {
        let command = [flags, &["busybox", "true"]].concat();
        assert_eq!(first_processes(&world, &command), expected, "{flags:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_made_before_the_plan_is_as_the_plan_wants_it() {
    let world = World::with_busybox();
    // Without what differs from one container to the next: where its writable layer lies, and times.
    let script = "cut -d' ' -f4- /proc/self/mountinfo | grep -v /container/ | sort; hostname; umask; cat /proc/1/cgroup;
                  grep -e Cap -e Sig[BIC] -e Seccomp -e NoNew -e Uid -e Gid -e Groups -e Umask /proc/1/status;
                  ls -ln /dev | awk '{ print $1, $3, $4, $5, $6, $NF }'; ip addr show lo; ulimit -a";
    let flags = ["--network", "none", "--hostname", "same", "busybox", "sh", "-c", script];
    let foreseen = world.mica([&["run", "--rm"][..], &flags].concat()).success().stdout();
    world.mica([&["create", "--name", "ordinary"][..], &flags].concat()).success();
    assert_eq!(foreseen, world.mica(["start", "-a", "ordinary"]).success().stdout());
}
