//! Standard streams, terminals, logs, and clients that misbehave.

use crate::harness::{ALL, Container, OUTPUT, frame, outcome, send, until, wait_for};
use mica_model::frame::FrameKind;
use mica_runtime::{Attach, Hello, LogPlan, Status, StdinPlan, TerminalSize, attach, status};
use std::io::Write;

#[test]
#[ignore = "needs root"]
fn privileged_both_outputs_arrive_apart() {
    let outcome = Container::shell("echo out; echo err >&2; ls /proc/self/fd; exit 5").run();
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n0\n1\n2\n3\n", "err\n"));
    assert_eq!(outcome.code, 5);
}

#[test]
#[ignore = "needs root"]
fn privileged_input_comes_back_to_the_last_byte() {
    const PIECES: usize = 1024;
    let container = Container::new(&["/bin/cat"]);
    let mut plan = container.plan();
    plan.stdin = StdinPlan::Open { close_after_first: true };
    plan.attach = Some(ALL);
    let mut stream = container.start(plan).unwrap().stream;
    let mut writer = stream.try_clone().unwrap();
    let piece: Vec<u8> = (0..1 << 16).map(|number: u32| (number % 251) as u8).collect();
    let expected = piece.clone();
    let feeder = std::thread::spawn(move || {
        for _ in 0..PIECES {
            send(&mut writer, FrameKind::Stdin, &piece);
        }
        send(&mut writer, FrameKind::StdinClose, &[]);
    });
    let mut received = 0;
    loop {
        match frame(&mut stream).unwrap() {
            (FrameKind::Stdout, bytes) => {
                for byte in bytes {
                    assert_eq!(byte, expected[received % expected.len()], "at {received}");
                    received += 1;
                }
            }
            (FrameKind::Exit, payload) => {
                assert_eq!(payload, [0; 6]);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    feeder.join().unwrap();
    assert_eq!(received, PIECES * expected.len());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_terminal_has_its_size_from_the_start() {
    let mut container =
        Container::shell("stty size; tty; ls -l /dev/console; echo $TERM; read line; stty size");
    container.terminal = true;
    let mut plan = container.plan();
    plan.stdin = StdinPlan::Open { close_after_first: false };
    plan.attach = Some(ALL);
    plan.terminal_size = Some(TerminalSize { rows: 33, columns: 121 });
    let mut stream = container.start(plan).unwrap().stream;
    wait_for(&mut stream, "xterm\r\n");
    mica_runtime::resize(&container.run_directory(), TerminalSize { rows: 11, columns: 22 }).unwrap();
    send(&mut stream, FrameKind::Stdin, b"go\n");
    let outcome = outcome(stream);
    assert!(outcome.stdout.ends_with("11 22\r\n"), "{outcome:?}");
    assert_eq!(outcome.code, 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_first_size_is_not_zero() {
    let mut container = Container::shell("stty size; tty");
    container.terminal = true;
    let mut plan = container.plan();
    plan.terminal_size = Some(TerminalSize { rows: 33, columns: 121 });
    let outcome = outcome(container.start(plan).unwrap().stream);
    assert_eq!(outcome.stdout, "33 121\r\n/dev/pts/0\r\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_client_that_does_not_read_delays_nothing_but_output() {
    let container = Container::new(&["/bin/yes"]);
    let mut plan = container.plan();
    plan.attach = None;
    let exit = container.start(plan).unwrap().stream;
    let deaf = attach(&container.run_directory(), &Hello { attach: OUTPUT }).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let begin = std::time::Instant::now();
    mica_runtime::kill(&container.run_directory(), 9).unwrap();
    assert_eq!(outcome(exit).code, 137);
    assert!(begin.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(status(&container.run_directory()).unwrap(), Status::Absent);
    until("the removal of the cgroups", || container.cgroups_left().is_empty());
    assert_eq!(outcome(deaf).code, 137, "what it was owed is still there for it");
}

#[test]
#[ignore = "needs root"]
fn privileged_clients_come_and_go() {
    let container = Container::new(&["/bin/cat"]);
    let mut plan = container.plan();
    plan.stdin = StdinPlan::Open { close_after_first: false };
    plan.attach = None;
    let exit = container.start(plan).unwrap().stream;
    for number in 0..50 {
        let mut client = attach(&container.run_directory(), &Hello { attach: ALL }).unwrap();
        let text = format!("number {number}\n");
        send(&mut client, FrameKind::Stdin, text.as_bytes());
        wait_for(&mut client, &text);
        if number % 2 == 0 {
            send(&mut client, FrameKind::Detach, &[]);
        }
    }
    let mut liar = attach(&container.run_directory(), &Hello { attach: Attach::default() }).unwrap();
    liar.write_all(&[0xff; 64]).unwrap();
    assert_eq!(frame(&mut liar), None, "nonsense ends the connection");
    let Status::Running { pid, .. } = status(&container.run_directory()).unwrap() else { panic!("it ended") };
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", crate::harness::parent_of(pid))).unwrap().count();
    until("the closing of all connections", || descriptors() < 16);
    mica_runtime::kill(&container.run_directory(), 9).unwrap();
    assert_eq!(outcome(exit).code, 137);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_log_holds_every_line() {
    let container = Container::shell("seq 1 20000; echo end >&2");
    let path = container.directory.path().join("log");
    let mut plan = container.plan();
    plan.log = LogPlan::one_json_file(path.clone());
    assert_eq!(outcome(container.start(plan).unwrap().stream).code, 0);
    let text = std::fs::read_to_string(path).unwrap();
    let mut numbers = 0;
    for line in text.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        if entry["stream"] == "stdout" {
            numbers += 1;
            assert_eq!(entry["log"], format!("{numbers}\n"));
        } else {
            assert_eq!(entry["log"], "end\n");
        }
    }
    assert_eq!(numbers, 20000);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_log_without_room_does_not_stop_the_container() {
    let container = Container::shell("seq 1 20000");
    let mut plan = container.plan();
    plan.log = LogPlan::one_json_file("/dev/full");
    let outcome = outcome(container.start(plan).unwrap().stream);
    assert_eq!(outcome.code, 0);
    assert!(outcome.stdout.ends_with("\n20000\n"));
}
