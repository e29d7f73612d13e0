//! What flows between a container and those beside it: streams, signals, terminals.

use e2e::World;
use rustix::process::Signal;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root"]
fn privileged_only_the_streams_asked_for_are_copied() {
    let world = World::with_busybox();
    let script = ["sh", "-c", "echo out; echo err >&2"];
    let out = world.mica([&["run", "--rm", "-a", "stdout", "busybox"][..], &script].concat());
    out.success().stdout_is("out\n").stderr_is_empty();
    let err = world.mica([&["run", "--rm", "-a", "STDERR", "busybox"][..], &script].concat());
    assert_eq!(err.success().stdout_is("").stderr(), "err\n");
    let both = ["run", "--rm", "-i", "-a", "stdin", "-a", "stdout", "busybox", "cat"];
    world.invoke(both).stdin("fed\n").run().success().stdout_is("fed\n");
    world
        .mica(["run", "-d", "-a", "stdout", "busybox"])
        .code(1)
        .stderr_contains("both --attach and --detach");
    world.mica(["run", "-a", "bogus", "busybox"]).code(125).stderr_contains("STDIN, STDOUT and STDERR");
}

#[test]
#[ignore = "needs root"]
fn privileged_much_passes_through_whole() {
    let world = World::with_busybox();
    let line: Vec<u8> = (0..=255_u8).cycle().take(64 * 1024).collect();
    let input = line.repeat(64 << 4);
    let output = world
        .invoke(["run", "--rm", "-i", "busybox", "cat"])
        .stdin(input.clone())
        .limit(Duration::from_secs(120))
        .run();
    output.success();
    assert!(output.stdout == input, "{} bytes of {} came back, or others", output.stdout.len(), input.len());
}

#[test]
#[ignore = "needs root"]
fn privileged_signals_are_passed_on_unless_forbidden() {
    let world = World::with_busybox();
    let script =
        "trap 'echo hup; exit 5' HUP; trap 'echo usr; exit 6' USR1; echo ready; while :; do sleep 0.1; done";
    for (signal, word, code) in [(Signal::HUP, "hup", 5), (Signal::USR1, "usr", 6)] {
        let mut running = world.invoke(["run", "--rm", "busybox", "sh", "-c", script]).spawn();
        running.stdout_until("ready", SOON);
        running.signal(signal);
        running.wait(SOON).code(code).stdout_contains(word);
    }
    let quiet = ["run", "--name", "quiet", "--sig-proxy=false", "busybox", "sh", "-c", script];
    let mut running = world.invoke(quiet).spawn();
    running.stdout_until("ready", SOON);
    running.signal(Signal::HUP);
    running.wait(SOON).code(129);
    assert_eq!(world.inspect("quiet", "{{.State.Status}}"), "running");
}

#[test]
#[ignore = "needs root"]
fn privileged_killing_the_command_leaves_the_container() {
    let world = World::with_busybox();
    let script = "echo ready; trap 'exit 4' TERM; sleep 1000 & wait";
    let mut running = world.invoke(["run", "--name", "box", "busybox", "sh", "-c", script]).spawn();
    running.stdout_until("ready", SOON);
    running.signal(Signal::KILL);
    running.wait(SOON).code(137);
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    world.mica(["stop", "box"]).success();
    world.mica(["wait", "box"]).success().stdout_is("4\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_program_begins_with_default_signals_and_its_own_group() {
    let world = World::with_busybox();
    let output =
        world.mica(["run", "--rm", "busybox", "grep", "-E", "^(SigIgn|SigBlk|Groups)", "/proc/self/status"]);
    let lines = output.success().lines();
    assert_eq!(lines[0].trim_end(), "Groups:\t0");
    assert!(lines[1..].iter().all(|line| line.ends_with("0000000000000000")), "{lines:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_terminal_is_resized_and_left_as_it_was() {
    let world = World::with_busybox();
    let mut terminal = world.terminal(["run", "-it", "--rm", "busybox", "sh"]);
    terminal.expect("# ");
    terminal.resize(51, 99);
    terminal.send("stty size\n");
    terminal.expect("51 99");
    terminal.send("test -t 0 && test -t 1 && test -t 2 && echo all$((1+1)) $TERM\n");
    terminal.expect("all2 xterm");
    terminal.send("exit 3\n");
    assert_eq!(terminal.finish().1, 3);
}

#[test]
#[ignore = "needs root"]
fn privileged_exec_has_terminals_and_detaches() {
    let world = World::with_busybox();
    world.sleeper("box");
    let mut terminal = world.terminal(["exec", "-it", "box", "sh"]);
    terminal.expect("# ");
    terminal.send("stty size; echo $((40+2))\n");
    terminal.expect("24 80");
    terminal.expect("42");
    terminal.send([16, 17]);
    assert_eq!(terminal.finish().1, 0);
    let mut terminal = world.terminal(["exec", "-it", "box", "sh", "-c", "read word; exit 8"]);
    terminal.send("x\n");
    assert_eq!(terminal.finish().1, 8);
    world.mica(["exec", "-it", "box", "true"]).code(1).stderr_contains("not a TTY");
    world.mica(["exec", "-t", "box", "sh", "-c", "test -t 1 && echo tty"]).success().stdout_is("tty\r\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_network_is_joined_with_its_host_name() {
    let world = World::with_busybox();
    world.mica(["run", "-d", "--name", "first", "-h", "web", "busybox", "sleep", "1000"]).success();
    world
        .mica(["run", "--rm", "--network", "container:first", "busybox", "hostname"])
        .success()
        .stdout_is("web\n");
    let inode = ["readlink", "/proc/self/ns/net"];
    let first = world.mica([&["exec", "first"][..], &inode].concat()).success().line();
    let joined =
        world.mica([&["run", "--rm", "--network", "container:first", "busybox"][..], &inode].concat());
    assert_eq!(joined.success().line(), first);
    let host = world.mica([&["run", "--rm", "--network", "host", "busybox"][..], &inode].concat());
    let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_eq!(host.success().line(), here.to_str().unwrap());
    world
        .mica(["run", "--network", "container:first", "-h", "x", "busybox"])
        .code(125)
        .stderr_contains("conflicting options");
    world.mica(["run", "--network", "container:nobody", "busybox"]).code(125).stderr_contains("nobody");
    world.mica(["stop", "-t", "0", "first"]).success();
    world
        .mica(["run", "--rm", "--network", "container:first", "busybox"])
        .code(125)
        .stderr_contains("non running container");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_link_named_docker_is_docker() {
    let world = World::with_busybox();
    let link = world.scratch().join("docker");
    std::os::unix::fs::symlink(e2e::fixture::binary(), &link).unwrap();
    let output =
        world.invoke_by(link.to_str().unwrap(), &["run", "--no-such-flag", "--"], [] as [&str; 0]).run();
    output.code(125).stderr_contains("docker run --help");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_whose_feeder_vanishes_sees_the_end_of_its_input() {
    let world = World::with_busybox();
    let script = "head -c 5 > /dev/null; echo begun; cat > /dev/null; echo ended; exit 6";
    let mut feeder = world.invoke(["run", "-i", "--name", "box", "busybox", "sh", "-c", script]).spawn();
    let mut input = feeder.stdin().unwrap();
    std::io::Write::write_all(&mut input, b"hello and more").unwrap();
    feeder.stdout_until("begun", SOON);
    feeder.signal(Signal::KILL);
    feeder.wait(SOON).code(137);
    world.mica(["wait", "box"]).success().stdout_is("6\n");
    world.mica(["logs", "box"]).success().stdout_is("begun\nended\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_much_passes_through_a_reader_that_takes_its_time_in_flat_memory() {
    const LENGTH: usize = 96 << 20;
    let world = World::with_busybox();
    let mut command = world.invoke(["run", "--name", "box", "-i", "busybox", "cat"]).spawn();
    let mut input = command.stdin().unwrap();
    let feeder = std::thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        (0..LENGTH >> 20).for_each(|_| std::io::Write::write_all(&mut input, &block).unwrap());
    });
    let peak = |pid: &str| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    command.stdout_until("xxxx", SOON);
    let pid = world.inspect("box", "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_owned();
    let client = command.pid().to_string();
    let (mut most_of_monitor, mut most_of_client) = (0, 0);
    while !feeder.is_finished() {
        most_of_monitor = most_of_monitor.max(peak(&monitor));
        most_of_client = most_of_client.max(peak(&client));
        std::thread::yield_now();
    }
    feeder.join().unwrap();
    let output = command.wait(std::time::Duration::from_secs(120));
    assert_eq!(output.success().stdout.len(), LENGTH);
    assert!(
        most_of_monitor < 24 << 10 && most_of_client < 48 << 10,
        "{most_of_monitor} {most_of_client} KiB"
    );
}
