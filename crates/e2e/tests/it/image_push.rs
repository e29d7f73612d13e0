//! `mica push` to the registry of Debian: what is sent, what is not, and with which digests it arrives.

use e2e::docker_registry::Setup;
use e2e::{DockerRegistry, Entry, ImageArchive, Meddler, Meddling, Tarball, World, noise};
use std::fs;
use std::time::Duration;

/// Loads an image with a layer for each file, under a name.
fn load(world: &World, name: &str, files: &[Vec<u8>]) {
    let layers = files.iter().enumerate().map(|(number, content)| {
        Tarball::new().with(Entry::file(format!("file{number}"), content.clone())).finish()
    });
    let path = world.scratch().join("image.tar");
    fs::write(&path, layers.fold(ImageArchive::named(name), ImageArchive::layer).build()).unwrap();
    world.mica(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), path.as_os_str()]).success();
}

fn repo_digest(world: &World, name: &str) -> String {
    world.inspect(name, "{{index .RepoDigests 0}}").rsplit('@').next().unwrap().to_owned()
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_pushed_runs_on_an_empty_store() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::with_busybox();
    let registry = DockerRegistry::new();
    let name = registry.name("team/app");
    world.mica(["tag", "busybox", &name]).success();
    let output = world.mica(["push", &name]).success().clone();
    output.stdout_contains("Using default tag: latest\n");
    output.stdout_contains(&format!("The push refers to repository [{name}]\n"));
    output.stdout_contains(": Preparing\n").stdout_contains(": Pushed\n");
    let digest = repo_digest(&world, &name);
    output.stdout_contains(&format!("\nlatest: digest: {digest} size: "));
    world.mica(["push", &name]).success().stdout_contains(": Layer already exists\n");
    world.mica(["push", "-q", &name]).success().stdout_is(&format!("{name}:latest\n"));
    let other = World::new();
    let run = other.mica(["run", "--rm", "--network", "none", &name, "echo", "works"]).success().clone();
    run.stdout_is("works\n").stderr_contains(&format!("Digest: {digest}\n"));
    assert_eq!(other.inspect(&name, "{{.Id}}"), world.inspect("busybox", "{{.Id}}"));
    assert_eq!(repo_digest(&other, &name), digest);
}

#[test]
#[ignore = "needs root"]
fn privileged_push_says_in_dockers_words_what_is_not_there() {
    let world = World::with_busybox();
    world.mica(["tag", "busybox", "127.0.0.1:1/a:v1"]).success();
    let fails = |name: &str, words: &str| {
        world.mica(["push", name]).code(1).stderr_contains(words);
    };
    fails("127.0.0.1:1/a:v2", "tag does not exist: 127.0.0.1:1/a:v2");
    fails("127.0.0.1:1/b", "An image does not exist locally with the tag: 127.0.0.1:1/b");
    fails(&format!("127.0.0.1:1/a@sha256:{}", "0".repeat(64)), "cannot push a digest reference");
    fails("127.0.0.1:1/a:v1", "connection refused");
    world
        .mica(["push", "-a", "127.0.0.1:1/a:v1"])
        .code(1)
        .stderr_contains("tag can't be used with --all-tags");
    let platform = ["push", "--platform", "linux/s390x", "127.0.0.1:1/a:v1"];
    world.mica(platform).code(1).stderr_contains("linux/s390x");
    let format = ["push", "--compression-format", "lzma", "127.0.0.1:1/a:v1"];
    world.mica(format).code(1).stderr_contains("\"gzip\" and \"zstd\"");
    let level = ["push", "--compression-level", "10", "127.0.0.1:1/a:v1"];
    world.mica(level).code(1).stderr_contains("1 to 9");
}

#[test]
#[ignore = "needs root"]
fn privileged_push_sends_all_tags_and_takes_layers_over_from_a_neighbour() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::with_busybox();
    let registry = DockerRegistry::new();
    for tag in ["v1", "v2"] {
        world.mica(["tag", "busybox", &registry.name(&format!("many:{tag}"))]).success();
    }
    let output = world.mica(["push", "-a", &registry.name("many")]).success().clone();
    output.stdout_contains("\nv1: digest: ").stdout_contains("\nv2: digest: ");
    let neighbour = registry.name("neighbour:v1");
    world.mica(["tag", "busybox", &neighbour]).success();
    world.mica(["push", &neighbour]).success().stdout_contains(": Mounted from many\n");
    let other = World::new();
    other.mica(["pull", "-q", "-a", &registry.name("many")]).success();
    other.mica(["pull", "-q", &neighbour]).success();
    let digest = repo_digest(&other, &neighbour);
    assert_eq!(repo_digest(&other, &registry.name("many:v1")), digest);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_pulled_image_is_pushed_on_with_its_digests_or_it_is_said() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let source = e2e::Registry::new();
    let layers: Vec<Vec<u8>> = (0..2)
        .map(|number| Tarball::new().with(Entry::file(format!("f{number}"), noise(number, 300_000))).finish())
        .collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| e2e::image_archive::digest(layer)).collect();
    // As no compressor of ours would write them.
    let stored: Vec<Vec<u8>> = layers
        .iter()
        .map(|layer| {
            let path = world.scratch().join("layer");
            fs::write(&path, layer).unwrap();
            let packed = std::process::Command::new("gzip").args(["-1", "-c"]).arg(&path).output().unwrap();
            assert!(packed.status.success());
            packed.stdout
        })
        .collect();
    let published = source.publish_stored("from/here", "v1", &stored, &diff_ids);
    let origin = source.name("from/here:v1");
    world.mica(["pull", "-q", &origin]).success();
    let registry = DockerRegistry::new();
    let name = registry.name("to/there:v1");
    world.mica(["tag", &origin, &name]).success();
    let pushed = world.mica(["push", &name]).success().clone();
    pushed.stdout_contains(&format!("v1: digest: {} size: ", published.digest));
    // What the source does not have any more, or has no more as it was, is compressed anew, and that is said.
    let blob = |number: usize| format!("GET /v2/from/here/blobs/{}", published.layers[number]);
    source.put(&blob(0), e2e::registry::Answer::status(404));
    source.put(&blob(1), e2e::registry::Answer::new("", vec![0; stored[1].len()]));
    drop(registry);
    let other = DockerRegistry::new();
    let name = other.name("to/there:v1");
    world.mica(["tag", &origin, &name]).success();
    let pushed = world.mica(["push", &name]).success().clone();
    pushed.stdout_contains("compressed anew, which gives the image another digest");
    pushed.stdout_lacks(&published.digest);
    let reader = World::new();
    reader.mica(["pull", "-q", &name]).success();
    assert_eq!(reader.inspect(&name, "{{.Id}}"), published.config);
}

#[test]
#[ignore = "needs root"]
fn privileged_push_compresses_as_it_is_told() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let content = [b"many words and many more ".repeat(200_000), noise(1, 3_000_000)].concat();
    let tag = |tag: &str| registry.name(&format!("packed:{tag}"));
    load(&world, &tag("gzip"), &[content]);
    for name in ["zstd", "hard", "again", "machine"] {
        world.mica(["tag", &tag("gzip"), &tag(name)]).success();
    }
    world.mica(["push", "-q", &tag("gzip")]).success();
    world.mica(["push", "-q", "--compression-format", "zstd", &tag("zstd")]).success();
    world.mica(["push", "-q", "--compression-level", "9", &tag("hard")]).success();
    world.mica(["push", "-q", "--compression-level", "9", &tag("again")]).success();
    fs::write(world.directory().join("config.toml"), "[registry]\ncompression = \"xz\"\n").unwrap();
    world.mica(["push", "-q", &tag("machine")]).code(1).stderr_contains("unknown compression");
    fs::write(world.directory().join("config.toml"), "[registry]\ncompression = \"zstd\"\n").unwrap();
    let mut digests = Vec::new();
    for name in ["gzip", "zstd", "hard", "again"] {
        let other = World::new();
        other.mica(["pull", "-q", &tag(name)]).success();
        assert_eq!(other.inspect(&tag(name), "{{.Id}}"), world.inspect(&tag("gzip"), "{{.Id}}"));
        digests.push(repo_digest(&other, &tag(name)));
    }
    assert_eq!(digests[2], digests[3], "the same bytes are compressed to the same bytes");
    digests.dedup();
    assert_eq!(digests.len(), 3);
}

#[test]
#[ignore = "needs root"]
fn privileged_push_goes_on_through_what_passes() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let meddler = Meddler::before(registry.address());
    let name = meddler.name("rough:v1");
    load(&world, &name, &[noise(1, 13 << 20), noise(2, 1000)]);
    meddler.meddle("HEAD /v2/rough/blobs/", Meddling::Status(429));
    meddler.meddle("POST /v2/rough/blobs/uploads/", Meddling::Status(503));
    meddler.meddle("PATCH /v2/rough/blobs/uploads/", Meddling::LoseAnswer);
    meddler.meddle("PATCH /v2/rough/blobs/uploads/", Meddling::HalfBody);
    meddler.meddle("PATCH /v2/rough/blobs/uploads/", Meddling::Drop);
    meddler.meddle("PATCH /v2/rough/blobs/uploads/", Meddling::Status(500));
    meddler.meddle("PUT /v2/rough/blobs/uploads/", Meddling::LoseAnswer);
    meddler.meddle("PUT /v2/rough/manifests/", Meddling::Status(502));
    world.mica(["push", &name]).success();
    // A lost answer is asked for, not sent again.
    assert!(meddler.count("GET /v2/rough/blobs/uploads/") >= 3, "{:?}", meddler.seen());
    let sent: usize =
        meddler.seen().iter().filter(|seen| seen.what.starts_with("PATCH")).map(|s| s.length).sum();
    assert!(sent < 3 * 13 * (1 << 20), "{sent}");
    let other = World::new();
    other.mica(["pull", "-q", &name]).success();
    assert_eq!(other.inspect(&name, "{{.Id}}"), world.inspect(&name, "{{.Id}}"));
}

#[test]
#[ignore = "needs root"]
fn privileged_push_begins_a_blob_anew_that_the_registry_has_lost_and_ends_what_never_works() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let meddler = Meddler::before(registry.address());
    let name = meddler.name("lost:v1");
    load(&world, &name, &[noise(1, 12 << 20)]);
    meddler.meddle("PATCH /v2/lost/blobs/uploads/", Meddling::Status(404));
    world.mica(["push", &name]).success();
    assert_eq!(meddler.count("POST /v2/lost/blobs/uploads/"), 2 + 1);
    let name = meddler.name("never:v1");
    load(&world, &name, &[noise(2, 12 << 20)]);
    for _ in 0..100 {
        meddler.meddle("PATCH /v2/never/blobs/uploads/", Meddling::Status(500));
    }
    let begun = std::time::Instant::now();
    world.mica(["push", &name]).code(1).stderr_contains("status 500");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert!(meddler.count("PATCH /v2/never/") < 30);
    assert_eq!(world.inspect(&name, "{{.RepoDigests}}"), "[]");
}

#[test]
#[ignore = "needs root"]
fn privileged_push_does_not_believe_a_place_elsewhere_with_credentials() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::start("127.0.0.1", Setup { password: true, tls: false });
    let meddler = Meddler::before(registry.address());
    let thief = Meddler::before("127.0.0.1:1");
    let name = meddler.name("lies:v1");
    load(&world, &name, &[noise(1, 1000)]);
    let login = ["login", "-u", e2e::docker_registry::USER, "--password-stdin", meddler.address()];
    world.invoke(login).stdin(e2e::docker_registry::PASSWORD).run().success();
    for place in
        [format!("http://{}/v2/x", thief.address()), "file:///etc/passwd".to_owned(), "http://".to_owned()]
    {
        // The first time it is only told to say who it is.
        for _ in 0..2 {
            meddler.meddle("POST /v2/lies/blobs/uploads/", Meddling::Location(place.clone()));
        }
        world.mica(["push", &name]).code(1);
    }
    assert!(thief.count("PUT /v2/x") > 0, "uploads may go elsewhere");
    assert!(thief.seen().iter().all(|seen| !seen.head.to_lowercase().contains("authorization")));
    meddler.meddle("POST /v2/lies/blobs/uploads/", Meddling::Status(401));
    world.mica(["push", &name]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_push_is_completed_by_the_next_which_sends_nothing_twice_that_was_finished() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let meddler = Meddler::before(registry.address());
    let name = meddler.name("killed:v1");
    load(&world, &name, &[noise(1, 1000), noise(2, 8 << 20), noise(3, 8 << 20)]);
    for _ in 0..2 {
        meddler.meddle("PATCH /v2/killed/blobs/uploads/", Meddling::Hold);
    }
    let mut push = world.invoke(["push", &name]).spawn();
    // Two go at once: when the third begins, the first is done.
    while meddler.count("POST /v2/killed/blobs/uploads/") < 3 {
        std::thread::sleep(Duration::from_millis(10));
    }
    push.signal(rustix::process::Signal::KILL);
    drop(push.wait(Duration::from_secs(10)));
    meddler.release();
    assert_eq!(world.inspect(&name, "{{.RepoDigests}}"), "[]");
    let again = world.mica(["push", &name]).success().stdout();
    assert_eq!(again.matches("Layer already exists").count(), 1, "{again}");
    assert_eq!(again.matches(": Pushed").count(), 2, "{again}");
    let other = World::new();
    other.mica(["pull", "-q", &name]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_build_pushes_what_it_makes() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::with_busybox();
    let registry = DockerRegistry::new();
    let (first, second) = (registry.name("team/first:1"), registry.name("team/second:2"));
    fs::write(world.scratch().join("Dockerfile"), "FROM busybox\nRUN echo made > /made\n").unwrap();
    let context = world.scratch().display().to_string();
    let build = |flags: &[&str]| {
        let words = ["build", "--progress", "plain", "--network", "none"];
        world.mica(words.iter().chain(flags).copied().chain([context.as_str()]))
    };
    let refused = build(&["--push"]);
    refused.failure().stderr_contains("tag is needed when pushing to registry");
    let told = build(&["--push", "-t", &first, "-t", &second]).success().clone();
    told.stderr_contains(&format!("pushing {first}")).stderr_contains(": digest: sha256:");
    let other = World::new();
    for name in [&first, &second] {
        other.mica(["run", "--rm", "--network", "none", name, "cat", "/made"]).success().stdout_is("made\n");
        assert_eq!(other.inspect(name, "{{.Id}}"), world.inspect(name, "{{.Id}}"));
    }
    let third = registry.name("team/third:3");
    build(&["-o", &format!("type=registry,name={third}")]).success();
    other.mica(["pull", "-q", &third]).success();
    let unknown = registry.name("team/fourth:4");
    build(&["-o", &format!("type=image,name={unknown}")]).success();
    other.mica(["pull", "-q", &unknown]).failure();
}
