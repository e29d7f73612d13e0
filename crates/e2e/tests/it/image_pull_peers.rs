//! Images that skopeo, podman and docker pushed to Debian's registry, pulled with equal digests.

use crate::peers::{Dockerd, has, peer, podman};
use e2e::{Demands, Distribution, World, fixture};
use std::process::Command;

fn skopeo(words: &[&str]) -> String {
    peer(Command::new("skopeo").args(words))
}

#[test]
#[ignore = "needs root"]
fn privileged_what_skopeo_and_podman_push_comes_with_their_digests() {
    if !["docker-registry", "skopeo", "podman"].iter().all(|program| has(program)) {
        return;
    }
    let world = World::new();
    let registry =
        Distribution::start(&world.scratch().join("registry"), "127.0.0.1", &Demands::default()).unwrap();
    let archive = format!("docker-archive:{}", fixture::busybox_archive().unwrap().display());
    let reference = |tag: &str| registry.name(&format!("team/app:{tag}"));
    let mut id = None;
    for (tag, format, compression) in
        [("oci", "oci", "gzip"), ("zstd", "oci", "zstd"), ("schema2", "v2s2", "gzip")]
    {
        let target = format!("docker://{}", reference(tag));
        let format = format!("--format={format}");
        let compression = format!("--dest-compress-format={compression}");
        skopeo(&[
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            "--dest-compress",
            &format,
            &compression,
            &archive,
            &target,
        ]);
        let digest = skopeo(&["inspect", "--tls-verify=false", "--format={{.Digest}}", &target]);
        let name = reference(tag);
        world.mica(["pull", &name]).success().stdout_contains(&format!("Digest: {digest}"));
        let own = world.inspect(&name, "{{.Id}}");
        assert_eq!(world.inspect(&name, "{{json .RepoDigests}}").matches(&digest).count(), 1, "{tag}");
        world.mica(["run", "--rm", &name, "true"]).success();
        if tag != "schema2" {
            assert_eq!(*id.get_or_insert(own.clone()), own, "one config, whatever the compression");
        }
    }
    let loaded = peer(podman(&world).args(["pull", "--quiet", &archive]));
    let name = reference("podman");
    peer(podman(&world).args(["push", "--quiet", "--tls-verify=false", &loaded, &name]));
    let digest =
        skopeo(&["inspect", "--tls-verify=false", "--format={{.Digest}}", &format!("docker://{name}")]);
    world.mica(["pull", &name]).success().stdout_contains(&format!("Digest: {digest}"));
    let all = world.mica(["pull", "-a", &registry.name("team/app")]).success().stdout();
    for tag in ["oci", "zstd", "schema2", "podman"] {
        assert!(all.contains(&format!("{tag}: Pulling from team/app")), "{all}");
    }
    // A multi-arch index.
    let (list, target) = ("multi", reference("multi"));
    peer(podman(&world).args(["manifest", "create", list]));
    let native = e2e::registry::architecture();
    let base = format!("docker://{name}");
    for architecture in ["s390x", native] {
        peer(podman(&world).args([
            "manifest",
            "add",
            "--tls-verify=false",
            "--arch",
            architecture,
            list,
            &base,
        ]));
    }
    let target = format!("docker://{target}");
    peer(podman(&world).args(["manifest", "push", "--all", "--tls-verify=false", list, &target]));
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &target]);
    let digest = e2e::image_archive::digest(raw.as_bytes());
    world.mica(["pull", &reference("multi")]).success().stdout_contains(&format!("Digest: {digest}"));
    world.mica(["rmi", "-f", &reference("multi")]).success();
    let digested = registry.name(&format!("team/app@{digest}"));
    world.mica(["pull", "-q", &digested]).success();
    world.mica(["run", "--rm", &digested, "true"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_docker_pushes_runs_on_an_empty_store() {
    if !["docker-registry", "docker", "dockerd"].iter().all(|program| has(program)) {
        return;
    }
    let world = World::new();
    let registry =
        Distribution::start(&world.scratch().join("registry"), "127.0.0.1", &Demands::default()).unwrap();
    let daemon = Dockerd::start(&world);
    let name = registry.name("team/app");
    peer(daemon.docker().args(["load", "-q", "-i"]).arg(fixture::busybox_archive().unwrap()));
    peer(daemon.docker().args(["tag", fixture::BUSYBOX, &name]));
    let pushed = peer(daemon.docker().args(["push", &name]));
    let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap().to_owned();
    let output = world.mica(["run", "--rm", &name, "echo", "works"]).success().clone();
    output.stdout_is("works\n").stderr_contains(&format!("Unable to find image '{name}:latest' locally"));
    output.stderr_contains(&format!("Digest: {digest}"));
    let docker_id = peer(daemon.docker().args(["image", "inspect", "-f", "{{.Id}}", &name]));
    assert_eq!(world.inspect(&name, "{{.Id}}"), docker_id);
    assert_eq!(world.inspect(&name, "{{.RepoDigests}}"), format!("[{name}@{digest}]"));
}
