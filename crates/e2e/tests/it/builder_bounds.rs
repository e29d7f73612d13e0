//! What builds keep for the next ones: how much it is, and what goes when it is too much or too old.

use e2e::{Output, World};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(20);

/// Builds a Dockerfile and keeps nothing but its steps.
fn build(world: &World, dockerfile: &str) -> Output {
    let directory = world.context(dockerfile);
    world.invoke(["build", "--network", "none", "-o", "type=cacheonly", "."]).directory(directory).run()
}

/// A step that leaves so many bytes in a file of this name.
fn step(name: &str, bytes: u64) -> String {
    format!("FROM busybox\nRUN head -c {bytes} /dev/urandom > /{name}\n")
}

fn kept(world: &World) -> String {
    world.mica(["builder", "du"]).success().stdout()
}

/// Waits until the chores that a build leaves to a process of its own have come so far.
fn await_kept(world: &World, what: &str, is_so: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + GRACE;
    loop {
        let kept = kept(world);
        if is_so(&kept) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}:\n{kept}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is on the disk below a directory, each file once.
fn disk_usage(directory: &Path) -> u64 {
    fs::read_dir(directory).into_iter().flatten().flatten().fold(0, |sum, entry| {
        let status = entry.metadata().unwrap();
        let below = if status.is_dir() { disk_usage(&entry.path()) } else { status.blocks() * 512 };
        sum + below
    })
}

#[test]
#[ignore = "needs root"]
fn privileged_what_was_used_least_recently_goes_when_it_is_too_much() {
    let world = World::with_busybox();
    fs::write(world.directory().join("config.toml"), "[build]\ncache_size_max = \"9MB\"\n").unwrap();
    build(&world, &step("one", 4_000_000)).success();
    build(&world, &step("two", 4_000_000)).success();
    // What is used again is not the oldest any more.
    build(&world, &step("one", 4_000_000)).success().stderr_contains("CACHED");
    assert!(kept(&world).contains("/two"));
    build(&world, &step("three", 4_000_000)).success();
    await_kept(&world, "the second step stays", |kept| !kept.contains("/two"));
    assert!(kept(&world).contains("/one") && kept(&world).contains("/three"));
    let room = || disk_usage(&world.root().join("layer"));
    let deadline = Instant::now() + GRACE;
    while room() > 11_000_000 {
        assert!(Instant::now() < deadline, "{} bytes are taken", room());
    }
    // An image that has a step keeps it, and it does not count.
    let directory = world.scratch().join("context");
    let image = ["build", "--network", "none", "-t", "image", "."];
    world.invoke(image).directory(&directory).run().success().stderr_contains("CACHED");
    build(&world, &step("four", 4_000_000)).success();
    build(&world, &step("five", 4_000_000)).success();
    await_kept(&world, "the first step stays", |kept| !kept.contains("/one"));
    let all = kept(&world);
    assert!(["/three", "/four", "/five"].iter().all(|name| all.contains(name)), "{all}");
}

#[test]
#[ignore = "needs root"]
fn privileged_what_was_not_used_for_long_goes_whatever_its_size() {
    let world = World::with_busybox();
    build(&world, &step("old", 10)).success();
    fs::write(world.directory().join("config.toml"), "[build]\ncache_days_max = 0\n").unwrap();
    let deadline = Instant::now() + GRACE;
    let mut number = 0;
    while kept(&world).contains("/old") {
        assert!(Instant::now() < deadline, "the old step stays");
        number += 1;
        build(&world, &step(&format!("new{number}"), 10)).success();
    }
    fs::write(world.directory().join("config.toml"), "[build]\ncache_size_max = \"much\"\n").unwrap();
    build(&world, &step("new", 10)).failure().stderr_contains("cache_size_max");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_figures_are_those_of_the_disk() {
    let world = World::with_busybox();
    let places = ["layer", "build/cache"].map(|name| world.root().join(name));
    let taken = || places.iter().map(|place| disk_usage(place)).sum::<u64>();
    let base = taken();
    let mount = "RUN --mount=type=cache,target=/c head -c 3000000 /dev/urandom > /c/file\n";
    build(&world, &(step("one", 8_000_000) + mount)).success();
    // The same layer by another key takes no room of its own.
    build(
        &world,
        &format!(
            "FROM busybox AS x\nCOPY --from=busybox /bin/busybox /a\n{}",
            "COPY --from=busybox /bin/busybox /a\n"
        ),
    )
    .success();
    let total = |text: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix("Total:")).unwrap().trim();
        let digits = line.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit = match &line[digits.len()..] {
            "B" => 1.0,
            "kB" => 1e3,
            "MB" => 1e6,
            other => panic!("{other:?}"),
        };
        digits.parse::<f64>().unwrap() * unit
    };
    #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
    let on_disk = (taken() - base) as f64;
    let told = total(&kept(&world));
    assert!((told - on_disk).abs() < on_disk / 50.0, "{told} are told, {on_disk} on the disk");
    let pruned = world.mica(["builder", "prune", "-af"]).success().stdout();
    assert!((total(&pruned) - told).abs() < told / 50.0, "{pruned}");
    let deadline = Instant::now() + GRACE;
    while taken() > base {
        assert!(Instant::now() < deadline, "{} bytes are left of {base}", taken());
    }
}
