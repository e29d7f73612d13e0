//! `mica commit`: a writable layer becomes an image.

use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_commit_keeps_changes_and_removals() {
    let world = World::with_busybox();
    let script = "echo kept > /kept; rm /etc/group; mkdir -m 700 /closed; ln -s kept /link";
    world.mica(["run", "--name", "source", "busybox", "sh", "-c", script]).success();
    let id = world
        .mica(["commit", "-m", "why", "-a", "someone", "-c", "CMD [\"cat\", \"/kept\"]", "source", "result"])
        .success()
        .line();
    assert!(id.starts_with("sha256:"), "{id}");
    world.mica(["run", "--rm", "result"]).success().stdout_is("kept\n");
    world
        .mica([
            "run",
            "--rm",
            "result",
            "sh",
            "-c",
            "test ! -e /etc/group && cat /link && stat -c %a /closed",
        ])
        .success()
        .stdout_is("kept\n700\n");
    assert_eq!(world.inspect("result", "{{len .RootFS.Layers}} {{.Comment}} {{.Author}}"), "2 why someone");
}
