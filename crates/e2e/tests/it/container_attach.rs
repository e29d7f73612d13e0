//! `mica attach`: joining what runs, and leaving it running.

use e2e::World;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root"]
fn privileged_attach_ends_with_the_code_of_the_container() {
    let world = World::with_busybox();
    let script = "echo ready; read word; echo got $word; echo bad >&2; exit 6";
    world.mica(["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script]).success();
    world.await_log("box", "ready");
    let output = world.invoke(["attach", "box"]).stdin("it\n").run();
    output.code(6).stdout_is("got it\n");
    assert_eq!(output.stderr(), "bad\n");
    world.mica(["attach", "box"]).code(1).stderr_contains("cannot attach to a stopped container");
    world.mica(["attach", "nobody"]).code(1).stderr_contains("No such container: nobody");
}

#[test]
#[ignore = "needs root"]
fn privileged_attach_refuses_what_is_paused() {
    let world = World::with_busybox();
    world.sleeper("frozen");
    world.mica(["pause", "frozen"]).success();
    world.mica(["attach", "frozen"]).code(1).stderr_contains("paused container, unpause it first");
    world.mica(["unpause", "frozen"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_keys_detach_and_the_terminal_can_be_joined_again() {
    let world = World::with_busybox();
    let mut first = world.terminal(["run", "-it", "--name", "box", "busybox", "sh"]);
    first.expect("# ");
    first.send("echo on$((1+1))\n");
    first.expect("on2");
    first.send([16, 17]);
    assert_eq!(first.finish().1, 0, "detaching is no failure");
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    let mut second = world.terminal(["attach", "--detach-keys", "ctrl-x,q", "box"]);
    second.send("echo again$((1+1))\n");
    second.expect("again2");
    second.send([24, b'q']);
    assert_eq!(second.finish().1, 0);
    let mut third = world.terminal(["attach", "box"]);
    third.send("exit 9\n");
    assert_eq!(third.finish().1, 9);
}

#[test]
#[ignore = "needs root"]
fn privileged_bad_detach_keys_are_told() {
    let world = World::with_busybox();
    world.sleeper("box");
    world.mica(["attach", "--detach-keys", "bogus-keys", "box"]).failure().stderr_contains("detach keys");
}

#[test]
#[ignore = "needs root"]
fn privileged_two_readers_see_the_same_and_one_may_go() {
    let world = World::with_busybox();
    let script = "echo ready; while read word; do echo $word; done";
    world.mica(["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script]).success();
    world.await_log("box", "ready");
    let mut talker = world.invoke(["attach", "box"]).spawn();
    let mut reader = world.invoke(["attach", "--no-stdin", "box"]).spawn();
    let mut input = talker.stdin().unwrap();
    // Both must be joined before the word that both are to see: the second says so by seeing one.
    let mut joined = false;
    for round in 0..200 {
        writeln!(input, "round{round}").unwrap();
        talker.stdout_until(&format!("round{round}\n"), SOON);
        joined = world.mica(["logs", "box"]).stdout().contains("round") && round > 3;
        if joined {
            break;
        }
    }
    assert!(joined);
    drop(reader.stdin());
    writeln!(input, "both").unwrap();
    talker.stdout_until("both", SOON);
    reader.stdout_until("both", SOON);
    drop(reader);
    writeln!(input, "still").unwrap();
    talker.stdout_until("still", SOON);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_reader_that_does_not_read_holds_nothing_up() {
    let world = World::with_busybox();
    let script = "trap 'exit 7' TERM; yes & touch /ready; wait";
    world.mica(["create", "--name", "loud", "busybox", "sh", "-c", script]).success();
    // The command is held up as soon as the pipe that nobody reads is full.
    let mut stuck = std::process::Command::new("sh")
        .args(["-c", "exec \"$0\" start -a loud | sleep 1000"])
        .arg(e2e::fixture::binary())
        .env("MICA_ROOT", world.root())
        .env("MICA_RUN", world.run_directory())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let is_ready = || world.mica(["exec", "loud", "test", "-f", "/ready"]).code == 0;
    assert!((0..1000).any(|_| is_ready()), "the container never began");
    world.invoke(["stop", "-t", "20", "loud"]).limit(Duration::from_secs(15)).run().success();
    assert_eq!(world.inspect("loud", "{{.State.ExitCode}}"), "7");
    // `start -a` has ended or ends with the pipe; only the one that never read has to be told.
    let _ = std::process::Command::new("pkill").args(["-P", &stuck.id().to_string()]).status();
    stuck.wait().unwrap();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_reader_that_joined_later_and_does_not_read_is_left_behind_with_words() {
    let world = World::with_busybox();
    let line = "0123456789".repeat(6);
    let script = format!(
        "read word; echo got $word; until test -f /go; do sleep 0.05; done; yes {line} | head -n 40000; echo the end; sleep 1000"
    );
    world.mica(["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", &script]).success();
    let mut stalled = world.invoke(["attach", "box"]).spawn();
    let mut input = stalled.stdin().unwrap();
    writeln!(input, "hello").unwrap();
    stalled.stdout_until("got hello", SOON);
    stalled.signal(Signal::STOP);
    world.mica(["exec", "box", "touch", "/go"]).success();
    // Nobody else waits for it.
    world.await_log("box", "the end");
    stalled.signal(Signal::CONT);
    let output = stalled.wait(SOON);
    output.code(1).stderr_contains("left behind").stderr_contains("mica logs");
    let seen = output.stdout();
    let lines = seen.strip_prefix("got hello\n").unwrap();
    let whole = format!("{line}\n").repeat(40_000);
    assert!(lines.len() < whole.len() && whole.starts_with(lines), "{} bytes, or others", lines.len());
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    assert!(world.mica(["logs", "box"]).success().stdout() == format!("got hello\n{whole}the end\n"));
    world.mica(["rm", "-f", "box"]).success();
}

/// Open descriptors and threads of a process.
fn held_by(pid: &str) -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
    (count("fd"), count("task"))
}

#[test]
#[ignore = "needs root"]
fn privileged_readers_that_vanish_leave_nothing_with_the_monitor() {
    let world = World::with_busybox();
    let script = "echo ready; while read word; do echo $word; done";
    world.mica(["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script]).success();
    world.await_log("box", "ready");
    let pid = world.inspect("box", "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_owned();
    let before = held_by(&monitor);
    let hello = || {
        let mut reader = world.invoke(["attach", "box"]).spawn();
        let mut input = reader.stdin().unwrap();
        writeln!(input, "hello").unwrap();
        reader.stdout_until("hello", SOON);
        (reader, input)
    };
    let (present, input) = hello();
    assert!(held_by(&monitor).0 > before.0, "one that is there is noticed");
    present.signal(Signal::KILL);
    drop((present, input));
    for _ in 0..60 {
        let (mut reader, _input) = hello();
        reader.signal(Signal::KILL);
        reader.wait(SOON).code(137);
    }
    let deadline = std::time::Instant::now() + SOON;
    while held_by(&monitor) != before {
        assert!(std::time::Instant::now() < deadline, "{:?} instead of {before:?}", held_by(&monitor));
    }
    // What the last one fed ended with it, as docker has it of the first that feeds.
    world.mica(["rm", "-f", "box"]).success();
}

/// Connections to a container's monitor, as no command of ours would use them.
fn raw_clients(world: &World, id: &str, count: usize) -> Vec<UnixStream> {
    let directories = std::fs::read_dir(world.run_directory().join("container")).unwrap().flatten();
    let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(id));
    let directory = directories.map(|entry| entry.path()).find(is_it).unwrap();
    let directory = std::fs::File::open(directory).unwrap();
    // The name of a socket must not be long, and that of the test's directory may be.
    let address = format!("/proc/self/fd/{}/monitor.sock", directory.as_raw_fd());
    (0..count).map(|_| UnixStream::connect(&address).unwrap()).collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_clients_that_speak_nonsense_or_never_finish_hold_nothing_up() {
    let world = World::with_busybox();
    let script = "echo ready; while read word; do echo $word; done";
    let id = world.mica(["run", "-d", "-i", "--name", "box", "busybox", "sh", "-c", script]).success().line();
    world.await_log("box", "ready");
    // One says nothing, one a part of the first message, one an endless one, one garbage after a good one.
    let mut clients = raw_clients(&world, &id, 4);
    clients[1].write_all(&[3]).unwrap();
    clients[2].write_all(&[0xff; 200]).unwrap();
    clients[3].write_all(&[3, 0, 0, 0]).unwrap();
    let mut started = [0; 8];
    clients[3].read_exact(&mut started).unwrap();
    assert_eq!(started, [19, 0, 0, 0, 0, 0, 0, 0], "it was taken in");
    clients[3].write_all(&[0x7f; 64]).unwrap();
    let mut rest = Vec::new();
    clients[3].set_read_timeout(Some(SOON)).unwrap();
    let _ = clients[3].read_to_end(&mut rest);
    assert!(rest.is_empty(), "who speaks nonsense is let go");
    // A frame of input byte by byte arrives as one in a piece does.
    let mut slow = raw_clients(&world, &id, 1).remove(0);
    let hello = [3, 1, 1, 1];
    let input = [&hello[..], &[0, 0, 0, 0, 0, 0, 0, 5], b"slow\n"].concat();
    for byte in input {
        slow.write_all(&[byte]).unwrap();
    }
    world.await_log("box", "slow");
    let answer = [&[19, 0, 0, 0, 0, 0, 0, 0][..], &[1, 0, 0, 0, 0, 0, 0, 5], b"slow\n"].concat();
    let mut heard = vec![0; answer.len()];
    slow.read_exact(&mut heard).unwrap();
    assert_eq!(heard, answer, "docker's frames");
    world.mica(["exec", "box", "true"]).success();
    let mut talker = world.invoke(["attach", "box"]).spawn();
    writeln!(talker.stdin().unwrap(), "word").unwrap();
    talker.stdout_until("word", SOON);
    world.invoke(["stop", "-t", "0", "box"]).limit(SOON).run().success();
    assert_eq!(world.inspect("box", "{{.State.ExitCode}}"), "137");
}
