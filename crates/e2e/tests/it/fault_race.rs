//! Many commands at once on one store: one winner per name, no lock is ever seen, nothing leaks.

use crate::container_ports::eventually;
use crate::fault::check_invariants;
use e2e::{Output, World, fixture};
use rustix::fs::FlockOperation;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Starts all commands before it waits for any of them.
#[track_caller]
fn together(world: &World, commands: &[Vec<&str>]) -> Vec<Output> {
    let archive = fixture::busybox_archive().unwrap().into_os_string();
    let place = |word: &&str| if *word == "BUSYBOX" { archive.clone() } else { OsString::from(word) };
    let mut running: Vec<_> = commands
        .iter()
        .map(|command| world.invoke(command.iter().map(place).collect::<Vec<_>>()).spawn())
        .collect();
    running.iter_mut().map(|one| one.wait(Duration::from_secs(120))).collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_prune_beside_another_sweep_leaves_nothing() {
    let world = World::with_busybox();
    let lock = File::open(world.root().join("image.lock")).unwrap();
    // As the chores do, which have perhaps read already which images there are.
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
    let mut prune = world.invoke(["image", "prune", "-af"]).spawn();
    let waiter = format!(":{} ", lock.metadata().unwrap().ino());
    eventually("waits", || {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let waits = locks.lines().any(|line| line.contains("-> FLOCK") && line.contains(&waiter));
        waits.then(|| "waits".to_owned())
    });
    drop(lock);
    prune.wait(Duration::from_secs(60)).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_new_store_is_made_by_many_at_once() {
    for _ in 0..4 {
        let world = World::new();
        for command in [vec!["ps", "-a"], vec!["load", "-q", "-i", "BUSYBOX"]] {
            for output in together(&world, &vec![command; 8]) {
                output.success();
            }
        }
        world.mica(["run", "--rm", "busybox", "true"]).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_one_of_many_gets_a_name() {
    let world = World::with_busybox();
    for _ in 0..6 {
        let made = together(&world, &vec![vec!["create", "--name", "wanted", "busybox", "true"]; 16]);
        let (winners, losers): (Vec<_>, Vec<_>) = made.iter().partition(|output| output.code == 0);
        assert_eq!(winners.len(), 1, "{made:?}");
        for loser in losers {
            loser.code(1).stderr_contains("\"/wanted\" is already in use by container");
        }
        let removed = together(&world, &vec![vec!["rm", "wanted"]; 4]);
        let (removers, late): (Vec<_>, Vec<_>) = removed.iter().partition(|output| output.code == 0);
        assert_eq!(removers.len(), 1, "{removed:?}");
        for one in late {
            one.code(1).stderr_contains("No such container");
        }
        world.mica(["ps", "-aq"]).success().stdout_is("");
    }
    let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=destroy"];
    assert_eq!(world.mica(events).success().lines().len(), 6);
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_run_is_never_seen_as_ended_before_it_began() {
    let world = World::with_busybox();
    for number in 0..4 {
        let name = format!("c{number}");
        let mut commands = vec![vec!["ps", "-a"]; 7];
        commands.insert(3, vec!["run", "-d", "--rm", "--name", &name, "busybox", "sleep", "1000"]);
        together(&world, &commands).iter().for_each(|output| {
            output.success().stdout_lacks("Exited");
        });
        assert_eq!(world.inspect(&name, "{{.State.Status}}"), "running");
    }
}

/// What may be said in the mixture below: that somebody else was quicker.
const LOST_RACES: &[&str] = &[
    "No such container",
    "No such image",
    "Unable to find image",
    "is already in use by container",
    "is not running",
    "image is being used",
    "is using its referenced image",
    "(cannot be forced)",
    "(must be forced)",
];

#[test]
#[ignore = "needs root"]
fn privileged_a_mixture_of_everything_fails_only_by_losing_races() {
    let world = World::with_busybox();
    let commands: [&[&str]; 16] = [
        &["run", "--rm", "busybox", "true"],
        &["load", "-q", "-i", "BUSYBOX"],
        &["run", "--name", "one", "busybox", "true"],
        &["rmi", "-f", "busybox"],
        &["commit", "one", "two"],
        &["rm", "-f", "one"],
        &["ps", "-a"],
        &["image", "prune", "-af"],
        &["create", "--name", "one", "busybox", "true"],
        &["container", "prune", "-f"],
        &["system", "df"],
        &["start", "one"],
        &["images", "-a"],
        &["stop", "-t", "0", "one"],
        &["image", "tree"],
        &["run", "-d", "--rm", "busybox", "true"],
    ];
    for round in 0..12 {
        // Another order each time, eight at once.
        let chosen: Vec<Vec<&str>> =
            (0..8).map(|place| commands[(round * 5 + place * (2 * (round % 4) + 1)) % 16].to_vec()).collect();
        for output in together(&world, &chosen) {
            let stderr = output.stderr();
            assert!(
                output.code == 0 || LOST_RACES.iter().any(|words| stderr.contains(words)),
                "{}",
                output.describe()
            );
            assert!(!stderr.contains("locked"), "{}", output.describe());
        }
    }
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_lies_in_the_trash_under_the_name_of_a_living_container_does_not_end_its_record() {
    let world = World::with_busybox();
    let id = world.sleeper("box");
    // As a directory that was taken for a leftover just before the container was recorded.
    let trashed = world.root().join("trash").join(format!("container-{id}"));
    std::fs::create_dir_all(trashed.join("upper")).unwrap();
    world.mica(["ps", "-a"]).success();
    assert_eq!(world.inspect("box", "{{.State.Status}}"), "running");
    world.mica(["rm", "-f", "box"]).success();
    world.mica(["ps", "-aq"]).success().stdout_is("");
}
