//! `mica build` for several platforms, notes on manifests, and bases out of OCI layouts.

use e2e::{DockerRegistry, Output, Registry, World};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds a Dockerfile, of which the context holds nothing else, as `built`.
pub(crate) fn build(world: &World, dockerfile: &str, flags: &[&str]) -> Output {
    let directory = world.context(dockerfile);
    world.invoke([&["build", "-t", "built"], flags, &["."]].concat()).directory(directory).run()
}

/// Unpacks the archive of a layout beside it.
fn unpacked(archive: &Path) -> PathBuf {
    let directory = archive.with_extension("layout");
    fs::create_dir_all(&directory).unwrap();
    let tar = Command::new("tar").arg("xf").arg(archive).arg("-C").arg(&directory).status().unwrap();
    assert!(tar.success());
    directory
}

fn document(layout: &Path, descriptor: &Value) -> Value {
    let hex = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(hex)).unwrap()).unwrap()
}

const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS made\nARG TARGETARCH\nRUN echo for $TARGETARCH > /arch\n\
                     FROM scratch\nCOPY --from=made /arch /\n";

#[test]
#[ignore = "needs root"]
fn privileged_a_result_for_several_platforms_is_an_index_with_notes() {
    let world = World::with_busybox();
    let archive = world.scratch().join("result.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let metadata = world.scratch().join("metadata.json");
    let flags = [
        "--platform",
        "linux/amd64,linux/arm64",
        "-o",
        &output,
        "--annotation",
        "title=both",
        "--annotation",
        "index:kind=index",
        "--annotation",
        "manifest[linux/arm64]:only=arm",
        "--metadata-file",
        metadata.to_str().unwrap(),
    ];
    build(&world, CROSS, &flags).success().stderr_contains("linux/arm64 made");
    let layout = unpacked(&archive);
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    assert_eq!(
        top["manifests"][0]["annotations"]["io.containerd.image.name"],
        "docker.io/library/built:latest"
    );
    let index = document(&layout, &top["manifests"][0]);
    assert_eq!(index["annotations"]["kind"], "index");
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["platform"]["architecture"].clone())
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    let manifests = [0, 1].map(|place| document(&layout, &index["manifests"][place]));
    assert_eq!(manifests[0]["annotations"], json!({"title": "both"}));
    assert_eq!(manifests[1]["annotations"], json!({"title": "both", "only": "arm"}));
    let written: Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
    assert_eq!(written["containerimage.digest"], top["manifests"][0]["digest"]);
    // Each platform finds its own in it.
    for architecture in ["amd64", "arm64"] {
        let platform = format!("linux/{architecture}");
        world.mica(["load", "--platform", &platform, "-i", archive.to_str().unwrap()]).success();
        assert_eq!(world.inspect("built", "{{.Architecture}}"), architecture);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_the_store_names_the_image_of_this_machine_and_directories_have_all() {
    let world = World::with_busybox();
    build(&world, CROSS, &["--platform", "linux/arm64,linux/amd64"]).success();
    assert_eq!(world.inspect("built", "{{.Architecture}}"), "amd64");
    let out = world.scratch().join("out");
    let output = format!("type=local,dest={}", out.display());
    build(&world, CROSS, &["--platform", "linux/amd64,linux/arm64", "-o", &output]).success();
    assert_eq!(fs::read_to_string(out.join("linux_arm64/arch")).unwrap(), "for arm64\n");
    assert_eq!(fs::read_to_string(out.join("linux_amd64/arch")).unwrap(), "for amd64\n");
    let both = ["--platform", "linux/amd64,linux/arm64", "-o"];
    build(&world, CROSS, &[&both[..], &["type=tar,dest=x.tar"]].concat())
        .failure()
        .stderr_contains("one platform");
    build(&world, CROSS, &[&both[..], &["type=docker,dest=x.tar"]].concat())
        .failure()
        .stderr_contains("manifest lists");
    build(&world, CROSS, &["--annotation", "a=b"]).failure().stderr_contains("type=oci");
    build(&world, CROSS, &["--annotation", "a"]).failure().stderr_contains("key=value");
}

/// A name that stands for several images: each is found by its platform, and all go with the name.
#[test]
#[ignore = "needs root"]
fn privileged_a_name_in_the_store_stands_for_the_images_of_all_platforms() {
    let world = World::with_busybox();
    let both = ["--platform", "linux/amd64,linux/arm64"];
    build(&world, CROSS, &both).success();
    let architecture = |name: &str, platform: &str| {
        let words = ["image", "inspect", "--platform", platform, "-f", "{{.Architecture}} {{.Id}}", name];
        let told = world.mica(words).success().line();
        let (architecture, id) = told.split_once(' ').unwrap();
        (architecture.to_owned(), id.to_owned())
    };
    assert_eq!(world.inspect("built", "{{.Architecture}}"), "amd64");
    let (own, other) = (architecture("built", "linux/amd64"), architecture("built", "arm64"));
    assert_eq!((&own.0[..], &other.0[..]), ("amd64", "arm64"));
    world.mica(["image", "inspect", "--platform", "linux/s390x", "built"]).failure().stderr_contains("s390x");
    // One row, nothing dangling, and nothing that a pruning takes.
    world.mica(["images", "-q", "--no-trunc", "built"]).success().stdout_is(&format!("{}\n", own.1));
    world.mica(["images", "-q", "-f", "dangling=true"]).success().stdout_is("");
    world.mica(["image", "prune", "-f"]).success();
    // Another name stands for the same; a base for another platform is found by it.
    world.mica(["tag", "built", "again:1"]).success();
    assert_eq!(architecture("again:1", "linux/arm64"), other);
    let on_both = "FROM again:1\nCOPY Dockerfile /more\n";
    let directory = world.context(on_both);
    world.invoke([&["build", "-t", "onto"], &both[..], &["."]].concat()).directory(directory).run().success();
    assert_eq!(architecture("onto", "linux/arm64").0, "arm64");
    // The archive has an index with both, and one of them alone where that is asked for.
    let archive = world.scratch().join("saved.tar");
    world.mica(["save", "-o", archive.to_str().unwrap(), "built"]).success();
    let layout = unpacked(&archive);
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let index = document(&layout, &top["manifests"][0]);
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["platform"]["architecture"].clone())
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    let fresh = World::new();
    for (platform, expected) in [("linux/arm64", &other), ("linux/amd64", &own)] {
        fresh.mica(["load", "--platform", platform, "-i", archive.to_str().unwrap()]).success();
        assert_eq!(fresh.inspect("built", "{{.Id}}"), expected.1);
    }
    world.mica(["save", "--platform", "linux/arm64", "-o", archive.to_str().unwrap(), "built"]).success();
    fresh.mica(["load", "--platform", "linux/arm64", "-i", archive.to_str().unwrap()]).success();
    assert_eq!(fresh.inspect("built", "{{.Architecture}}"), "arm64");
    // Histories are those of the platform that is asked for.
    let history = ["history", "-q", "--no-trunc", "--platform", "linux/arm64", "built"];
    world.mica(history).success().stdout_contains(&other.1).stdout_lacks(&own.1);
    world.mica(["history", "--platform", "linux/s390x", "built"]).failure().stderr_contains("s390x");
    // All of it goes with the last name.
    world.mica(["rmi", "built"]).success().stdout_lacks(&other.1);
    world.mica(["rmi", "onto"]).success();
    world.mica(["rmi", "again:1"]).success().stdout_contains(&other.1);
    world.mica(["image", "inspect", &other.1]).failure();
    // One platform of a name may go: the other one stays, also if it is not that of this machine.
    build(&world, CROSS, &both).success();
    world.mica(["rmi", "--platform", "linux/s390x", "built"]).failure().stderr_contains("s390x");
    let gone = world.mica(["rmi", "--platform", "linux/arm64", "built"]).success().stdout();
    assert!(gone.contains(&format!("Deleted: {}", other.1)) && !gone.contains("Untagged"), "{gone}");
    assert_eq!(world.inspect("built", "{{.Id}}"), own.1);
    build(&world, CROSS, &both).success();
    world.mica(["rmi", "--platform", "linux/amd64", "built"]).success().stdout_contains(&own.1);
    assert_eq!(world.inspect("built", "{{.Id}}"), other.1);
    world
        .mica(["rmi", "--platform", "linux/arm64", "built"])
        .success()
        .stdout_contains("Untagged: built:latest");
    world.mica(["image", "inspect", "built"]).failure();
    // A build for one platform takes the name for itself.
    build(&world, CROSS, &both).success();
    build(&world, CROSS, &[]).success();
    world.mica(["image", "inspect", "--platform", "linux/arm64", "built"]).failure();
}

#[test]
#[ignore = "needs root"]
fn privileged_programs_of_another_platform_need_an_emulator() {
    let world = World::with_busybox();
    let directory = world.context("FROM scratch\nCOPY sh /bin/sh\nRUN true\n");
    // The head of a program for s390x.
    let mut head = b"\x7fELF\x02\x02\x01".to_vec();
    head.resize(16, 0);
    head.extend([0, 2, 0, 22, 0, 0, 0, 1]);
    head.resize(4096, 0);
    fs::write(directory.join("sh"), head).unwrap();
    std::os::unix::fs::chown(directory.join("sh"), Some(0), Some(0)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.join("sh"), mode).unwrap();
    let build = world.invoke(["build", "--platform", "linux/s390x", "."]).directory(&directory).run();
    build.failure().stderr_contains("exec format error").stderr_contains("binfmt_misc");
}

#[test]
#[ignore = "needs root"]
fn privileged_each_platform_gets_its_own_base_from_a_registry() {
    let world = World::with_busybox();
    let registry = Registry::new();
    let mut manifests = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Env": [format!("BASE={architecture}")]},
            "rootfs": {"type": "layers", "diff_ids": []},
        });
        let config = config.to_string();
        let digest = registry.put_blob("base", config.as_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": e2e::registry::MANIFEST_TYPE, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
        });
        let tag = format!("only-{architecture}");
        let digest = registry.put_manifest("base", &tag, e2e::registry::MANIFEST_TYPE, &manifest);
        manifests.push(json!({
            "mediaType": e2e::registry::MANIFEST_TYPE, "digest": digest, "size": manifest.to_string().len(),
            "platform": {"architecture": architecture, "os": "linux"},
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": e2e::registry::INDEX_TYPE, "manifests": manifests});
    registry.put_manifest("base", "1", e2e::registry::INDEX_TYPE, &index);
    let name = registry.name("base:1");
    let archive = world.scratch().join("result.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let dockerfile = format!("FROM {name}\nCOPY Dockerfile /\n");
    build(&world, &dockerfile, &["--platform", "linux/amd64,linux/arm64", "-o", &output]).success();
    world.mica(["load", "--platform", "linux/arm64", "-i", archive.to_str().unwrap()]).success();
    let shown = world.inspect("built", "{{.Architecture}} {{.Config.Env}}");
    assert!(shown.starts_with("arm64 [BASE=arm64 PATH="), "{shown}");
    // The name of the base means what it meant to this machine.
    assert_eq!(world.inspect(&name, "{{.Architecture}}"), "amd64");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_layout_is_a_base_and_a_source() {
    let world = World::with_busybox();
    let archive = world.scratch().join("base.tar");
    let output = format!("type=oci,dest={}", archive.display());
    let directory = world.context("FROM busybox\nRUN echo layout > /from-layout\n");
    world.invoke(["build", "-t", "base:1", "-o", &output, "."]).directory(directory).run().success();
    let layout = unpacked(&archive);
    let flag = format!("base=oci-layout://{}:1", layout.display());
    let dockerfile = "FROM base\nCOPY --from=base /from-layout /copied\nCMD cat /from-layout /copied\n";
    build(&world, dockerfile, &["--build-context", &flag]).success();
    world.mica(["run", "--rm", "built"]).success().stdout_is("layout\nlayout\n");
    // The layout's names are not taken over.
    world.mica(["image", "inspect", "base:1"]).failure();
    let absent = format!("base=oci-layout://{}:2", layout.display());
    build(&world, dockerfile, &["--build-context", &absent])
        .failure()
        .stderr_contains("no such image in the layout");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_result_for_several_platforms_is_pushed_as_an_index() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let name = registry.name("team/app:1");
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n";
    let metadata = world.scratch().join("metadata.json");
    let directory = world.context(dockerfile);
    let told = metadata.to_str().unwrap();
    let words = [
        "build",
        "-t",
        &name,
        "--push",
        "--platform",
        "linux/amd64,linux/arm64",
        "--metadata-file",
        told,
        ".",
    ];
    world.invoke(words).directory(directory).run().success().stderr_contains(&format!("pushing {name}"));
    let raw = std::process::Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")])
        .output()
        .unwrap();
    let index: serde_json::Value = serde_json::from_slice(&raw.stdout).unwrap();
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["platform"]["architecture"].clone())
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    let told: serde_json::Value = serde_json::from_slice(&fs::read(&metadata).unwrap()).unwrap();
    assert_eq!(told["containerimage.digest"], e2e::image_archive::digest(&raw.stdout));
    assert!(
        world.inspect(&name, "{{.RepoDigests}}").contains(told["containerimage.digest"].as_str().unwrap())
    );
    // Each machine finds its own.
    for architecture in ["amd64", "arm64"] {
        let other = World::new();
        other.mica(["pull", "-q", "--platform", &format!("linux/{architecture}"), &name]).success();
        assert_eq!(other.inspect(&name, "{{.Architecture}}"), architecture);
    }
}

/// What is in a registry under a name, with its text.
fn raw(name: &str) -> (Value, String) {
    let words = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    let told = Command::new("skopeo").args(words).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    (serde_json::from_slice(&told.stdout).unwrap(), String::from_utf8(told.stdout).unwrap())
}

#[test]
#[ignore = "needs root"]
fn privileged_a_name_of_the_store_is_pushed_with_all_its_platforms() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let name = registry.name("team/stored:1");
    let directory = world.context("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
    let words = ["build", "-t", &name, "--platform", "linux/amd64,linux/arm64", "."];
    world.invoke(words).directory(&directory).run().success();
    let pushed = world.mica(["push", "-q", &name]).success().stdout();
    let (index, text) = raw(&name);
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["platform"]["architecture"].clone())
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"], "{pushed}");
    let digest = e2e::image_archive::digest(text.as_bytes());
    assert!(world.inspect(&name, "{{.RepoDigests}}").contains(&digest));
    for platform in ["linux/amd64", "linux/arm64"] {
        let other = World::new();
        other.mica(["pull", "-q", "--platform", platform, &name]).success();
        assert_eq!(format!("linux/{}", other.inspect(&name, "{{.Architecture}}")), platform);
    }
    // One of them alone; and the names here are as they were.
    world.mica(["push", "-q", "--platform", "linux/arm64", &name]).success();
    let (manifest, _) = raw(&name);
    assert!(manifest["manifests"].is_null() && manifest["config"]["digest"].is_string(), "{manifest}");
    world.mica(["push", "--platform", "linux/s390x", &name]).failure().stderr_contains("s390x");
    assert_eq!(world.mica(["images", "-q", &name]).success().stdout().lines().count(), 1);
    world.mica(["rmi", &name]).success();
    world.mica(["images", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_notes_reach_what_is_pushed() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let world = World::new();
    let registry = DockerRegistry::new();
    let directory = world.context("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
    let push = |name: &str, flags: &[&str]| {
        let words = [&["build", "--push", "-t", name], flags, &["."]].concat();
        world.invoke(words).directory(&directory).run()
    };
    let (one, both) = (registry.name("one:1"), registry.name("both:1"));
    push(&one, &["--annotation", "a=b"]).success();
    assert_eq!(raw(&one).0["annotations"]["a"], "b");
    push(&one, &["--annotation", "index:a=b"]).failure().stderr_contains("index annotations");
    let flags = [
        "--platform",
        "linux/amd64,linux/arm64",
        "--annotation",
        "index:on=index",
        "--annotation",
        "manifest[linux/arm64]:on=arm",
        "--annotation",
        "manifest-descriptor:on=descriptor",
    ];
    push(&both, &flags).success();
    let (index, _) = raw(&both);
    assert_eq!(index["annotations"]["on"], "index");
    for (number, expected) in [(0, Value::Null), (1, Value::from("arm"))] {
        let listed = &index["manifests"][number];
        assert_eq!(listed["annotations"]["on"], "descriptor", "{index}");
        let of = both.replace(":1", &format!("@{}", listed["digest"].as_str().unwrap()));
        assert_eq!(raw(&of).0["annotations"]["on"], expected);
    }
}
