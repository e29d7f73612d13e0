//! What an image says of itself is not taken for what the user or the engine has said: names, labels, histories.

use e2e::fixture::busybox_layer;
use e2e::{Entry, ImageArchive, Tarball, World};
use serde_json::json;
use std::fs;

fn load(world: &World, archive: &[u8]) -> String {
    let path = world.scratch().join("image.tar");
    fs::write(&path, archive).unwrap();
    world.mica(["load".as_ref(), "-i".as_ref(), path.as_os_str()]).success().stdout()
}

fn named(name: &str, content: &str) -> ImageArchive {
    ImageArchive::named(name).layer(Tarball::new().with(Entry::file("file", content)).finish())
}

#[test]
#[ignore = "needs root"]
fn privileged_reg_17_an_archive_gives_the_names_it_lists_and_no_others() {
    let world = World::new();
    load(&world, &named("app:prod", "trusted").build());
    let trusted = world.inspect("app:prod", "{{.Id}}");
    // Names in the config, or beside the manifest, are none.
    let sly = named("other:1", "sly")
        .config("/RepoTags", json!(["app:prod"]))
        .config("/config/Image", json!("app:prod"))
        .config("/repo_tags", json!(["app:prod"]))
        .extra(Entry::file("repositories", r#"{"app":{"prod":"0000"}}"#));
    let told = load(&world, &sly.build());
    assert_eq!(told.lines().collect::<Vec<_>>(), ["Loaded image: other:1"]);
    assert_eq!(world.inspect("app:prod", "{{.Id}}"), trusted);
    // Nor are words of a layout that are no names.
    for wrong in ["../../etc:x", "Upper:1", "a b:c", "app:prod\u{1b}[2J", "x@sha256:00", "://:"] {
        let archive = named(wrong, wrong).build_oci();
        let path = world.scratch().join("image.tar");
        fs::write(&path, archive).unwrap();
        let told = world.mica(["load".as_ref(), "-i".as_ref(), path.as_os_str()]);
        assert!(!told.stdout().contains('\u{1b}'), "{wrong:?}");
        let names = world.mica(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success().lines();
        let known = ["app:prod", "other:1", "<none>:<none>"];
        assert!(names.iter().all(|name| known.contains(&name.as_str())), "{wrong:?}: {names:?}");
    }
    // What an archive does list moves, as docker has it, and the image that had the name stays without one.
    load(&world, &named("app:prod", "newer").build());
    assert_ne!(world.inspect("app:prod", "{{.Id}}"), trusted);
    world.mica(["image", "inspect", &trusted]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_reg_18_labels_are_words_and_nothing_else() {
    let world = World::new();
    let mark = world.scratch().join("mark");
    let script = format!("/bin/touch {}", mark.display());
    let names = [
        "mica.monitor",
        "io.mica.hook",
        "com.docker.compose.project",
        "io.containerd.runc.v2.group",
        "io.cri-containerd.kind",
        "io.podman.annotations.init",
        "devices.nvidia.com/gpu",
        "maintainer",
        "run.oci.hooks.prestart",
        "org.opencontainers.image.ref.name",
        "desktop.docker.io/binds/0/Source",
    ];
    let labels: serde_json::Map<_, _> =
        names.iter().map(|name| ((*name).to_owned(), json!(script))).collect();
    let archive = ImageArchive::named("labelled:1").layer(busybox_layer().unwrap());
    load(&world, &archive.config("/config/Labels", json!(labels)).build());
    let run = world.mica(["run", "--name", "one", "--network", "none", "labelled:1", "cat", "/proc/mounts"]);
    run.success().stdout_lacks("mark");
    let shown = world.inspect("one", "{{json .Config.Labels}}");
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown, json!(labels));
    assert_eq!(
        world.inspect("one", "{{len .Mounts}} {{.HostConfig.Init}} {{len .HostConfig.Devices}}"),
        "0 <nil> 0"
    );
    // The engine finds nothing by a label that it has not put there itself.
    world.mica(["system", "prune", "-f"]).success();
    world.mica(["image", "inspect", "labelled:1"]).success();
    assert!(!mark.exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_reg_19_a_history_of_somebody_else_spares_no_step() {
    let world = World::with_busybox();
    let base = world.inspect("busybox", "{{index .RootFS.Layers 0}}");
    fs::write(world.scratch().join("Dockerfile"), "FROM busybox\nRUN echo good > /made\n").unwrap();
    let context = world.scratch().display().to_string();
    let history = json!([
        {"created": "2024-01-02T03:04:05Z", "created_by": "layer 1"},
        {"created": "2024-01-02T03:04:05Z", "created_by": "RUN /bin/sh -c echo good > /made # buildkit",
         "comment": "buildkit.dockerfile.v0"},
    ]);
    let evil = Tarball::new().with(Entry::file("made", "evil\n")).finish();
    let archive = ImageArchive::named("evil:1").layer(busybox_layer().unwrap()).layer(evil);
    load(
        &world,
        &archive
            .config("/history", history)
            .config("/parent", json!(world.inspect("busybox", "{{.Id}}")))
            .build(),
    );
    assert_eq!(world.inspect("evil:1", "{{index .RootFS.Layers 0}}"), base, "it stands on the same base");
    let build = |tag: &str, flags: &[&str]| {
        let words = ["build", "-q", "--network", "none", "-t", tag];
        world.mica(words.iter().chain(flags).copied().chain([context.as_str()])).success();
        world.mica(["run", "--rm", "--network", "none", tag, "cat", "/made"]).success().stdout()
    };
    assert_eq!(build("mine:1", &[]), "good\n");
    assert_eq!(build("mine:2", &["--cache-from", "evil:1"]), "good\n");
}
