//! `mica save` and `load`: the same image comes back.

use e2e::{Entry, ImageArchive, Tarball, World};
use std::fs;

#[test]
#[ignore = "needs root"]
fn privileged_save_and_load_give_the_same_image() {
    let world = World::with_busybox();
    world.mica(["run", "--name", "source", "busybox", "sh", "-c", "echo more > /more"]).success();
    world.mica(["commit", "source", "stack:v2"]).success();
    let archive = world.scratch().join("stack.tar");
    world.mica(["save".as_ref(), "-o".as_ref(), archive.as_os_str(), "stack:v2".as_ref()]).success();
    let template = "{{.Id}} {{json .RootFS.Layers}}";
    let before = world.inspect("stack:v2", template);

    let other = World::new();
    other
        .mica(["load".as_ref(), "-i".as_ref(), archive.as_os_str()])
        .success()
        .stdout_contains("Loaded image: stack:v2");
    assert_eq!(other.inspect("stack:v2", template), before);
    other.mica(["run", "--rm", "stack:v2", "cat", "/more"]).success().stdout_is("more\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_save_writes_layers_byte_for_byte_and_the_same_each_time() {
    let world = World::new();
    // A layer that no tool of ours would write like this: junk after the end, an odd order, a file twice.
    let mut odd = Tarball::new();
    for entry in [
        Entry::file("z/late", "first"),
        Entry::global(&[("comment", "kept")]),
        Entry::file("z/late", "second"),
        Entry::directory("a/").modified(1),
        Entry::gnu_long_name("n".repeat(150)),
        Entry::file("short", "long"),
    ] {
        odd.add(&entry);
    }
    let odd = [odd.finish(), b"junk".repeat(999)].concat();
    let archive = ImageArchive::named("odd:1").layer(odd.clone());
    world.invoke(["load", "-q"]).stdin(archive.build()).run().success();
    let first = world.mica(["save", "odd:1"]).success().stdout.clone();
    let again = world.mica(["save", "odd:1"]).success().stdout.clone();
    assert!(first == again, "two archives of one image differ");
    assert!(
        first.windows(odd.len()).any(|window| window == odd),
        "the layer is not in the archive as it came"
    );
}

#[test]
#[ignore = "needs root"]
fn privileged_save_takes_several_images_and_shares_their_layers() {
    let world = World::with_busybox();
    for tag in ["many:1", "many:2", "other:1"] {
        world.mica(["tag", "busybox", tag]).success();
    }
    let alone = world.mica(["save", "other:1"]).success().stdout.len();
    let all = world.mica(["save", "many", "other:1", "busybox"]).success().stdout.clone();
    assert!(all.len() < alone + 8192, "layers were written twice");
    let other = World::new();
    other.invoke(["load"]).stdin(all).run().success();
    let mut names = other.mica(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success().lines();
    names.sort();
    assert_eq!(names, ["busybox:latest", "many:1", "many:2", "other:1"]);
    // By id an image is saved without a name.
    let id = world.inspect("busybox", "{{.Id}}");
    let nameless = World::new();
    let archive = world.mica(["save", &id]).success().stdout.clone();
    nameless.invoke(["load"]).stdin(archive).run().success().stdout_is(&format!("Loaded image ID: {id}\n"));
    nameless.mica(["images", "--format", "{{.Repository}}"]).success().stdout_is("<none>\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_save_fails_without_leaving_a_file() {
    let world = World::with_busybox();
    let path = world.scratch().join("half.tar");
    let save = |reference: &str| {
        world.mica(["save".as_ref(), "-o".as_ref(), path.as_os_str(), reference.as_ref()]).code(1).stderr()
    };
    assert!(save("nosuch").contains("No such image: nosuch"));
    assert!(!path.exists());
    // A layer that was changed behind our back.
    let layer = world.inspect("busybox", "{{index .LayerPaths 0}}");
    fs::write(format!("{layer}/etc/passwd"), "changed").unwrap();
    let error = save("busybox");
    assert!(error.contains("damaged"), "{error}");
    assert_eq!(fs::read_dir(world.scratch()).unwrap().count(), 0, "something was left");
}
