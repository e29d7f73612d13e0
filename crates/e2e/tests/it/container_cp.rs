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

#[test]
#[ignore = "needs root"]
fn privileged_nobody_waits_for_who_takes_an_archive_slowly() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "box", "busybox", "true"]).success();
    let pipe = world.scratch().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    // Both ends, so that the writers are not told that nobody reads.
    let mut held = std::fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let into_pipe = format!("exec \"$@\" > {}", pipe.display());
    for command in [&["export", "box"] as &[&str], &["cp", "box:/bin", "-"]] {
        let mut stalled = world.invoke_by("sh", &["-c", &into_pipe, "sh"], command).spawn();
        std::io::Read::read_exact(&mut held, &mut [0]).unwrap();
        world.mica(["start", "-a", "box"]).success();
        world.mica(["rm", "box"]).success();
        world.mica(["create", "--name", "box", "busybox", "true"]).success();
        stalled.signal(rustix::process::Signal::KILL);
        stalled.wait(std::time::Duration::from_secs(20)).code(137);
        drain(&mut held);
    }
}

/// Empties a pipe whose writers are gone.
fn drain(pipe: &mut std::fs::File) {
    rustix::io::ioctl_fionbio(&*pipe, true).unwrap();
    while std::io::Read::read(pipe, &mut [0; 65536]).is_ok() {}
    rustix::io::ioctl_fionbio(&*pipe, false).unwrap();
}
