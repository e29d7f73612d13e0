//! Images that mica pushed to Debian's registry, fetched by skopeo, podman and docker with equal digests.

use crate::peers::{Dockerd, has, peer, podman};
use e2e::{Demands, Distribution, World};
use std::process::Command;

/// Pushes busybox under the name and answers the digest of its manifest.
fn push(world: &World, name: &str, compression: &str) -> String {
    world.mica(["tag", "busybox", name]).success();
    world.mica(["push", "-q", "--compression-format", compression, name]).success();
    let digests = world.inspect(name, "{{join .RepoDigests \" \"}}");
    let (repository, _) = name.rsplit_once(':').unwrap();
    let own = digests.split(' ').find_map(|digest| digest.strip_prefix(&format!("{repository}@")));
    own.unwrap_or_else(|| panic!("{repository} is not among {digests}")).to_owned()
}

#[test]
#[ignore = "needs root"]
fn privileged_what_mica_pushes_comes_to_skopeo_and_podman_with_its_digests() {
    if !["docker-registry", "skopeo", "podman"].iter().all(|program| has(program)) {
        return;
    }
    let world = World::with_busybox();
    let registry =
        Distribution::start(&world.scratch().join("registry"), "127.0.0.1", &Demands::default()).unwrap();
    let id = world.inspect("busybox", "{{.Id}}");
    for compression in ["gzip", "zstd"] {
        let name = registry.name(&format!("team/{compression}:v1"));
        let digest = push(&world, &name, compression);
        let source = format!("docker://{name}");
        let told = peer(Command::new("skopeo").args([
            "inspect",
            "--tls-verify=false",
            "--format={{.Digest}}",
            &source,
        ]));
        assert_eq!(told, digest, "{compression}");
        // Fetches every blob and compares its digest.
        let copy = format!("dir:{}", world.scratch().join(compression).display());
        peer(Command::new("skopeo").args([
            "copy",
            "-q",
            "--insecure-policy",
            "--src-tls-verify=false",
            &source,
            &copy,
        ]));
        let pulled = peer(podman(&world).args(["pull", "--quiet", "--tls-verify=false", &name]));
        assert_eq!(format!("sha256:{pulled}"), id, "{compression}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_what_mica_pushes_runs_under_docker() {
    if !["docker-registry", "docker", "dockerd"].iter().all(|program| has(program)) {
        return;
    }
    let world = World::with_busybox();
    let registry =
        Distribution::start(&world.scratch().join("registry"), "127.0.0.1", &Demands::default()).unwrap();
    let name = registry.name("team/app:v1");
    let digest = push(&world, &name, "gzip");
    let daemon = Dockerd::start(&world);
    let pulled = peer(daemon.docker().args(["pull", &name]));
    assert!(pulled.contains(&format!("Digest: {digest}")), "{pulled}");
    let own = peer(daemon.docker().args(["image", "inspect", "-f", "{{.Id}}", &name]));
    assert_eq!(own, world.inspect("busybox", "{{.Id}}"));
}
