//! Starts and ends: exit codes, records, and that nothing stays behind.

use crate::harness::{ALL, Container, outcome, parent_of, send, until};
use mica_model::ErrorKind;
use mica_model::frame::FrameKind;
use mica_runtime::{
    AfterExit, EventPlan, Launcher, LogPlan, RootPlan, RuntimeError, Status, StdinPlan, status,
};

#[test]
#[ignore = "needs root"]
fn privileged_exit_codes_are_those_of_the_program() {
    for (script, code) in
        [("true", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        // The first process of a pid namespace is immune to signals without handlers, its child is not.
        let script =
            if script.starts_with("kill") { format!("sh -c '{script}'; exit $?") } else { script.to_owned() };
        let container = Container::shell(&script);
        assert_eq!(container.run().code, code, "{script}");
        let record = mica_runtime::exit_record(&container.exit_file()).unwrap().unwrap();
        assert_eq!((record.code, record.oom_killed), (code, false));
        assert!(record.finished_at >= record.started_at);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_programs_that_cannot_run_tell_why() {
    let table = [
        ("nope", ErrorKind::CommandNotFound, "exec: \"nope\": executable file not found in $PATH"),
        ("/bin/nope", ErrorKind::CommandNotFound, "exec: \"/bin/nope\": no such file or directory"),
        ("/etc", ErrorKind::CannotExecute, "exec: \"/etc\": is a directory"),
        ("/etc/passwd", ErrorKind::CannotExecute, "exec: \"/etc/passwd\": permission denied"),
        ("/garbage", ErrorKind::CannotExecute, "exec: \"/garbage\": exec format error"),
    ];
    for (program, kind, message) in table {
        let container = Container::new(&[program]);
        let garbage = container.root().join("garbage");
        std::fs::write(&garbage, [0x7f, b'E', b'L', b'F', 0]).unwrap();
        std::fs::set_permissions(&garbage, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let error = container.start(container.plan()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
        assert_eq!(status(&container.run_directory()).unwrap(), Status::Absent);
        until("the removal of the cgroups", || container.cgroups_left().is_empty());
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_the_end_is_recorded_before_it_is_told() {
    let container = Container::shell("exit 3");
    let events = container.directory.path().join("events");
    let mut plan = container.plan();
    plan.events = Some(EventPlan {
        path: events.clone(),
        die_line: "die @EXITCODE@ @DURATION@".to_owned(),
        start_line: None,
        oom_line: None,
    });
    assert_eq!(outcome(container.start(plan).unwrap().stream).code, 3);
    assert_eq!(std::fs::read_to_string(events).unwrap(), "die 3 0\n");
    assert_eq!(status(&container.run_directory()).unwrap(), Status::Absent);
    until("the removal of the cgroups", || container.cgroups_left().is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_launcher_that_is_dropped_leaves_nothing() {
    let container = Container::shell("true");
    let launcher = Launcher::spawn_with(&crate::harness::probe(), &container.id).unwrap();
    drop(launcher);
    assert!(crate::harness::is_empty(&container.run_directory()));
    assert!(container.cgroups_left().is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_one_run_directory_has_one_container_at_a_time() {
    let container = Container::shell("sleep 1000");
    let started = container.start(container.plan()).unwrap();
    let error = container.start(container.plan()).unwrap_err();
    assert!(matches!(error, RuntimeError::Running { .. }), "{error}");
    assert!(
        matches!(status(&container.run_directory()).unwrap(), Status::Running { pid, .. } if pid == started.pid)
    );
    mica_runtime::kill(&container.run_directory(), 9).unwrap();
    assert_eq!(outcome(started.stream).code, 137);
    let again = container.start(container.plan()).unwrap();
    mica_runtime::kill(&container.run_directory(), 9).unwrap();
    assert_eq!(outcome(again.stream).code, 137, "it can be started again at once");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_monitor_takes_its_container_along() {
    let container = Container::shell("sleep 1000");
    let started = container.start(container.plan()).unwrap();
    let monitor = i32::try_from(parent_of(started.pid)).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(monitor).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let orphaned = Status::Orphaned { pid: started.pid, alive: false };
    until("the end of the container", || status(&container.run_directory()).unwrap() == orphaned);
    mica_runtime::cleanup(&container.run_directory()).unwrap();
    assert_eq!(status(&container.run_directory()).unwrap(), Status::Absent);
    assert!(container.cgroups_left().is_empty());
}

#[test]
#[ignore = "needs root"]
fn privileged_many_start_at_once() {
    std::thread::scope(|scope| {
        for number in 0..32 {
            scope.spawn(move || {
                let container = Container::shell(&format!("echo {number}; exit {number}"));
                let outcome = container.run();
                assert_eq!((outcome.stdout, outcome.code), (format!("{number}\n"), number));
                until("the removal of the cgroups", || container.cgroups_left().is_empty());
            });
        }
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_no_mount_shows_on_the_host_and_changes_land_in_the_upper_layer() {
    let container = Container::shell("echo new > /file; rm /bin/true; grep -c . /proc/mounts");
    let directory = container.directory.path();
    let (upper, work) = (directory.join("upper"), directory.join("work"));
    std::fs::create_dir(&upper).unwrap();
    std::fs::create_dir(&work).unwrap();
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mut plan = container.plan();
    plan.root =
        RootPlan::Overlay { lowers: vec![container.root()], upper: upper.clone(), work, volatile: true };
    let outcome = outcome(container.start(plan).unwrap().stream);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    assert_eq!(std::fs::read_to_string(upper.join("file")).unwrap(), "new\n");
    assert!(upper.join("bin/true").symlink_metadata().is_ok(), "a whiteout");
    assert!(container.root().join("bin/true").symlink_metadata().is_ok(), "the layer below is untouched");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_last_command_runs_if_nobody_was_faster() {
    for removed_in_time in [false, true] {
        let container = Container::new(&["/bin/cat"]);
        let kept = container.directory.path().join("kept");
        let watched = container.directory.path().join("watched");
        std::fs::create_dir(&kept).unwrap();
        std::fs::create_dir(&watched).unwrap();
        let mut plan = container.plan();
        plan.after_exit = Some(AfterExit {
            arguments: ["remove".into(), kept.clone().into(), "-".into()].into(),
            only_if_exists: watched.clone(),
            discards: None,
        });
        if removed_in_time {
            std::fs::remove_dir(&watched).unwrap();
        }
        plan.stdin = StdinPlan::Open { close_after_first: true };
        plan.attach = Some(ALL);
        let mut started = container.start(plan).unwrap();
        let monitor = parent_of(started.pid);
        send(&mut started.stream, FrameKind::StdinClose, &[]);
        assert_eq!(outcome(started.stream).code, 0);
        until("the end of the monitor", || {
            !std::path::Path::new(&format!("/proc/{monitor}/root/proc")).exists()
        });
        assert_eq!(kept.exists(), removed_in_time);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_what_the_remover_leaves_is_deleted_by_the_monitor() {
    let container = Container::new(&["/bin/true"]);
    let left = container.directory.path().join("left");
    let mut plan = container.plan();
    plan.after_exit = Some(AfterExit {
        arguments: Vec::new(),
        only_if_exists: container.directory.path().join("renamed-already"),
        discards: Some(left.clone()),
    });
    let coming = container.directory.path().join("coming");
    std::fs::create_dir_all(coming.join("deep/deeper")).unwrap();
    std::fs::write(coming.join("deep/file"), "x").unwrap();
    plan.attach = Some(ALL);
    let started = container.start(plan).unwrap();
    assert_eq!(outcome(started.stream).code, 0);
    std::fs::rename(coming, &left).unwrap();
    until("the files to be gone", || !left.exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_monitor_needs_little_memory() {
    let container = Container::shell("echo ready; sleep 1000");
    let mut plan = container.plan();
    let path = container.directory.path().join("log");
    plan.log = LogPlan::one_json_file(path);
    let started = container.start(plan).unwrap();
    let rollup = format!("/proc/{}/smaps_rollup", parent_of(started.pid));
    let private = || {
        let text = std::fs::read_to_string(&rollup).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // Given back when nothing has happened for a second.
    until("an idle monitor of at most 256 KiB", || private() <= 256);
}
