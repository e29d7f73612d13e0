//! What a pull leaves on the disk: hardly more than the unpacked files, also after it was killed; and what it shows.

use e2e::{Entry, Registry, Tarball, World, fixture, noise};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A layer of many files, as images have them.
fn tree(name: &str, files: u64) -> Vec<u8> {
    let start = Tarball::new().with(Entry::directory(name));
    let entry = |number| Entry::file(format!("{name}/file{number}"), noise(number + files, 16_000));
    (0..files).map(entry).fold(start, Tarball::with).finish()
}

fn gzip(world: &World, plain: &[u8]) -> Vec<u8> {
    let path = world.scratch().join("layer");
    fs::write(&path, plain).unwrap();
    Command::new("gzip").arg("-1c").arg(&path).output().unwrap().stdout
}

/// The room that a directory takes up, in bytes.
fn used(directory: &Path) -> u64 {
    fs::read_dir(directory).unwrap().flatten().fold(0, |sum, entry| {
        let metadata = entry.metadata().unwrap();
        sum + metadata.blocks() * 512 + if metadata.is_dir() { used(&entry.path()) } else { 0 }
    })
}

fn publish(world: &World, registry: &Registry) -> e2e::registry::Published {
    let plain = [tree("a", 400), tree("b", 400)];
    let diff_ids: Vec<String> = plain.iter().map(|layer| e2e::image_archive::digest(layer)).collect();
    let stored: Vec<Vec<u8>> = plain.iter().map(|layer| gzip(world, layer)).collect();
    registry.publish_stored("disk", "latest", &stored, &diff_ids)
}

#[test]
#[ignore = "needs root"]
fn privileged_a_pulled_image_takes_hardly_more_room_than_its_files() {
    let world = World::new();
    let registry = Registry::new();
    publish(&world, &registry);
    world.mica(["images"]).success();
    let before = used(&world.root());
    world.mica(["pull", "-q", &registry.name("disk")]).success();
    let taken = used(&world.root()) - before;
    let paths =
        world.mica(["history", "--format", "{{.LayerPath}}", &registry.name("disk")]).success().lines();
    let unpacked: u64 = paths.iter().filter(|path| !path.is_empty()).map(|path| used(Path::new(path))).sum();
    assert!(unpacked > 10_000_000, "{unpacked}");
    assert!(taken * 100 <= unpacked * 102, "{taken} bytes for {unpacked} of files");
}

#[test]
#[ignore = "needs root"]
fn privileged_compressed_blobs_are_kept_where_the_settings_say_so() {
    let world = World::new();
    fs::write(world.directory().join("config.toml"), "[registry]\nkeep_compressed_blobs = true\n").unwrap();
    let registry = Registry::new();
    let published = publish(&world, &registry);
    let name = registry.name("disk");
    let blob =
        |digest: &str| world.root().join("image/blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    world.mica(["pull", "-q", &name]).success();
    for digest in &published.layers {
        assert_eq!(e2e::image_archive::digest(&fs::read(blob(digest)).unwrap()), *digest);
    }
    assert_eq!(fs::read_dir(world.root().join("image/partial")).unwrap().count(), 0);
    // Other commands tidy up and leave them; they go with the image.
    world.mica(["image", "prune", "-f"]).success();
    assert!(published.layers.iter().all(|digest| blob(digest).exists()));
    // What is kept is pushed on without its registry, unless it is damaged.
    if e2e::DockerRegistry::is_installed() {
        let target = e2e::DockerRegistry::new();
        let there = target.name("kept:v1");
        fs::write(blob(&published.layers[1]), b"damaged").unwrap();
        world.mica(["tag", &name, &there]).success();
        world.mica(["push", &there]).success().stdout_contains(&published.digest);
        assert_eq!(registry.count(&format!("GET /v2/disk/blobs/{}", published.layers[0])), 1);
        assert_eq!(registry.count(&format!("GET /v2/disk/blobs/{}", published.layers[1])), 2);
        world.mica(["rmi", &there]).success();
    }
    world.mica(["rmi", &name]).success();
    assert!(published.layers.iter().all(|digest| !blob(digest).exists()));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_pull_killed_at_any_moment_is_completed_by_the_next() {
    let world = World::new();
    let registry = Registry::new();
    let published = publish(&world, &registry);
    let name = registry.name("disk");
    let whole = std::time::Instant::now();
    world.mica(["pull", "-q", &name]).success();
    let whole = whole.elapsed();
    world.mica(["rmi", &name]).success();
    for step in 0..24_u32 {
        let mut pull = world.invoke(["pull", "-q", &name]).spawn();
        // Moments all over the length of a pull, beyond its end too: the time itself means nothing.
        std::thread::sleep(whole * step / 20);
        pull.signal(rustix::process::Signal::KILL);
        drop(pull.wait(Duration::from_secs(10)));
        // Whatever is listed is whole.
        if !world.mica(["images", "-q"]).success().lines().is_empty() {
            world.mica(["save", "-o", "/dev/null", &name]).success();
        }
        world.mica(["pull", "-q", &name]).success();
        assert_eq!(world.inspect(&name, "{{.Id}}"), published.config);
        world.mica(["rmi", &name]).success();
        await_nothing(&world, step);
    }
}

/// Waits until nothing is left in the store. What is being deleted in the background holds the next command up for
/// nothing but its own tidying.
fn await_nothing(world: &World, step: u32) {
    let places = ["image/partial", "image/ingest", "layer/ingest", "image/blobs/sha256"];
    let left = || {
        let count = |place| fs::read_dir(world.root().join(place)).map_or(0, Iterator::count);
        places.map(count)
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while left() != [0; 4] {
        assert!(std::time::Instant::now() < deadline, "{places:?} hold {:?} after step {step}", left());
        world.mica(["image", "prune", "-f"]).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_terminal_sees_bars_a_total_and_a_pipe_dockers_lines() {
    let world = World::new();
    let registry = Registry::new();
    let published = publish(&world, &registry);
    let name = registry.name("disk");
    let (screen, code) = world.terminal(["pull", &name]).finish();
    assert_eq!(code, 0, "{screen}");
    for part in ["Downloading", "[", "Total: ", "/s", "Pull complete", "Status: Downloaded newer image"] {
        assert!(screen.contains(part), "{part:?} in {screen:?}");
    }
    world.mica(["rmi", &name]).success();
    let output = world.mica(["pull", &name]).success().clone();
    let short = published.layers[0].get(7..19).unwrap();
    let states: Vec<String> = output
        .lines()
        .into_iter()
        .filter_map(|line| line.strip_prefix(&format!("{short}: ")).map(str::to_owned))
        .collect();
    assert_eq!(states, ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]);
    output.stderr_is_empty();
    world.mica(["rmi", &name]).success();
    world.mica(["pull", "-q", &name]).success().stdout_is(&format!("{name}:latest\n")).stderr_is_empty();
}

#[test]
#[ignore = "needs root"]
fn privileged_run_pulls_as_its_flag_says() {
    let world = World::new();
    let registry = Registry::new();
    let first = registry.publish("team/app", "v1", &[fixture::busybox_layer().unwrap()]);
    let name = registry.name("team/app:v1");
    let run = |pull: &str| world.mica(["run", "--rm", "--pull", pull, &name, "true"]);
    run("never").code(125).stderr_contains(&format!("No such image: {name}"));
    run("sometimes").code(125).stderr_contains(
        "invalid pull option: 'sometimes': must be one of \"always\", \"missing\" or \"never\"",
    );
    run("missing").success().stderr_contains("Unable to find image");
    let second = registry.publish(
        "team/app",
        "v1",
        &[fixture::busybox_layer().unwrap(), Tarball::new().with(Entry::file("new", "")).finish()],
    );
    run("missing").success().stderr_is_empty();
    assert_eq!(world.inspect(&name, "{{.Id}}"), first.config);
    run("always").success().stderr_contains("Status: Downloaded newer image");
    assert_eq!(world.inspect(&name, "{{.Id}}"), second.config);
    run("always").success().stderr_contains("Status: Image is up to date");
    world.mica(["run", "--rm", "-q", "--pull", "always", &name, "true"]).success().stderr_is_empty();
    let other = world.mica(["run", "--rm", "--platform", "linux/s390x", &name, "true"]).clone();
    other.code(125).stderr_contains("does not match the specified platform");
}
