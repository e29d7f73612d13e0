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

#[test]
#[ignore = "needs root"]
fn privileged_ps_shows_the_id_of_an_image_whose_name_means_another_one_now() {
    let world = World::with_busybox();
    world.mica(["tag", "busybox", "moving"]).success();
    world.mica(["create", "--name", "box", "moving", "true"]).success();
    world.mica(["ps", "-a", "--format", "{{.Image}}"]).success().stdout_is("moving\n");
    world.mica(["commit", "box", "moving"]).success();
    let id = world.inspect("box", "{{.Image}}");
    let short = format!("{}\n", &id["sha256:".len()..][..12]);
    world.mica(["ps", "-a", "--format", "{{.Image}}"]).success().stdout_is(&short);
    world.mica(["rmi", "moving"]).success();
    world.mica(["ps", "-a", "--format", "{{.Image}}"]).success().stdout_is(&short);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_odd_but_docker_takes_it_is_taken() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "box", "busybox", "true"]).success();
    world
        .mica(["ps", "-a", "-f", "isolation=default", "--format", "{{.Names}}"])
        .success()
        .stdout_is("box\n");
    let id = world.inspect("box", "{{.ID}}");
    world
        .mica(["ps", "-aq", "--format", "{{.Names}}"])
        .success()
        .stdout_is(&format!("{}\n", &id[..12]))
        .stderr_contains("WARNING: Ignoring custom format");
}
