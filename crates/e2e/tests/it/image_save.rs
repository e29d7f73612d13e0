//! `mica save` and `load`: the same image comes back.

use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_save_and_load_give_the_same_image() {
    let world = World::with_busybox();
    world.mica(["run", "--name", "c", "busybox", "sh", "-c", "echo more > /more"]).success();
    world.mica(["commit", "c", "stack:v2"]).success();
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
