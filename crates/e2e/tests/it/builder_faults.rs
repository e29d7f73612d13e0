//! Builds that are killed, interrupted or run out of disk: the next one succeeds and has what was finished.

use crate::fault::check_invariants;
use crate::fault_disk::Disk;
use crate::fault_kill::moments;
use e2e::registry::Answer;
use e2e::{Output, Registry, World};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Set by hand for tests at full size.
const FULL_SIZE: &str = "MICA_TEST_FULL_SIZE";

const STEPS: &str = "FROM busybox AS one\nRUN echo first > /first\nRUN echo second > /second\nFROM busybox\n\
    COPY file /file\nCOPY --from=one /first /second /\nRUN --mount=type=cache,target=/c echo x >> /c/x; cat /first\n\
    WORKDIR /made/here\nLABEL done=yes\n";

fn context(world: &World, dockerfile: &str) -> PathBuf {
    let directory = world.scratch().join("context");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    fs::write(directory.join("file"), "content").unwrap();
    directory
}

fn build(world: &World, flags: &[&str]) -> Output {
    let directory = world.scratch().join("context");
    let words = [&["build", "-t", "built", "--network", "none"], flags, &["."]].concat();
    world.invoke(words).directory(directory).run()
}

/// The build that comes after one that was ended succeeds, and so does all else.
fn check_next(world: &World) {
    build(world, &[]).success();
    let print = "cat /file /first /second; pwd";
    let printed = world.mica(["run", "--rm", "--network", "none", "built", "sh", "-c", print]);
    printed.success().stdout_is("contentfirst\nsecond\n/made/here\n");
    let again = build(world, &[]).success().stderr();
    assert_eq!(again.matches("CACHED").count(), 6, "{again}");
    world.mica(["builder", "prune", "-af"]).success();
    check_invariants(world);
}

/// Ends a build at several of its system calls, each time in a new world.
fn end_everywhere(signal: &str) {
    let count = {
        let world = World::with_busybox();
        context(&world, STEPS);
        let trace = world.scratch().join("trace");
        let strace = ["-qq", "-o", trace.to_str().unwrap()];
        let words = ["build", "-t", "built", "--network", "none", "."];
        let directory = world.scratch().join("context");
        world.invoke_by("strace", &strace, words).directory(directory).run().success();
        check_next(&world);
        fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains('(')).count()
    };
    for number in moments(count) {
        println!("the build is ended by {signal} at system call {number} of {count}");
        // Each thread has a network of its own, and so room for the default networks of many worlds.
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| end_at(signal, number)).join();
            assert!(ended.is_ok(), "see above");
        });
    }
}

fn end_at(signal: &str, number: usize) {
    let world = World::with_busybox();
    let directory = context(&world, STEPS);
    let inject = format!("inject=all:signal={signal}:when={number}");
    let strace = ["-qq", "-o", "/dev/null", "-e", &inject];
    let words = ["build", "-t", "built", "--network", "none", "."];
    // Builds differ a little from run to run, so some end by themselves.
    drop(world.invoke_by("strace", &strace, words).directory(directory).run());
    check_next(&world);
    world.close();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_build_killed_anywhere_is_done_by_the_next() {
    end_everywhere("SIGKILL");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_build_interrupted_anywhere_is_done_by_the_next() {
    end_everywhere("SIGINT");
}

/// A build that fails and one that is interrupted leave nothing: no directory, no layer, no process.
#[test]
#[ignore = "needs root"]
fn privileged_failed_and_interrupted_builds_leave_nothing() {
    let world = World::with_busybox();
    let count = if std::env::var_os(FULL_SIZE).is_some() { 100 } else { 8 };
    context(&world, "FROM busybox\nCOPY file /\nRUN --mount=type=tmpfs,target=/t echo > /begun; exit 7\n");
    let is_empty =
        |path: &str| world.root().join(path).read_dir().is_ok_and(|mut entries| entries.next().is_none());
    for _ in 0..count {
        build(&world, &["--no-cache"]).failure().stderr_contains("exit code: 7");
        assert!(is_empty("container"));
    }
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c echo > /begun; sleep 1000\n";
    for _ in 0..count {
        let directory = context(&world, dockerfile);
        let mut interrupted = world.invoke(["build", "--network", "none", "."]).directory(directory).spawn();
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_begun = || {
            let places = world.root().join("container").read_dir().into_iter().flatten().flatten();
            places.map(|place| place.path().join("upper/begun")).any(|path| path.exists())
        };
        while !is_begun() {
            assert!(Instant::now() < deadline, "the command does not run");
            std::thread::yield_now();
        }
        interrupted.signal(rustix::process::Signal::INT);
        interrupted.wait(Duration::from_secs(20));
    }
    // What an interrupted one leaves, the next that tidies takes away; its command has ended by itself.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_empty("container") {
        assert!(Instant::now() < deadline, "a leftover stays");
        world.mica(["builder", "prune", "-f"]).success();
    }
    world.mica(["builder", "prune", "-af"]).success();
    check_invariants(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_full_disk_in_any_step_is_told_and_leaves_room_again() {
    let world = World::new();
    let disk = Disk::of(&world, "48M", &[]);
    world.load_busybox();
    let directory = context(&world, "");
    fs::write(directory.join("large"), e2e::noise(1, 60 << 20)).unwrap();
    fs::create_dir_all(directory.join("many")).unwrap();
    for number in 0..60 {
        fs::write(directory.join("many").join(number.to_string()), e2e::noise(number, 1 << 20)).unwrap();
    }
    let before = disk.free_bytes();
    let server = Registry::new();
    server.put("GET /large", Answer::new("application/octet-stream", e2e::noise(2, 60 << 20)));
    let from_the_web = format!("ADD http://{}/large /", server.address());
    for step in [
        "RUN dd if=/dev/zero of=/large bs=1M",
        "COPY large /",
        "COPY many /many",
        "ADD large /",
        &from_the_web,
    ] {
        fs::write(directory.join("Dockerfile"), format!("FROM busybox\n{step}\n")).unwrap();
        let failed = build(&world, &[]);
        failed.failure().stderr_contains("No space left on device");
        world.mica(["builder", "prune", "-af"]).success();
        let free = disk.free_bytes();
        assert!(free + (512 << 10) > before, "{step}: {free} of {before} bytes are free again");
    }
    fs::write(directory.join("Dockerfile"), STEPS).unwrap();
    check_next(&world);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_full_disk_at_the_end_of_a_build_costs_only_the_end() {
    let world = World::new();
    let disk = Disk::of(&world, "48M", &[]);
    world.load_busybox();
    context(&world, STEPS);
    build(&world, &["-o", "type=cacheonly"]).success();
    disk.fill();
    build(&world, &[]).failure().stderr_contains("full");
    world.mica(["image", "inspect", "built"]).failure();
    disk.empty();
    let built = build(&world, &[]).success().stderr();
    assert_eq!(built.matches("CACHED").count(), 6, "{built}");
    // Results that go elsewhere: to a file system of their own that has no room.
    let small = world.scratch().join("small");
    fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=256k", "none"])
        .arg(&small)
        .status()
        .unwrap();
    assert!(mounted.success());
    fs::write(small.join("x.tar"), "what was there").unwrap();
    let results = ["oci,dest=x.tar", "docker,dest=x.tar", "tar,dest=x.tar", "local,dest=x"].map(|kind| {
        let (kind, name) = kind.split_once("dest=").unwrap();
        let failed = build(&world, &["-o", &format!("type={kind}dest={}", small.join(name).display())]);
        (kind, failed, fs::read_dir(&small).unwrap().count(), fs::read(small.join("x.tar")).unwrap())
    });
    drop(std::process::Command::new("umount").arg(&small).status());
    for (kind, failed, count, content) in results {
        failed.failure().stderr_contains("No space left on device");
        assert_eq!(content, b"what was there", "{kind}");
        assert!(count == 1 || kind.starts_with("local"), "{kind} something stays");
    }
    check_next(&world);
}
