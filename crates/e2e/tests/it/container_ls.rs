//! `mica ps`: which containers are listed, and how.

use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_ps_lists_running_and_with_all_every_container() {
    let world = World::with_busybox();
    let id = world.sleeper("awake");
    world.mica(["run", "--name", "done", "busybox", "sh", "-c", "exit 3"]).code(3);
    world.mica(["ps", "-q"]).success().stdout_is(&format!("{}\n", &id[..12]));
    world.mica(["ps", "-q", "--no-trunc"]).success().stdout_is(&format!("{id}\n"));
    let output = world.mica(["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Image}}"]);
    output.success().stdout_is("done exited busybox\nawake running busybox\n");
    world
        .mica(["container", "ls", "-a"])
        .success()
        .stdout_contains("Exited (3)")
        .stdout_contains("CONTAINER ID");
    world.mica(["ps", "-aq", "--filter", "status=exited", "--filter", "name=done"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_ps_understands_short_ids_and_names() {
    let world = World::with_busybox();
    let id = world.sleeper("someone");
    assert_eq!(world.inspect(&id[..6], "{{.Name}}"), "/someone");
    assert_eq!(world.inspect("someone", "{{.Id}}"), id);
    world.mica(["inspect", "nobody"]).code(1).stderr_contains("nobody");
}
