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

/// A freezer of cgroup v1 below that of a container, of which nobody else knows.
struct Ice {
    directory: std::path::PathBuf,
}

impl Ice {
    /// Freezes a process; `None` where the host has no such freezer.
    fn around(pid: &str) -> Option<Self> {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let own = groups.lines().find_map(|line| line.split_once(":freezer:"))?.1;
        let directory = std::path::PathBuf::from(format!("/sys/fs/cgroup/freezer{own}/ice"));
        std::fs::create_dir(&directory).ok()?;
        let ice = Self { directory };
        std::fs::write(ice.directory.join("cgroup.procs"), pid).unwrap();
        std::fs::write(ice.directory.join("freezer.state"), "FROZEN").unwrap();
        Some(ice)
    }

    fn melt(&self) {
        // The container may have gone, and its cgroups with it.
        let _ = std::fs::write(self.directory.join("freezer.state"), "THAWED");
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        self.melt();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_process_that_does_not_die_is_told_and_holds_up_nobody_else() {
    let world = World::with_busybox();
    world.sleeper("stuck");
    world.sleeper("other");
    // Not even SIGKILL ends what version 1 has frozen, as with one who waits for a disk that does not answer.
    let Some(ice) = Ice::around(&world.inspect("stuck", "{{.State.Pid}}")) else { return };
    let mut stopping = world.invoke(["stop", "-t", "1", "stuck"]).spawn();
    world.mica(["stop", "-t", "5", "other"]).success();
    world.mica(["ps", "-a"]).success().stdout_contains("stuck");
    world.mica(["run", "--rm", "busybox", "true"]).success();
    assert_eq!(world.inspect("stuck", "{{.State.Status}}"), "running");
    stopping.wait(Duration::from_secs(15)).code(1).stderr_contains("did not receive an exit event");
    world.mica(["rm", "stuck"]).code(1).stderr_contains("running");
    let mut waiting = world.invoke(["wait", "stuck"]).spawn();
    ice.melt();
    // What was asked for happens as soon as it can.
    waiting.wait(Duration::from_secs(20)).success().stdout_is("137\n");
    world.mica(["rm", "stuck"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_every_exit_code_of_many_short_runs_is_right() {
    let world = World::with_busybox();
    for code in (0..120).map(|number| number * 7 % 256) {
        let script = format!("exit {code}");
        let words = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", &script];
        world.mica(words).code(code);
        let words = ["run", "-d", "--network", "none", "--name", "late", "busybox", "sh", "-c", &script];
        world.mica(words).success();
        // It may have ended before anybody asks.
        world.mica(["wait", "late"]).success().stdout_is(&format!("{code}\n"));
        world.mica(["rm", "late"]).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_whoever_gets_the_number_of_an_ended_process_is_left_alone() {
    let world = World::with_busybox();
    // In a pid namespace of its own, where numbers can be given out as wanted.
    let script = r#"
        set -e
        mica="$0"
        $mica run -d --network none --name box busybox sleep 1000 > /dev/null
        pid=$($mica inspect -f '{{.State.Pid}}' box)
        monitor=$(grep PPid /proc/$pid/status | cut -f 2)
        kill -STOP $monitor
        kill -KILL $pid $monitor
        while kill -0 $pid 2> /dev/null; do :; done
        for attempt in $(seq 200); do
            echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
            sh -c 'echo $$ > "$0"; exec sleep 1000' "$TMPDIR/pid" &
            until test -s "$TMPDIR/pid"; do :; done
            got=$(cat "$TMPDIR/pid")
            test $got = $pid && break
            kill -KILL $got
            : > "$TMPDIR/pid"
        done
        test $got = $pid
        echo "stranger has $got"
        $mica kill box && exit 9
        $mica top box && exit 9
        $mica stop -t 0 box || :
        $mica ps -a > /dev/null
        $mica rm -f box > /dev/null
        kill -0 $pid && echo alive
        kill -KILL $pid
    "#;
    let mut binary = e2e::fixture::binary().into_os_string();
    let words = ["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script];
    let mut run = std::process::Command::new("unshare");
    run.args(words).arg(std::mem::take(&mut binary));
    run.env("MICA_ROOT", world.root()).env("MICA_RUN", world.run_directory()).env("TMPDIR", world.scratch());
    let output = run.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("stranger has") && text.ends_with("alive\n"), "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_several_are_stopped_at_once_and_named_in_their_order() {
    let world = World::with_busybox();
    // Each ends only when the other has been told to end as well.
    let script = |own: &str, other: &str| {
        format!(
            "trap 'touch /s/{own}; until test -e /s/{other}; do sleep 0.05; done; exit 4' TERM; echo ready; sleep 1000 & wait"
        )
    };
    for (own, other) in [("one", "two"), ("two", "one")] {
        let script = script(own, other);
        world.mica(["run", "-d", "--name", own, "-v", "share:/s", "busybox", "sh", "-c", &script]).success();
        world.await_log(own, "ready");
    }
    let output = world.mica(["stop", "-t", "30", "one", "nobody", "two"]);
    output.code(1).stdout_is("one\ntwo\n").stderr_contains("No such container: nobody");
    for name in ["one", "two"] {
        assert_eq!(world.inspect(name, "{{.State.ExitCode}}"), "4");
    }
}
