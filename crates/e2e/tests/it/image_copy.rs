//! `mica image copy`: digests stay what they are from place to place, and nothing stays here.

use crate::peers::{has, peer};
use e2e::registry::{INDEX_TYPE, MANIFEST_TYPE, Registry, architecture};
use e2e::{DockerRegistry, Entry, Tarball, World, noise};
use serde_json::json;
use std::fs;
use std::process::Command;

/// The most memory that a copy may have in its hands, in KiB.
const MEMORY_MAX: u64 = 64 << 10;

/// A layer with a file, and what another compressor makes of it.
fn layer(world: &World, name: &str, content: Vec<u8>) -> (String, Vec<u8>) {
    let layer = Tarball::new().with(Entry::file(name, content)).finish();
    let path = world.scratch().join("layer");
    fs::write(&path, &layer).unwrap();
    let packed = Command::new("gzip").args(["-1", "-c"]).arg(&path).output().unwrap();
    assert!(packed.status.success());
    (e2e::image_archive::digest(&layer), packed.stdout)
}

/// An index for this machine and another at `team/app:all`; answers its digest and that of this machine's image.
fn publish(world: &World, registry: &Registry) -> (String, String) {
    let image = |tag: &str| {
        let (diff_id, packed) = layer(world, tag, noise(tag.len() as u64, 200_000));
        registry.publish_stored("team/app", tag, &[packed], &[diff_id])
    };
    let (own, other) = (image("own"), image("other"));
    let describe = |image: &e2e::registry::Published, architecture: &str| {
        json!({
            "mediaType": MANIFEST_TYPE, "digest": image.digest, "size": image.manifest.to_string().len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let manifests = [describe(&other, "s390x"), describe(&own, architecture())];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests});
    (registry.put_manifest("team/app", "all", INDEX_TYPE, &index), own.digest)
}

fn copy(world: &World, flags: &[&str], source: &str, target: &str) -> String {
    let words = ["image", "copy", "-q"].iter().chain(flags).copied().chain([source, target]);
    world.mica(words).success().line()
}

#[test]
#[ignore = "needs root"]
fn privileged_digests_are_the_same_in_every_place_and_nothing_stays() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let (world, source) = (World::new(), Registry::new());
    let (index, own) = publish(&world, &source);
    let registry = DockerRegistry::new();
    let origin = format!("docker://{}", source.name("team/app:all"));
    let place = |kind: &str, name: &str| format!("{kind}:{}:{name}", world.scratch().join(kind).display());
    let there = |tag: &str| format!("docker://{}", registry.name(&format!("copied:{tag}")));
    let mut before = origin;
    for next in [there("one"), place("oci", "v1"), there("two"), place("oci-archive", "v1"), there("three")] {
        assert_eq!(copy(&world, &["--all"], &before, &next), index, "{before} {next}");
        before = next;
    }
    // Of one platform.
    for next in
        [there("single"), place("docker-archive", "team/app:v1"), place("oci", "single"), there("last")]
    {
        assert_eq!(copy(&world, &[], &before, &next), own, "{before} {next}");
        before = next;
    }
    let other = copy(&world, &["--platform", "linux/s390x"], &there("three"), &there("other"));
    assert!(other != own && other != index);
    assert_eq!(world.mica(["images", "-q", "-a"]).success().stdout(), "");
    assert_eq!(fs::read_dir(world.root().join("image/blobs/sha256")).unwrap().count(), 0);
    // Everything that was asked for is there.
    world.mica(["pull", "-q", &registry.name("copied:three")]).success();
    let archive = world.scratch().join("docker-archive");
    let loaded = world.mica(["load".as_ref(), "-i".as_ref(), archive.as_os_str()]).success().stdout();
    assert!(loaded.contains("team/app:v1"), "{loaded}");
    let unwanted = ["image", "copy", "--all", &there("three"), &place("docker-archive", "x:y")];
    world.mica(unwanted).code(1).stderr_contains("has no room for an index");
    let marks = fs::read_dir(world.scratch()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("docker-archive") && name != "docker-archive"
    });
    assert_eq!(marks.count(), 0, "what was begun is gone");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_store_is_a_place_too() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::with_busybox();
    let registry = DockerRegistry::new();
    let id = world.inspect("busybox", "{{.Id}}");
    let scratch = world.scratch();
    let directory = format!("oci:{}", scratch.join("layout").display());
    let archive = format!("docker-archive:{}", scratch.join("a.tar").display());
    let there = format!("docker://{}", registry.name("box:v1"));
    for place in [&directory, &archive, &there] {
        copy(&world, &[], "store:busybox", place);
        copy(&world, &[], place, "store:again:v2");
        assert_eq!(world.inspect("again:v2", "{{.Id}}"), id, "{place}");
        world.mica(["run", "--rm", "--network", "none", "again:v2", "true"]).success();
        world.mica(["rmi", "again:v2"]).success();
    }
    // An archive of docker's without a manifest is compressed on its way.
    let plain = e2e::fixture::busybox_archive().unwrap();
    let loose = format!("docker-archive:{}", plain.display());
    let compressed = format!("docker://{}", registry.name("box:loose"));
    copy(&world, &[], &loose, &compressed);
    let shown = world.mica(["manifest", "inspect", &registry.name("box:loose")]).success().stdout();
    assert!(shown.contains("tar+gzip"), "{shown}");
    let other = World::new();
    copy(&other, &[], &compressed, "store:box");
    assert_eq!(other.inspect("box", "{{.Id}}"), id);
    copy(&other, &[], &loose, &directory.replace("layout", "loose"));
    copy(&other, &[], "store:box", "store:boxes:v2");
    assert_eq!(other.inspect("boxes:v2", "{{.Id}}"), id);
}

#[test]
#[ignore = "needs root"]
fn privileged_skopeo_reads_what_is_copied_and_its_copies_are_read() {
    if !["docker-registry", "skopeo"].iter().all(|program| has(program)) {
        return;
    }
    let (world, source) = (World::new(), Registry::new());
    let (_, own) = publish(&world, &source);
    let origin = format!("docker://{}", source.name("team/app:all"));
    let skopeo = |words: &[&str]| peer(Command::new("skopeo").args(words));
    for kind in ["oci", "oci-archive", "docker-archive"] {
        let place = format!("{kind}:{}:team/app:v1", world.scratch().join(kind).display());
        copy(&world, &[], &origin, &place);
        let back = format!("{kind}:{}:team/app:v2", world.scratch().join(format!("{kind}-back")).display());
        skopeo(&["copy", "-q", "--insecure-policy", &place, &back]);
        let there = copy(&world, &[], &back, &format!("store:{kind}:v1"));
        assert!(kind == "docker-archive" || there.starts_with("sha256:"));
        if kind == "oci" {
            assert_eq!(skopeo(&["inspect", "--format={{.Digest}}", &place]), own);
        }
    }
    let ids: Vec<String> = ["oci", "oci-archive", "docker-archive"]
        .map(|kind| world.inspect(&format!("{kind}:v1"), "{{.Id}}"))
        .into();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_wrong_is_not_copied() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let (world, source) = (World::new(), Registry::new());
    publish(&world, &source);
    let registry = DockerRegistry::new();
    let layout = world.scratch().join("layout");
    let place = |name: &str| format!("oci:{}:{name}", layout.display());
    let origin = format!("docker://{}", source.name("team/app:all"));
    copy(&world, &["--all"], &origin, &place("v1"));
    copy(&world, &[], &origin, &place("v2"));
    let fails = |source: &str, target: &str, words: &str| {
        world.mica(["image", "copy", source, target]).code(1).stderr_contains(words);
    };
    let there = format!("docker://{}", registry.name("wrong:v1"));
    fails(&place(""), &there, "it has several images: say which");
    fails(&place("v3"), &there, "it has no image of this name");
    fails("nowhere", &there, "is no place of images");
    fails("oci:/does/not/exist", &there, "no such file or directory");
    fails(&origin, "store:Upper", "must be lowercase");
    fails(&origin, &format!("oci:{}", world.scratch().display()), "no OCI layout");
    let both = ["image", "copy", "--all", "--platform", "linux/arm64", &origin, &there];
    world.mica(both).code(1).stderr_contains("contradict");
    // A blob that is not what it was.
    let blobs = layout.join("blobs/sha256");
    let largest = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    for path in largest.filter(|path| fs::metadata(path).unwrap().len() > 100_000) {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    fails(&place("v2"), &there, "as promised");
    world.mica(["manifest", "inspect", &registry.name("wrong:v1")]).code(1);
    // It is mended by a copy of the right one.
    copy(&world, &[], &origin, &place("v2"));
    copy(&world, &[], &place("v2"), &there);
}

#[test]
#[ignore = "needs root"]
fn privileged_copies_and_pushes_of_large_layers_need_little_memory() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let (world, source, registry) = (World::new(), Registry::new(), DockerRegistry::new());
    let layers: Vec<_> =
        (0..4_u64).map(|number| layer(&world, &format!("f{number}"), noise(number, 24 << 20))).collect();
    let (diff_ids, packed): (Vec<String>, Vec<Vec<u8>>) = layers.into_iter().unzip();
    let published = source.publish_stored("big", "v1", &packed, &diff_ids);
    let origin = format!("docker://{}", source.name("big:v1"));
    let there = format!("docker://{}", registry.name("big:copied"));
    let (output, memory) = world.invoke(["image", "copy", &origin, &there]).run_watched();
    output.success().stdout_contains(&published.digest);
    assert!(memory < MEMORY_MAX, "{memory} KiB for a copy");
    world.mica(["pull", "-q", &source.name("big:v1")]).success();
    for (tag, flags) in [
        ("relayed", &[][..]),
        ("gzip", &["--compression-format", "gzip"]),
        ("zstd", &["--compression-format", "zstd"]),
    ] {
        let name = registry.name(&format!("big-{tag}:v1"));
        world.mica(["tag", &source.name("big:v1"), &name]).success();
        let words = ["push"].iter().chain(flags).copied().chain([name.as_str()]);
        let (output, memory) = world.invoke(words).run_watched();
        output.success();
        assert!(memory < MEMORY_MAX, "{memory} KiB for a push ({tag})");
    }
}
