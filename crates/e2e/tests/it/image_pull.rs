//! `mica pull` and what `run` pulls: from an honest registry, and from one whose connections break.

use e2e::registry::{Answer, INDEX_TYPE, MANIFEST_TYPE, Manner};
use e2e::{Entry, Registry, Tarball, World, fixture, noise};
use serde_json::json;
use std::fs;

fn layer(name: &str, content: impl Into<Vec<u8>>) -> Vec<u8> {
    Tarball::new().with(Entry::file(name, content)).finish()
}

fn partials(world: &World) -> usize {
    fs::read_dir(world.root().join("image/partial")).map_or(0, Iterator::count)
}

#[test]
#[ignore = "needs root"]
fn privileged_run_fetches_what_is_missing_and_says_so_beside_the_output() {
    let world = World::new();
    let registry = Registry::new();
    registry.publish("team/app", "latest", &[fixture::busybox_layer().unwrap()]);
    let name = registry.name("team/app");
    let output = world.mica(["run", "--rm", &name, "echo", "works"]).success().clone();
    output.stdout_is("works\n").stderr_contains(&format!("Unable to find image '{name}:latest' locally"));
    output.stderr_contains("latest: Pulling from team/app").stderr_contains(": Pull complete");
    output.stderr_contains(&format!("Status: Downloaded newer image for {name}:latest"));
    world.mica(["run", "--rm", "--pull", "never", &name, "true"]).success().stderr_is_empty();
    world.mica(["create", "--pull", "always", &name]).success().stderr_contains("Image is up to date");
    let gone = registry.name("team/gone");
    world.mica(["run", "--pull", "never", &gone]).code(125).stderr_contains("No such image");
    world.mica(["run", &gone]).code(125).stderr_contains(&format!("manifest for {gone}:latest not found"));
}

#[test]
#[ignore = "needs root"]
fn privileged_pull_tells_the_digest_and_names_the_image_by_it() {
    let world = World::new();
    let registry = Registry::new();
    let published = registry.publish("a/b", "v1", &[layer("one", "1"), layer("two", "2")]);
    let (name, digest) = (registry.name("a/b"), &published.digest);
    let tagged = format!("{name}:v1");
    let output = world.mica(["pull", &tagged]).success().clone();
    output.stdout_contains("v1: Pulling from a/b\n").stdout_contains(&format!("\nDigest: {digest}\n"));
    assert_eq!(output.lines().last().unwrap(), &tagged);
    assert_eq!(world.inspect(&tagged, "{{.Id}}"), published.config);
    assert_eq!(world.inspect(&tagged, "{{.RepoDigests}}"), format!("[{name}@{digest}]"));
    world.mica(["pull", "-q", &tagged]).success().stdout_is(&format!("{tagged}\n"));
    world.mica(["pull", &tagged]).success().stdout_contains("Status: Image is up to date for");
    assert_eq!(registry.count("GET /v2/a/b/blobs/"), 3);
    world.mica(["rmi", &tagged]).success().stdout_contains(&format!("Untagged: {name}@{digest}"));
    world.mica(["images", "-aq"]).success().stdout_is("");
    let digested = format!("{name}@{digest}");
    world.mica(["pull", &digested]).success();
    assert_eq!(world.inspect(&digested, "{{.RepoTags}}"), "[]");
}

#[test]
#[ignore = "needs root"]
fn privileged_pull_takes_every_compression_and_all_tags() {
    let world = World::new();
    let registry = Registry::new();
    let plain = layer("f", vec![b'x'; 100_000]);
    let diff_id = e2e::image_archive::digest(&plain);
    let pack = |program: &str| {
        let path = world.scratch().join("layer");
        fs::write(&path, &plain).unwrap();
        let packed = std::process::Command::new(program).arg("-c").arg(&path).output().unwrap();
        assert!(packed.status.success(), "{program}");
        packed.stdout
    };
    for (tag, stored) in [("gzip", pack("gzip")), ("zstd", pack("zstd")), ("plain", plain.clone())] {
        registry.publish_stored("all", tag, &[stored], std::slice::from_ref(&diff_id));
    }
    let tags = json!({"name": "all", "tags": ["gzip", "zstd", "plain"]}).to_string();
    registry.put("GET /v2/all/tags/list", Answer::new("application/json", tags));
    let name = registry.name("all");
    world.mica(["pull", "-a", &name]).success();
    let ids = world.mica(["images", "-q", &name]).success().lines();
    assert_eq!(ids.len(), 3);
    // One layer of one diffID, fetched once.
    assert_eq!(registry.count("GET /v2/all/blobs/"), 1 + 1);
}

#[test]
#[ignore = "needs root"]
fn privileged_pull_chooses_from_an_index_by_platform() {
    let world = World::new();
    let registry = Registry::new();
    let native = registry.publish("multi", "native", &[layer("native", "")]);
    let foreign = registry.publish("multi", "foreign", &[layer("foreign", "")]);
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let entry = |published: &e2e::registry::Published, architecture: &str| {
        json!({
            "mediaType": MANIFEST_TYPE, "digest": published.digest,
            "size": published.manifest.to_string().len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX_TYPE,
        "manifests": [entry(&foreign, "s390x"), entry(&native, architecture)],
    });
    let digest = registry.put_manifest("multi", "latest", INDEX_TYPE, &index);
    let name = registry.name("multi");
    world.mica(["pull", &name]).success().stdout_contains(&format!("Digest: {digest}"));
    assert_eq!(world.inspect(&name, "{{.Id}}"), native.config);
    world.mica(["pull", "-q", &name]).success();
    let missing = world.mica(["pull", "--platform", "linux/riscv64", &name]).code(1).clone();
    missing.stderr_contains("no matching manifest for linux/riscv64");
    assert_eq!(world.inspect(&name, "{{.Id}}"), native.config);
}

#[test]
#[ignore = "needs root"]
fn privileged_pull_goes_on_where_the_connection_broke() {
    let world = World::new();
    let registry = Registry::new();
    let content = noise(0, 3 << 20);
    let published = registry.publish("big", "latest", &[layer("f", content.clone())]);
    let blob = format!("GET /v2/big/blobs/{}", published.layers[0]);
    let whole = layer("f", content);
    for manner in [Manner::DropOnce(1 << 20), Manner::WithoutRanges] {
        let first = Answer::new("", whole.clone()).manner(Manner::DropOnce(1 << 20));
        registry.put_all(&blob, [first, Answer::new("", whole.clone()).manner(manner)]);
        world.mica(["pull", "-q", &registry.name("big")]).success();
        world.mica(["rmi", &registry.name("big")]).success();
    }
    let ranges: Vec<_> =
        registry.asked().into_iter().filter_map(|asked| asked.headers.get("range").cloned()).collect();
    assert!(ranges.contains(&"bytes=1048576-".to_owned()), "{ranges:?}");
    assert_eq!(partials(&world), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_pull_is_gone_on_with_by_the_next() {
    let world = World::new();
    let registry = Registry::new();
    registry.hold();
    let (big, small) = (layer("big", noise(0, 2 << 20)), layer("small", "x"));
    let published = registry.publish("killed", "latest", &[small, big.clone()]);
    let blob = format!("GET /v2/killed/blobs/{}", published.layers[1]);
    let half = Answer { body: big.clone(), ..Answer::new("", "") };
    registry.put_all(
        &blob,
        [half.clone().manner(Manner::DropAfter(1 << 20)), half.clone().manner(Manner::Silent)],
    );
    let name = registry.name("killed");
    let mut pull = world.invoke(["pull", "-q", &name]).spawn();
    while registry.count(&blob) < 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    pull.signal(rustix::process::Signal::KILL);
    drop(pull.wait(std::time::Duration::from_secs(10)));
    registry.release();
    world.mica(["images", "-aq"]).success().stdout_is("");
    assert!(partials(&world) > 0, "what has come is kept");
    registry.put(&blob, half);
    world.mica(["pull", "-q", &name]).success();
    let last = registry.asked().into_iter().rfind(|asked| asked.what == blob).unwrap();
    assert_eq!(last.headers.get("range").map(String::as_str), Some("bytes=1048576-"));
    assert_eq!((partials(&world), world.inspect(&name, "{{.Id}}")), (0, published.config));
    assert_eq!(fs::read_dir(world.root().join("layer/ingest")).unwrap().count(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_many_pulls_at_once_fetch_a_layer_once() {
    let world = World::new();
    let registry = Registry::new();
    let (base, one, two) = (layer("base", noise(0, 1 << 20)), layer("one", "1"), layer("two", "2"));
    registry.publish("one", "latest", &[base.clone(), one.clone()]);
    registry.publish("two", "latest", &[two, base]);
    let pulls: Vec<_> = ["one", "two", "one", "two"]
        .iter()
        .map(|path| world.invoke(["pull", "-q", &registry.name(path)]).spawn())
        .collect();
    for mut pull in pulls {
        pull.wait(std::time::Duration::from_secs(60)).success();
    }
    let layers = registry.asked().into_iter().filter(|asked| asked.what.contains("/blobs/"));
    let mut fetched: Vec<String> =
        layers.map(|asked| asked.what.rsplit('/').next().unwrap().to_owned()).collect();
    let configs = 2 * 2;
    assert!(fetched.len() <= 3 + configs, "{fetched:?}");
    fetched.sort();
    assert_eq!((world.mica(["images", "-q"]).lines().len(), partials(&world)), (2, 0));
}
