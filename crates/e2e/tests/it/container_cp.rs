//! `mica cp`: files in and out, of containers that run and that do not.

use e2e::World;
use std::fs;

#[test]
#[ignore = "needs root"]
fn privileged_cp_goes_both_ways() {
    let world = World::with_busybox();
    let file = world.scratch().join("letter");
    fs::write(&file, "hello").unwrap();
    world.mica(["create", "--name", "box", "busybox", "cat", "/root/letter"]).success();
    world.mica(["cp".as_ref(), file.as_os_str(), "box:/root/".as_ref()]).success();
    world.mica(["start", "-a", "box"]).success().stdout_is("hello");
    let back = world.scratch().join("back");
    world.mica(["cp".as_ref(), "box:/root/letter".as_ref(), back.as_os_str()]).success();
    assert_eq!(fs::read_to_string(back).unwrap(), "hello");
    world.mica(["cp", "box:/no/such", "-"]).code(1).stderr_contains("/no/such");
}
