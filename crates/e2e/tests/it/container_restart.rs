//! Restart policies, `--init`, and what a reboot brings back.

use e2e::World;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);

/// Waits until `inspect` says something; there is no event for all that it tells.
#[track_caller]
fn await_state(world: &World, name: &str, template: &str, wanted: &str) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = world.inspect(name, template);
        if state == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {state:?} instead of {wanted:?}");
    }
}

/// Names and times in seconds of the events of a container, in order.
fn events(world: &World, name: &str) -> Vec<(String, f64)> {
    let format = "{{.Action}} {{.TimeNano}}";
    let filter = format!("container={name}");
    let listed =
        world.mica(["events", "--since", "1h", "--until", "0s", "--filter", &filter, "--format", format]);
    let parse = |line: String| {
        let (action, time) = line.rsplit_once(' ')?;
        Some((action.to_owned(), time.parse::<f64>().ok()? / 1e9))
    };
    listed.success().lines().into_iter().filter_map(parse).collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_pauses_between_restarts_double() {
    let world = World::with_busybox();
    world.mica(["run", "-d", "--name", "failing", "--restart", "always", "busybox", "false"]).success();
    await_state(&world, "failing", "{{.RestartCount}}", "5");
    world.mica(["stop", "failing"]).success();
    let events = events(&world, "failing");
    let deaths = events.iter().zip(events.iter().skip(1));
    let pauses: Vec<f64> = deaths
        .filter(|(before, after)| before.0 == "die" && after.0 == "start")
        .map(|(before, after)| after.1 - before.1)
        .collect();
    for (pause, least) in pauses.iter().zip([0.1, 0.2, 0.4, 0.8]) {
        assert!(*pause >= least && *pause < least + 1.0, "{pauses:?}");
    }
    assert!(pauses.len() >= 4, "{events:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_failures_are_tried_again_so_many_times() {
    let world = World::with_busybox();
    let script = "echo life; exit 4";
    let words = ["run", "--name", "failing", "--restart", "on-failure:2", "busybox", "sh", "-c", script];
    // Whoever looks on sees the first life.
    world.mica(words).code(4).stdout_is("life\n");
    world.mica(["wait", "failing"]).success().stdout_is("4\n");
    let template =
        "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(world.inspect("failing", template), "2 exited 4 on-failure");
    world.mica(["logs", "failing"]).success().stdout_is("life\nlife\nlife\n");
    world.mica(["run", "--name", "content", "--restart", "on-failure", "busybox", "true"]).success();
    assert_eq!(world.inspect("content", template), "0 exited 0 on-failure");
    world.mica(["start", "failing"]).success();
    world.mica(["wait", "failing"]).success();
    assert_eq!(world.inspect("failing", "{{.RestartCount}}"), "2", "a start counts anew");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_restarting_container_can_be_stopped_killed_and_removed() {
    let world = World::with_busybox();
    for (name, command) in [("one", "stop"), ("two", "kill")] {
        world
            .mica(["run", "-d", "--name", name, "--restart", "always", "busybox", "sh", "-c", "exit 7"])
            .success();
        await_state(&world, name, "{{.State.Status}} {{.RestartCount}}", "restarting 4");
        let state = world
            .inspect(name, "{{.State.Running}} {{.State.Restarting}} {{.State.Pid}} {{.State.ExitCode}}");
        assert_eq!(state, "true true 0 7");
        world.mica(["ps"]).success().stdout_contains("Restarting (7) ");
        world
            .mica(["ps", "-q", "--filter", "status=restarting"])
            .success()
            .stdout_contains(&world.inspect(name, "{{.Id}}")[..12]);
        for command in [&["exec", name, "true"][..], &["pause", name], &["attach", name]] {
            world.mica(command).code(1).stderr_contains("restarting");
        }
        world.mica(["rm", name]).code(1).stderr_contains("restarting");
        world.mica(["start", name]).success();
        let mut waiting = world.invoke(["wait", name]).spawn();
        world.mica([command, name]).success();
        assert_eq!(world.inspect(name, "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
        waiting.wait(LIMIT).success().stdout_is("7\n");
    }
    world.mica(["start", "one"]).success();
    await_state(&world, "one", "{{.State.Status}} {{.RestartCount}}", "restarting 4");
    world.mica(["rm", "-f", "one"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_who_is_stopped_or_killed_stays_down_who_dies_comes_back() {
    let world = World::with_busybox();
    let script = "trap 'exit 0' TERM; trap 'exit 5' USR1; echo ready; sleep 1000 & wait";
    for policy in ["always", "unless-stopped"] {
        world
            .mica(["run", "-d", "--name", policy, "--restart", policy, "busybox", "sh", "-c", script])
            .success();
        world.await_log(policy, "ready");
        let pid = world.inspect(policy, "{{.State.Pid}}").parse().ok().and_then(Pid::from_raw).unwrap();
        // Not by way of mica: an accident.
        kill_process(pid, Signal::KILL).unwrap();
        await_state(&world, policy, "{{.RestartCount}} {{.State.Status}}", "1 running");
        world.mica(["update", "-m", "64m", "--memory-swap", "128m", policy]).success();
        world.mica(["kill", policy]).success();
        await_state(
            &world,
            policy,
            "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}",
            "exited 137 1",
        );
        world.mica(["start", policy]).success();
        world.mica(["stop", policy]).success();
        assert_eq!(world.inspect(policy, "{{.State.Status}} {{.RestartCount}}"), "exited 0");
    }
    // With a stop signal of its own, others are no wish to end it (docker's rule).
    let words =
        ["run", "-d", "--name", "own", "--restart", "always", "--stop-signal", "TERM", "busybox", "sh", "-c"];
    world.mica(words.into_iter().chain([script])).success();
    world.await_log("own", "ready");
    world.mica(["kill", "-s", "USR1", "own"]).success();
    await_state(&world, "own", "{{.RestartCount}}", "1");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_policy_can_be_changed_while_it_runs() {
    let world = World::with_busybox();
    world.sleeper("box");
    world.mica(["update", "--restart", "on-failure:5", "box"]).success();
    assert_eq!(world.inspect("box", "{{.HostConfig.RestartPolicy.MaximumRetryCount}}"), "5");
    let kill = |world: &World| {
        let pid = world.inspect("box", "{{.State.Pid}}").parse().ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    };
    kill(&world);
    await_state(&world, "box", "{{.RestartCount}} {{.State.Status}}", "1 running");
    world.mica(["update", "--restart", "no", "box"]).success();
    kill(&world);
    world.mica(["wait", "box"]).success().stdout_is("137\n");
    world.mica(["update", "--restart", "often", "box"]).code(1).stderr_contains("unknown policy 'often'");
    world.mica(["run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000"]).success();
    world.mica(["update", "--restart", "always", "gone"]).code(1).stderr_contains("AutoRemove is enabled");
    world
        .mica(["run", "--rm", "--restart", "always", "busybox", "true"])
        .code(125)
        .stderr_contains("conflicting options: cannot specify both --restart and --rm");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_new_life_keeps_files_limits_and_network() {
    let world = World::with_busybox();
    let script = "readlink /proc/self/ns/net; echo x >> /lives; wc -l < /lives; [ $(wc -l < /lives) = 3 ]";
    let words = ["run", "-d", "--name", "box", "--restart", "on-failure", "busybox", "sh", "-c", script];
    world.mica(words).success();
    world.mica(["wait", "box"]).success().stdout_is("0\n");
    let lines = world.mica(["logs", "box"]).success().lines();
    assert_eq!((&lines[1], &lines[3], &lines[5]), (&"1".to_owned(), &"2".to_owned(), &"3".to_owned()));
    assert!(lines[0].starts_with("net:[") && lines[0] == lines[2] && lines[2] == lines[4], "{lines:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_after_a_reboot_one_command_brings_back_what_is_to_run() {
    let world = World::with_busybox();
    let script = "trap 'exit 0' TERM; echo ready; sleep 1000 & wait";
    for (name, policy) in [
        ("always", "always"),
        ("stopped", "always"),
        ("unless", "unless-stopped"),
        ("ended", "unless-stopped"),
        ("failed", "on-failure"),
        ("plain", "no"),
    ] {
        world
            .mica(["run", "-d", "--name", name, "--restart", policy, "busybox", "sh", "-c", script])
            .success();
        world.await_log(name, "ready");
    }
    world.mica(["create", "--name", "new", "--restart", "always", "busybox", "true"]).success();
    world.mica(["stop", "stopped", "ended"]).success();
    for name in ["always", "unless", "failed", "plain"] {
        kill_monitor(&world.inspect(name, "{{.Id}}"));
    }
    // As after a boot: another boot id, and what the run directory says is of nobody.
    let boot = world.scratch().join("boot_id");
    fs::write(&boot, "11111111-2222-3333-4444-555555555555\n").unwrap();
    let enter = format!("mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"", boot.display());
    let after_boot = ["-m", "sh", "-c", enter.as_str(), "sh"];
    world.invoke_by("unshare", &after_boot, ["ps", "-a"]).run().success();
    let started = world.invoke_by("unshare", &after_boot, ["system", "restart-containers"]).run();
    assert_eq!(started.success().lines(), ["always", "stopped", "unless", "failed"]);
    for (name, state) in [
        ("always", "running"),
        ("stopped", "running"),
        ("unless", "running"),
        ("failed", "running"),
        ("ended", "exited"),
        ("plain", "exited"),
        ("new", "created"),
    ] {
        assert_eq!(world.inspect(name, "{{.State.Status}}"), state, "{name}");
    }
    world.mica(["system", "restart-containers"]).success().stdout_is("");
}

fn kill_monitor(id: &str) {
    let is_it = |entry: &fs::DirEntry| {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = words.split(|&byte| byte == 0);
        words.next() == Some(b"mica-monitor") && words.next() == Some(id.as_bytes())
    };
    let monitor = fs::read_dir("/proc").unwrap().flatten().find(is_it).expect("a monitor");
    let pid = monitor.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
    kill_process(pid.unwrap(), Signal::KILL).unwrap();
    while monitor.path().exists() {
        // It is no child of ours, so nothing tells when it is gone.
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_init_reaps_forwards_and_ends_as_the_program_ends() {
    let world = World::with_busybox();
    let orphans = "i=0; while [ $i -lt 100 ]; do (sleep 0 &); i=$((i+1)); done; \
                   while pidof sleep > /dev/null; do :; done; cat /proc/[0-9]*/stat | grep -c ' Z '; exit 6";
    world
        .mica(["run", "--init", "--name", "reaper", "busybox", "sh", "-c", orphans])
        .code(6)
        .stdout_is("0\n");
    for (script, code) in [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)] {
        world.mica(["run", "--rm", "--init", "busybox", "sh", "-c", script]).code(code);
    }
    world.mica(["run", "--rm", "--init", "busybox", "nope"]).code(127).stderr_contains("not found in $PATH");
    let script = "for s in HUP USR1 USR2 RTMIN; do trap \"echo $s\" $s; done; trap 'echo TERM; exit 9' TERM; \
                  echo ready; while :; do sleep 0.05; done";
    world.mica(["run", "-d", "--init", "--name", "box", "busybox", "sh", "-c", script]).success();
    world.await_log("box", "ready");
    for signal in ["HUP", "USR1", "USR2", "TERM"] {
        world.mica(["kill", "-s", signal, "box"]).success();
        world.await_log("box", signal);
    }
    world.mica(["wait", "box"]).success().stdout_is("9\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_init_has_no_rights_and_no_files_of_the_host() {
    let world = World::with_busybox();
    let script = "grep -E 'Uid|CapEff|CapPrm|Seccomp:' /proc/1/status; tr '\\0' ' ' < /proc/1/cmdline; echo; \
                  echo x > /proc/1/exe; cat /proc/1/exe | wc -c";
    let words = ["run", "--rm", "--init", "-u", "1000", "busybox", "sh", "-c", script];
    let lines = world.mica(words).success().lines();
    assert!(lines[4].starts_with("/sbin/mica-init -- sh -c grep"), "{lines:?}");
    let wanted = ["Uid:\t1000\t1000\t1000\t1000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"];
    assert_eq!((&lines[..3], lines[3].as_str()), (&wanted.map(str::to_owned)[..], "Seccomp:\t2"));
    assert_eq!(lines.last().map(String::as_str), Some("0"), "its program can be read: {lines:?}");
    // With every right: it can be looked at, but leads to a file that cannot be changed.
    let script = "ls -l /proc/1/fd | grep -cv -e pidfd -e total; echo x > /proc/1/exe && echo written";
    let words = ["run", "--rm", "--init", "--privileged", "busybox", "sh", "-c", script];
    world.mica(words).failure().stdout_is("0\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_new_life_is_found_by_its_name_and_behind_its_port() {
    use crate::container_ports::{eventually, fetch, web};
    let world = World::with_busybox();
    world.mica(["network", "create", "shop"]).success();
    web(&world, "web", &["--restart", "always", "--network", "shop", "-p", "127.0.0.1:8080:80"]);
    world.mica(["run", "-d", "--name", "other", "--network", "shop", "busybox", "sleep", "1000"]).success();
    let ask = || {
        let output = world.mica(["exec", "other", "timeout", "3", "wget", "-qO-", "http://web/"]);
        (output.code == 0).then(|| output.stdout())
    };
    let address = || world.inspect("web", "{{.NetworkSettings.Networks.shop.IPAddress}}");
    let first = address();
    for life in 0..3 {
        assert_eq!(world.inspect("web", "{{.RestartCount}}"), life.to_string());
        eventually("I am web", ask);
        eventually("I am web", || fetch("127.0.0.1:8080"));
        let pid = world.inspect("web", "{{.State.Pid}}").parse().ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        await_state(&world, "web", "{{.RestartCount}} {{.State.Status}}", &format!("{} running", life + 1));
        assert_eq!(address(), first);
    }
    // The same when the command for reboots starts it.
    let id = world.inspect("web", "{{.Id}}");
    kill_monitor(&id);
    world.mica(["system", "restart-containers"]).success();
    eventually("I am web", ask);
    eventually("I am web", || fetch("127.0.0.1:8080"));
}
