//! Health checks: probes, what they find, and what becomes of those that hang, flood, fork or outlive their time.

use e2e::World;
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
const STATUS: &str = "{{.State.Health.Status}}";

/// Waits until `inspect` says something of a container; there is no event for all that it tells.
#[track_caller]
fn await_state(world: &World, name: &str, template: &str, is_wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + LIMIT;
    loop {
        let state = world.inspect(name, template);
        if is_wanted(&state) {
            return state;
        }
        assert!(Instant::now() < deadline, "{name} stays {state:?}");
    }
}

#[track_caller]
fn await_status(world: &World, name: &str, wanted: &str) {
    await_state(world, name, STATUS, |state| state == wanted);
}

/// Starts a container that sleeps, with flags.
#[track_caller]
fn run(world: &World, name: &str, flags: &[&str]) {
    let words = ["run", "-d", "--name", name]
        .into_iter()
        .chain(flags.iter().copied())
        .chain(["busybox", "sleep", "1000"]);
    world.mica(words).success();
}

/// The results that are kept of a container's probes.
#[track_caller]
fn log(world: &World, name: &str) -> Vec<Value> {
    serde_json::from_str(&world.inspect(name, "{{json .State.Health.Log}}")).unwrap()
}

/// What happened to a container, but for the attributes.
fn events(world: &World, name: &str) -> Vec<String> {
    let filter = format!("container={name}");
    let words = ["events", "--since", "1h", "--until", "0s", "--filter", &filter, "--format", "{{.Action}}"];
    world.mica(words).success().lines()
}

/// The command lines of all processes in a container.
fn processes(world: &World, name: &str) -> Vec<String> {
    world.mica(["top", name, "-eo", "pid,args"]).success().lines()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_is_starting_then_well_then_not() {
    let world = World::with_busybox();
    let probe = "echo looked; test -e /well";
    let flags = ["--health-cmd", probe, "--health-interval", "300ms", "--health-retries", "2"];
    run(
        &world,
        "web",
        &[&flags[..], &["--health-start-period", "1h", "--health-start-interval", "50ms"]].concat(),
    );
    assert_eq!(
        world.inspect("web", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "starting 0"
    );
    world.mica(["ps"]).success().stdout_contains("(health: starting)");
    let listed = |health: &str| {
        world
            .mica(["ps", "-a", "--format", "{{.Names}}", "--filter", &format!("health={health}")])
            .success()
            .lines()
    };
    assert_eq!(listed("starting"), ["web"]);
    await_state(&world, "web", "{{len .State.Health.Log}}", |count| count != "0");
    // Failures while it starts do not count.
    assert_eq!(
        world.inspect("web", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "starting 0"
    );
    world.mica(["exec", "web", "touch", "/well"]).success();
    await_status(&world, "web", "healthy");
    world.mica(["ps"]).success().stdout_contains("(healthy)");
    world.mica(["exec", "web", "rm", "/well"]).success();
    await_status(&world, "web", "unhealthy");
    world.mica(["ps"]).success().stdout_contains("(unhealthy)");
    assert_eq!(
        (listed("unhealthy"), listed("none"), listed("healthy")),
        (vec!["web".to_owned()], vec![], vec![])
    );
    await_state(&world, "web", "{{len .State.Health.Log}}", |count| count == "5");
    let last = log(&world, "web").pop().unwrap();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&1.into(), &"looked\n".into()));
    assert!(last["Start"].as_str() < last["End"].as_str(), "{last}");
    world.mica(["rm", "-f", "web"]).success();
    let events = events(&world, "web");
    let changes: Vec<&String> = events.iter().filter(|event| event.starts_with("health_status")).collect();
    assert_eq!(changes, ["health_status: healthy", "health_status: unhealthy"]);
    for word in
        [&format!("exec_create: /bin/sh -c {probe}"), &format!("exec_start: /bin/sh -c {probe}"), "exec_die"]
    {
        assert!(events.iter().any(|event| event == word), "{word}: {events:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_probes_run_as_the_container_does_and_keep_their_distance() {
    let world = World::with_busybox();
    let probe = "echo $(id -u) $(pwd) $A; exit 3";
    let flags =
        ["--health-cmd", probe, "--health-interval", "400ms", "-u", "daemon", "-w", "/tmp", "-e", "A=b"];
    run(&world, "web", &flags);
    await_state(&world, "web", "{{len .State.Health.Log}}", |count| count == "3");
    let log = log(&world, "web");
    let instant = |result: &Value, field: &str| {
        let text =
            result[field].as_str().unwrap().split('T').nth(1).unwrap().trim_end_matches('Z').to_owned();
        let parts: Vec<f64> = text.split(':').map(|part| part.parse().unwrap()).collect();
        parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    };
    for pair in log.windows(2) {
        let gap = instant(&pair[1], "Start") - instant(&pair[0], "End");
        assert!((0.4..2.0).contains(&gap) || gap < -80_000.0, "{gap}: {log:?}");
    }
    assert_eq!((&log[0]["ExitCode"], &log[0]["Output"]), (&3.into(), &"1 /tmp b\n".into()));
    assert_eq!(
        world.inspect("web", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "unhealthy 3"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_probe_that_takes_too_long_is_ended_with_all_that_it_has_started() {
    let world = World::with_busybox();
    // A child, one that has left its parents, and one that does not want to go.
    let probe =
        "echo begun; sleep 501 & (setsid sleep 502 &) ; trap '' TERM INT HUP; while :; do sleep 503; done";
    run(
        &world,
        "slow",
        &[
            "--health-cmd",
            probe,
            "--health-interval",
            "200ms",
            "--health-timeout",
            "400ms",
            "--health-retries",
            "1",
        ],
    );
    await_state(&world, "slow", "{{len .State.Health.Log}}", |count| count.parse::<u32>().unwrap() >= 2);
    let last = log(&world, "slow").remove(0);
    assert_eq!(
        (&last["ExitCode"], &last["Output"]),
        (&(-1).into(), &"Health check exceeded timeout (400ms): begun\n".into())
    );
    assert_eq!(world.inspect("slow", STATUS), "unhealthy");
    // Never more than one probe, however many have been ended.
    await_state(&world, "slow", "{{len .State.Health.Log}}", |count| count == "5");
    let left = processes(&world, "slow");
    for sleeper in ["sleep 501", "sleep 502", "sleep 503"] {
        assert!(left.iter().filter(|line| line.ends_with(sleeper)).count() <= 1, "{left:?}");
    }
    world.mica(["rm", "-f", "slow"]).success();
    assert!(events(&world, "slow").contains(&"health_status: unhealthy".to_owned()));
}

#[test]
#[ignore = "needs root"]
fn privileged_what_a_probe_leaves_running_on_its_way_out_lives_on() {
    let world = World::with_busybox();
    let probe = "test -e /once && exit 0; touch /once; (setsid sleep 601 &); exit 0";
    run(&world, "web", &["--health-cmd", probe, "--health-interval", "100ms"]);
    await_state(&world, "web", "{{len .State.Health.Log}}", |count| count == "5");
    assert_eq!(world.inspect("web", STATUS), "healthy");
    assert!(processes(&world, "web").iter().any(|line| line.ends_with("sleep 601")));
    world.mica(["stop", "-t", "0", "web"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_flood_is_cut_and_a_missing_program_is_a_failure() {
    let world = World::with_busybox();
    let interval = ["--health-interval", "100ms", "--health-retries", "1"];
    let flood = "yes | head -c 1000000; printf '\\377'; exit 0";
    run(&world, "flood", &[&["--health-cmd", flood][..], &interval].concat());
    await_status(&world, "flood", "healthy");
    let output = log(&world, "flood")[0]["Output"].as_str().unwrap().to_owned();
    assert_eq!((output.len(), &output[4090..]), (4099, "y\ny\ny\n..."));
    fs::write(
        world.scratch().join("Dockerfile"),
        "FROM busybox\nHEALTHCHECK --interval=100ms --retries=1 CMD [\"/no/such/program\", \"x\"]\n",
    )
    .unwrap();
    world
        .mica([
            "build".as_ref(),
            "-q".as_ref(),
            "-t".as_ref(),
            "checked".as_ref(),
            world.scratch().as_os_str(),
        ])
        .success();
    world.mica(["run", "-d", "--name", "lost", "checked", "sleep", "1000"]).success();
    await_status(&world, "lost", "unhealthy");
    let result = log(&world, "lost").remove(0);
    assert_eq!(result["ExitCode"], -1);
    assert!(result["Output"].as_str().unwrap().contains("/no/such/program"), "{result}");
    // The container itself is as well as before.
    assert_eq!(world.inspect("lost", "{{.State.Status}}"), "running");
    // What the image says can be changed in parts, and be taken away.
    world
        .mica(["run", "-d", "--name", "mixed", "--health-retries", "7", "checked", "sleep", "1000"])
        .success();
    let check = "{{json .Config.Healthcheck}}";
    assert_eq!(
        world.inspect("mixed", check),
        r#"{"Test":["CMD","/no/such/program","x"],"Interval":100000000,"Retries":7}"#
    );
    world.mica(["run", "-d", "--name", "none", "--no-healthcheck", "checked", "sleep", "1000"]).success();
    assert_eq!(
        world.inspect("none", "{{json .Config.Healthcheck.Test}} {{.State.Health}}"),
        r#"["NONE"] <nil>"#
    );
    let listed =
        world.mica(["ps", "--format", "{{.Names}} {{.Status}}", "--filter", "health=none"]).success().lines();
    assert!(listed.len() == 1 && listed[0].starts_with("none Up") && !listed[0].contains('('), "{listed:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_nobody_is_well_who_is_frozen_or_has_ended() {
    let world = World::with_busybox();
    run(&world, "web", &["--health-cmd", "sleep 0.05", "--health-interval", "100ms"]);
    await_status(&world, "web", "healthy");
    world.mica(["pause", "web"]).success();
    assert_eq!(world.inspect("web", STATUS), "unhealthy");
    world.mica(["ps"]).success().stdout_contains("(Paused)");
    let count = log(&world, "web").last().cloned();
    world.mica(["unpause", "web"]).success();
    await_status(&world, "web", "healthy");
    assert_ne!(log(&world, "web").last().cloned(), count);
    world.mica(["stop", "-t", "0", "web"]).success();
    assert_eq!(world.inspect("web", STATUS), "unhealthy");
    let kept = log(&world, "web");
    assert!(!kept.is_empty(), "the log outlives the run");
    world
        .mica(["ps", "-aq", "--filter", "health=unhealthy"])
        .success()
        .stdout_contains(&world.inspect("web", "{{.Id}}")[..12]);
    world.mica(["start", "web"]).success();
    await_status(&world, "web", "healthy");
    // Its monitor is killed, and nobody can write that down.
    world.mica(["rm", "-f", "web"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_each_life_starts_anew() {
    let world = World::with_busybox();
    let flags = ["--restart", "always", "--health-cmd", "true", "--health-interval", "100ms"];
    let words = ["run", "-d", "--name", "again"].into_iter().chain(flags);
    world.mica(words.chain(["busybox", "sh", "-c", "sleep 1; exit 1"])).success();
    await_status(&world, "again", "healthy");
    await_state(&world, "again", "{{.RestartCount}}", |count| count != "0");
    await_status(&world, "again", "healthy");
    world.mica(["stop", "-t", "0", "again"]).success();
    let healthy = events(&world, "again").iter().filter(|event| *event == "health_status: healthy").count();
    assert!(healthy >= 2, "{:?}", events(&world, "again"));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_may_end_while_it_is_probed() {
    let world = World::with_busybox();
    for round in 0..5 {
        let name = format!("short-{round}");
        run(&world, &name, &["--rm", "--health-cmd", "sleep 1000", "--health-interval", "1ms"]);
        let is_probed =
            |lines: &[String]| lines.iter().filter(|line| line.ends_with("sleep 1000")).count() > 1;
        let deadline = Instant::now() + LIMIT;
        while !is_probed(&processes(&world, &name)) {
            assert!(Instant::now() < deadline, "no probe ever came");
        }
        world.mica(["rm", "-f", &name]).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_flags_that_make_no_sense_are_refused() {
    let world = World::new();
    let refused = |flags: &[&str], reason: &str| {
        let words = ["run"].into_iter().chain(flags.iter().copied()).chain(["busybox", "true"]);
        world.mica(words).code(125).stderr_contains(reason);
    };
    refused(&["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options");
    refused(&["--health-interval", "-1s"], "--health-interval cannot be negative");
    refused(&["--health-retries", "-1"], "--health-retries cannot be negative");
    refused(&["--health-timeout", "x"], "time: invalid duration \"x\"");
    refused(&["--health-retries", "x"], "strconv.ParseInt: parsing \"x\": invalid syntax");
}
