//! `mica manifest`: lists of manifests beside those that docker makes of the same images, byte for byte.

use crate::peers::{has, peer};
use e2e::{DockerRegistry, Entry, ImageArchive, Tarball, World};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Pushes an image with one file for an architecture; answers its name.
fn push(world: &World, registry: &DockerRegistry, name: &str, architecture: &str) -> String {
    let layer = Tarball::new().with(Entry::file("file", name)).finish();
    let full = registry.name(name);
    let archive =
        ImageArchive::named(&full).layer(layer).config("/architecture", architecture.into()).build();
    let path = world.scratch().join("image.tar");
    fs::write(&path, archive).unwrap();
    world.mica(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), path.as_os_str()]).success();
    world.mica(["push", "-q", &full]).success();
    full
}

/// docker's client with a directory of its own.
fn docker(directory: &Path, words: &[&str]) -> String {
    let mut command = Command::new("docker");
    peer(
        command
            .env("DOCKER_CONFIG", directory)
            .env("DOCKER_CLI_EXPERIMENTAL", "enabled")
            .arg("manifest")
            .args(words),
    )
}

#[test]
#[ignore = "needs root"]
fn privileged_a_list_is_made_annotated_pushed_and_pulled() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let native = e2e::registry::architecture();
    let (own, other) =
        (push(&world, &registry, "app:own", native), push(&world, &registry, "other:arm", "arm"));
    let list = registry.name("app:all");
    let manifest = |words: &[&str]| world.mica(["manifest"].iter().chain(words));
    manifest(&["create", &list, &own]).success().stdout_is(&format!("Created manifest list {list}\n"));
    let again = manifest(&["create", &list, &other]).code(1).clone();
    again.stderr_is("refusing to amend an existing manifest list with no --amend flag\n");
    manifest(&["create", "--amend", &list, &other]).success();
    let unknown = ["annotate", "--os", "linux", &list, &registry.name("app:none")];
    manifest(&unknown).code(1).stderr_contains("does not exist in");
    let wrong = manifest(&["annotate", "--arch", "abacus", &list, &other]).code(1).clone();
    wrong.stderr_contains("manifest entry for image has unsupported os/arch combination: /abacus");
    let right = ["annotate", "--variant", "v7", "--os-features", "a,b", "--os-version", "1", &list, &other];
    manifest(&right).success();
    let shown: Value = serde_json::from_str(&manifest(&["inspect", &list]).success().stdout()).unwrap();
    let platforms: Vec<_> =
        shown["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]).collect();
    assert_eq!(platforms[0]["architecture"], native);
    assert_eq!(
        platforms[1].to_string(),
        r#"{"architecture":"arm","os":"linux","os.version":"1","os.features":["a","b"],"variant":"v7"}"#
    );
    let one = manifest(&["inspect", "-v", &list, &other]).success().stdout();
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(
        (&one["Ref"], &one["Descriptor"]["platform"]["variant"]),
        (&other.as_str().into(), &"v7".into())
    );
    let pushed = manifest(&["push", "-p", &list]).success().stdout();
    let digest = pushed.lines().last().unwrap().to_owned();
    assert!(pushed.starts_with(&format!("Pushed ref {}@sha256:", registry.name("app"))), "{pushed}");
    // The other repository's blobs are here now.
    let reader = World::new();
    let pulled = reader.mica(["pull", &list]).success().clone();
    pulled.stdout_contains(&format!("Digest: {digest}"));
    reader.mica(["pull", "-q", "--platform", "linux/arm/v7", &list]).success();
    // Nothing is left of the list here, but the registry has it.
    manifest(&["push", &list]).code(1).stderr_is(&format!("No such manifest: {list}\n"));
    manifest(&["rm", &list, "other"])
        .code(1)
        .stderr_is(&format!("No such manifest: {list}\nNo such manifest: docker.io/library/other:latest\n"));
    let remote = manifest(&["inspect", &list]).success().stdout();
    assert_eq!(e2e::image_archive::digest(remote.trim_end().as_bytes()), digest);
    let all = manifest(&["inspect", "-v", &list]).success().stdout();
    let all: Value = serde_json::from_str(&all).unwrap();
    assert!(all[1]["OCIManifest"]["layers"].is_array() && all[1]["Raw"].is_string(), "{all}");
    assert!(all[1]["Ref"].as_str().unwrap().starts_with(&format!("{list}@sha256:")));
    manifest(&["create", &registry.name("app:nested"), &list])
        .code(1)
        .stderr_is(&format!("{list} is a manifest list\n"));
    let none = registry.name("app:none");
    manifest(&["inspect", &none]).code(1).stderr_is(&format!("no such manifest: {none}\n"));
    manifest(&["create", "elsewhere.example/app:all", &own]).success();
    let foreign = manifest(&["push", "elsewhere.example/app:all"]).code(1).clone();
    foreign.stderr_contains("cannot use source images from a different registry than the target image");
    manifest(&["rm", "elsewhere.example/app:all"]).success();
    manifest(&["inspect", "-q", &list]).code(125).stderr_contains("unknown shorthand flag: 'q' in -q");
    manifest(&["create", &list]).code(1).stderr_contains("requires at least 2 arguments");
}

#[test]
#[ignore = "needs root"]
fn privileged_lists_are_byte_for_byte_those_of_docker() {
    if !["docker-registry", "docker", "skopeo"].iter().all(|program| has(program)) {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let native = e2e::registry::architecture();
    push(&world, &registry, "app:own", native);
    push(&world, &registry, "app:arm", "arm");
    // Docker of Debian reads no manifests of OCI here.
    for tag in ["own", "arm"] {
        let name = format!("docker://{}", registry.name(&format!("app:{tag}")));
        let words = ["--src-tls-verify=false", "--dest-tls-verify=false", "--format=v2s2", &name, &name];
        peer(Command::new("skopeo").args(["copy", "-q", "--insecure-policy"]).args(words));
    }
    let directory = world.scratch().join("docker");
    fs::create_dir(&directory).unwrap();
    let manifest = |words: &[&str]| world.mica(["manifest"].iter().chain(words)).success().stdout();
    let (own, arm, list) = (registry.name("app:own"), registry.name("app:arm"), registry.name("app:all"));
    for words in [
        vec!["create", "--insecure", &list, &own, &arm],
        vec!["annotate", &list, &arm, "--variant", "v6"],
        vec!["inspect", &list],
        vec!["inspect", "--insecure", &own],
        vec!["push", "--insecure", &list],
        vec!["inspect", "--insecure", &arm],
        vec!["inspect", "--insecure", "-v", &arm],
        vec!["inspect", "--insecure", "-v", &registry.name("app:all")],
    ] {
        assert_eq!(manifest(&words).trim_end(), docker(&directory, &words), "{words:?}");
    }
}
