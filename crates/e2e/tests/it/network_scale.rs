//! Many containers on one network, at once and one after the other.
//!
//! With `MICA_TEST_FULL_SIZE=1` there are as many as a bridge of the kernel takes, and one more; and 10,000 runs.

use e2e::World;
use e2e::neighbour::host;
use std::time::Duration;

fn is_full_size() -> bool {
    std::env::var_os("MICA_TEST_FULL_SIZE").is_some()
}

/// How long many containers may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The names of the host's ends of containers' links.
fn links() -> Vec<String> {
    let all = host(&["ip", "-o", "link", "show", "type", "veth"]);
    let names = all.lines().filter_map(|line| line.split(": ").nth(1));
    names.filter(|name| name.starts_with("mv")).map(str::to_owned).collect()
}

/// What the run-time directory has of networks: one line a file.
fn remembered(world: &World) -> Vec<String> {
    let found =
        host(&["find", world.run_directory().join("network").to_str().unwrap(), "-type", "f", "-size", "+0"]);
    found.lines().map(str::to_owned).collect()
}

/// Runs commands, `width` of them at a time.
fn run_all(world: &World, width: usize, commands: &[Vec<String>]) {
    for part in commands.chunks(width) {
        let mut all: Vec<_> = part.iter().map(|words| world.invoke(words).spawn()).collect();
        all.iter_mut().for_each(|command| {
            command.wait(LIMIT).success();
        });
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_as_many_containers_as_a_bridge_takes_run_at_once_and_the_next_is_told() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.67.0.0/16", "many"]).success();
    let count = if is_full_size() { 1023 } else { 40 };
    let names: Vec<String> = (0..count).map(|index| format!("c{index}")).collect();
    let start = |name: &String| {
        words(&["run", "-d", "--name", name, "--network", "many", "busybox", "sleep", "10000"])
    };
    run_all(&world, 4, &names.iter().map(start).collect::<Vec<_>>());
    assert_eq!(links().len(), count);
    assert_eq!(world.mica(["ps", "-q"]).success().lines().len(), count);
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let words: Vec<&str> =
        ["inspect", "-f", template].into_iter().chain(names.iter().map(String::as_str)).collect();
    let addresses: std::collections::BTreeSet<String> =
        world.invoke(words).limit(LIMIT).run().success().lines().into_iter().collect();
    assert_eq!(addresses.len(), count, "an address was given twice");
    let last = names.last().unwrap();
    world.mica(["exec", "c0", "ping", "-c", "1", "-W", "5", last]).success();
    if is_full_size() {
        let more =
            world.mica(["run", "-d", "--name", "more", "--network", "many", "busybox", "sleep", "1000"]);
        more.code(125).stderr_contains("a bridge takes 1023 containers");
        world.mica(["rm", "-f", last]).success();
        // The link of one that has ended goes when the kernel comes to it.
        crate::container_ports::eventually("more", || Some(world.mica(["start", "more"]).stdout()));
    }
    let all = world.mica(["ps", "-aq"]).success().lines();
    let stop: Vec<&str> = ["stop", "-t", "0"].into_iter().chain(all.iter().map(String::as_str)).collect();
    world.invoke(stop).limit(LIMIT).run().success();
    assert_eq!(world.mica(["ps", "-q"]).success().lines().len(), 0);
    assert_eq!(remembered(&world), Vec::<String>::new());
    let remove: Vec<&str> = ["rm"].into_iter().chain(all.iter().map(String::as_str)).collect();
    world.invoke(remove).limit(LIMIT).run().success();
    world.mica(["network", "rm", "many"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_runs_that_come_and_go_leave_nothing_and_make_nothing_grow() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.67.0.0/24", "many"]).success();
    let rounds = if is_full_size() { 1250 } else { 20 };
    let run = |index: usize| {
        let port = format!("{}:80", 8200 + index % 8);
        words(&["run", "--rm", "-p", &port, "--network", "many", "busybox", "true"])
    };
    let commands: Vec<_> = (0..8 * rounds).map(run).collect();
    let databases = || std::fs::metadata(world.root().join("mica.db")).map_or(0, |file| file.len());
    run_all(&world, 8, &commands);
    let before = databases();
    run_all(&world, 8, &commands);
    let grown = databases().saturating_sub(before);
    assert!(grown <= 64 << 10, "the database has grown by {grown} bytes");
    assert_eq!(world.mica(["ps", "-aq"]).success().lines().len(), 0);
    assert_eq!(remembered(&world), Vec::<String>::new());
    crate::container_ports::eventually("none", || {
        Some(if links().is_empty() { "none" } else { "some" }.to_owned())
    });
    let rules = host(&["nft", "list", "ruleset"]);
    assert!(!(0..8).any(|worker| rules.contains(&format!("820{worker}"))), "{rules}");
    let directories =
        std::fs::read_dir(world.root().join("container")).map_or(0, |all| all.flatten().count());
    assert_eq!(directories, 0);
}
