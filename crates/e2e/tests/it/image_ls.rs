//! `mica images`, `tag`, `rmi`, `history`: names and stacks.

use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_images_are_listed_tagged_and_untagged() {
    let world = World::with_busybox();
    world.mica(["images", "--format", "{{.Repository}}:{{.Tag}}"]).success().stdout_is("busybox:latest\n");
    world.mica(["tag", "busybox", "other:v1"]).success();
    let first = world.mica(["images", "-q", "--no-trunc", "other"]).success().line();
    assert_eq!(first, world.inspect("busybox", "{{.Id}}"));
    world.mica(["rmi", "other:v1"]).success().stdout_contains("Untagged: other:v1");
    world.mica(["create", "--name", "user", "busybox"]).success();
    world.mica(["rmi", "busybox"]).code(1).stderr_contains("container");
    world.mica(["rm", "user"]).success();
    world.mica(["rmi", "busybox"]).success().stdout_contains("Deleted: sha256:");
    world.mica(["images", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_history_walks_the_stack() {
    let world = World::with_busybox();
    world.mica(["history", "busybox"]).success().stdout_contains("layer 1").stdout_contains("CREATED BY");
}
