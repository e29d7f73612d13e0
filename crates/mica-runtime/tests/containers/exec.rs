//! Further processes in a running container.

use crate::harness::{ALL, Container, exec_plan, outcome, send, wait_for};
use mica_model::ErrorKind;
use mica_model::frame::FrameKind;
use mica_runtime::{RuntimeError, StdinPlan, TerminalSize};

fn sleeper() -> (Container, std::os::unix::net::UnixStream) {
    let container = Container::shell("sleep 1000");
    let mut plan = container.plan();
    plan.attach = None;
    let stream = container.start(plan).unwrap().stream;
    (container, stream)
}

#[test]
#[ignore = "needs root"]
fn privileged_it_lives_in_the_container() {
    let (container, _stream) = sleeper();
    let outcome =
        container.exec_shell("hostname; cat /proc/1/comm; ls -d /bin/busybox; cat /proc/self/cgroup; exit 7");
    let mut lines = outcome.stdout.lines();
    assert_eq!(lines.next(), Some("probe"));
    assert_eq!(lines.next(), Some("sleep"));
    assert_eq!(lines.next(), Some("/bin/busybox"));
    for line in lines {
        assert!(line.ends_with(":/"), "its cgroup is the container's: {line}");
    }
    assert_eq!(outcome.code, 7);
}

#[test]
#[ignore = "needs root"]
fn privileged_its_failures_have_docker_s_kinds() {
    let (container, _stream) = sleeper();
    for (program, kind) in [("nope", ErrorKind::CommandNotFound), ("/etc", ErrorKind::CannotExecute)] {
        assert_eq!(container.exec(exec_plan(&[program])).unwrap_err().kind(), kind);
    }
    let mut process = crate::harness::process(&["/bin/true"]);
    process.set_cwd("/missing".into());
    let mut plan = exec_plan(&["/bin/true"]);
    plan.process = mica_runtime::ProcessPlan::from_oci(&process).unwrap();
    assert_eq!(container.exec(plan).unwrap_err().kind(), ErrorKind::CommandNotFound);
    let mut plan = exec_plan(&["/bin/true"]);
    plan.user = Some("nobody-knows".to_owned());
    let message = container.exec(plan).unwrap_err().to_string();
    assert_eq!(message, "unable to find user nobody-knows: no matching entries in passwd file");
}

#[test]
#[ignore = "needs root"]
fn privileged_users_are_looked_up_in_the_container() {
    let (container, _stream) = sleeper();
    let table = [
        ("1", "uid=1 gid=0 groups=0"),
        ("alice", "uid=1000(alice) gid=1000(alice) groups=10(wheel),1000(alice)"),
        ("1000:5", "uid=1000(alice) gid=5 groups=5"),
        (":5", "uid=0(root) gid=5 groups=5"),
    ];
    for (user, expected) in table {
        let mut plan = exec_plan(&["/bin/id"]);
        plan.user = Some(user.to_owned());
        let mut shown = outcome(container.exec(plan).unwrap().stream).stdout;
        shown = shown.trim_end().replace("gid=0(root)", "gid=0").replace("groups=0(root)", "groups=0");
        let sorted = |text: &str| {
            let (start, groups) = text.split_once("groups=").unwrap();
            let mut groups: Vec<String> = groups.split(',').map(str::to_owned).collect();
            groups.sort();
            (start.to_owned(), groups)
        };
        assert_eq!(sorted(&shown), sorted(expected), "{user}");
    }
    let mut plan = exec_plan(&["/bin/sh", "-c", "echo $HOME; echo x > /dev/stdout"]);
    plan.user = Some("alice".to_owned());
    let outcome = outcome(container.exec(plan).unwrap().stream);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("/home/alice\nx\n", ""));
}

#[test]
#[ignore = "needs root"]
fn privileged_it_can_have_a_terminal_and_input() {
    let (container, _stream) = sleeper();
    let mut process =
        crate::harness::process(&["/bin/sh", "-c", "stty size; read line; echo got $line; exit 3"]);
    process.set_terminal(Some(true));
    let mut plan = exec_plan(&["/bin/true"]);
    plan.process = mica_runtime::ProcessPlan::from_oci(&process).unwrap();
    plan.terminal_size = Some(TerminalSize { rows: 5, columns: 6 });
    plan.stdin = StdinPlan::Open { close_after_first: true };
    plan.attach = Some(ALL);
    let mut stream = container.exec(plan).unwrap().stream;
    wait_for(&mut stream, "5 6\r\n");
    send(&mut stream, FrameKind::Stdin, b"it\n");
    let outcome = outcome(stream);
    assert!(outcome.stdout.ends_with("got it\r\n"), "{outcome:?}");
    assert_eq!(outcome.code, 3);
}

#[test]
#[ignore = "needs root"]
fn privileged_many_at_once_and_none_is_left() {
    let (container, _stream) = sleeper();
    std::thread::scope(|scope| {
        for number in 0..24 {
            let container = &container;
            scope.spawn(move || assert_eq!(container.exec_shell(&format!("exit {number}")).code, number));
        }
    });
    let left = mica_runtime::processes(&container.run_directory()).unwrap();
    assert_eq!(left.len(), 1, "the first process");
}

#[test]
#[ignore = "needs root"]
fn privileged_not_in_a_paused_or_ended_container() {
    let (container, stream) = sleeper();
    mica_runtime::pause(&container.run_directory()).unwrap();
    let error = container.exec(exec_plan(&["/bin/true"])).unwrap_err();
    assert!(matches!(error, RuntimeError::Paused { .. }), "{error}");
    mica_runtime::resume(&container.run_directory()).unwrap();
    mica_runtime::kill(&container.run_directory(), 9).unwrap();
    assert_eq!(outcome(stream).code, 137);
    let error = container.exec(exec_plan(&["/bin/true"])).unwrap_err();
    assert!(matches!(error, RuntimeError::NotRunning { .. }), "{error}");
}
