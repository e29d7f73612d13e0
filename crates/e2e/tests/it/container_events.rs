//! The events of a container's life come in docker's order, with docker's words.

use e2e::World;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_life_is_told_in_order() {
    let world = World::with_busybox();
    let since = seconds();
    world.mica(["run", "--name", "one", "busybox", "sh", "-c", "exit 3"]).code(3);
    world.mica(["start", "one"]).success();
    world.mica(["wait", "one"]).success();
    world.mica(["rename", "one", "two"]).success();
    let file = world.scratch().join("f");
    fs::write(&file, "x").unwrap();
    world.mica(["cp", file.to_str().unwrap(), "two:/f"]).success();
    world.mica(["cp", "two:/f", "-"]).success();
    world.mica(["export", "two"]).success();
    world.mica(["rm", "two"]).success();
    world.sleeper("three");
    world.mica(["exec", "three", "true"]).success();
    world.mica(["pause", "three"]).success();
    world.mica(["unpause", "three"]).success();
    world.mica(["top", "three"]).success();
    world.mica(["stop", "three"]).success();
    let template = "{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}";
    let until = (seconds() + 1).to_string();
    let since = since.to_string();
    let listed = world.mica(["events", "--since", &since, "--until", &until, "--format", template]);
    let lines: Vec<String> =
        listed.success().lines().iter().map(|line| line.replace("<no value>", "-")).collect();
    let told: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.starts_with("load")).collect();
    assert_eq!(
        told,
        [
            "create one -",
            "attach one -",
            "start one -",
            "die one 3",
            "start one -",
            "die one 3",
            "rename two -",
            "extract-to-dir two -",
            "archive-path two -",
            "export two -",
            "destroy two -",
            "create three -",
            "start three -",
            "exec_create: true  three -",
            "exec_start: true  three -",
            "exec_die three 0",
            "pause three -",
            "unpause three -",
            "top three -",
            "kill three -",
            "die three 0",
            "stop three -",
        ]
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_a_reader_that_sleeps_misses_nothing() {
    use rustix::process::Signal;
    use std::time::Duration;
    const COUNT: usize = 120;
    let world = World::with_busybox();
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    // From before it began: nothing tells when it has.
    let words = ["events", "--since", "1h", "--filter", "type=container", "--format", format];
    let mut reader = world.invoke(words).spawn();
    world.mica(["create", "--name", "first", "busybox", "true"]).success();
    reader.stdout_until("create first", Duration::from_secs(20));
    reader.signal(Signal::STOP);
    for number in 0..COUNT {
        world
            .mica(["run", "--rm", "--network", "none", "--name", &format!("c{number}"), "busybox", "true"])
            .success();
    }
    reader.signal(Signal::CONT);
    let last = format!("destroy c{}\n", COUNT - 1);
    let told = reader.stdout_until(&last, Duration::from_secs(30));
    let told: Vec<&str> = told.lines().skip(1).collect();
    let expected: Vec<String> = (0..COUNT)
        .flat_map(|number| {
            ["create", "attach", "start", "die", "destroy"].map(|action| format!("{action} c{number}"))
        })
        .collect();
    assert_eq!(told, expected);
    reader.signal(Signal::KILL);
    reader.wait(Duration::from_secs(20)).code(137);
    // Who comes later reads the same from the disk.
    let words =
        ["events", "--since", "1h", "--until", "0s", "--filter", "type=container", "--format", format];
    assert_eq!(world.mica(words).success().lines()[1..], expected[..]);
}

#[test]
#[ignore = "needs root"]
fn privileged_every_prune_is_told_with_what_it_freed() {
    let world = World::with_busybox();
    let since = seconds().to_string();
    world.mica(["run", "--name", "old", "busybox", "sh", "-c", "echo 12345 > /f"]).success();
    for noun in ["container", "image", "network", "volume", "builder"] {
        world.mica([noun, "prune", "-f"]).success();
    }
    let until = (seconds() + 1).to_string();
    let template = "{{.Type}} {{.Actor.Attributes.reclaimed}}";
    let filter = ["events", "--since", &since, "--until", &until, "-f", "event=prune", "--format", template];
    let told = world.mica(filter).success().stdout();
    assert_eq!(told, "container 6\nimage 0\nnetwork 0\nvolume 0\nbuilder 0\n");
}
