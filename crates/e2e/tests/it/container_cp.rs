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
fn privileged_cp_to_a_link_that_leads_nowhere_makes_what_it_points_at() {
    let world = World::with_busybox();
    let file = world.scratch().join("letter");
    fs::write(&file, "hello").unwrap();
    world
        .mica(["run", "--name", "box", "busybox", "sh", "-c", "ln -s /there /link; ln -s link /chain"])
        .success();
    world.mica(["cp".as_ref(), file.as_os_str(), "box:/chain".as_ref()]).success();
    world.mica(["diff", "box"]).success().stdout_contains("A /there\n");
    let link = world.scratch().join("link");
    world.mica(["cp".as_ref(), "box:/link".as_ref(), link.as_os_str()]).success();
    assert_eq!(fs::read_link(link).unwrap(), std::path::Path::new("/there"));
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

#[test]
#[ignore = "needs root"]
fn privileged_what_is_mounted_is_seen_in_a_container_that_does_not_run() {
    let world = World::with_busybox();
    let host = world.scratch().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("of-host"), "from the host").unwrap();
    let bind = format!("{}:/bound", host.display());
    let shut = format!("{}:/shut:ro", host.display());
    let script = "echo kept > /data/note; echo below > /plain";
    let words =
        ["run", "--name", "box", "-v", "data:/data", "-v", &bind, "-v", &shut, "busybox", "sh", "-c", script];
    world.mica(words).success();
    let out = |path: &str| {
        let target = world.scratch().join("out");
        world.mica(["cp".as_ref(), format!("box:{path}").as_ref(), target.as_os_str()]).success();
        fs::read_to_string(target).unwrap()
    };
    assert_eq!((out("/data/note"), out("/bound/of-host")), ("kept\n".to_owned(), "from the host".to_owned()));
    assert_eq!(out("/plain"), "below\n");
    let file = world.scratch().join("letter");
    fs::write(&file, "new").unwrap();
    let into = |path: &str| world.mica(["cp".as_ref(), file.as_os_str(), format!("box:{path}").as_ref()]);
    into("/data/letter").success();
    into("/bound/letter").success();
    into("/shut/letter").code(1).stderr_contains("marked read-only");
    assert_eq!(fs::read_to_string(host.join("letter")).unwrap(), "new");
    assert!(!fs::metadata("/bound").is_ok_and(|place| place.is_dir()), "nothing shows on the host");
    // It is in the volume, not under it.
    world.mica(["run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/letter"]).success().stdout_is("new");
    world.mica(["cp", "box:/data", "-"]).success().stdout_contains("letter");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_volume_can_be_written_where_the_root_cannot() {
    let world = World::with_busybox();
    let words =
        ["create", "--name", "box", "--read-only", "-v", "data:/data", "busybox", "cat", "/data/letter"];
    world.mica(words).success();
    let file = world.scratch().join("letter");
    fs::write(&file, "new").unwrap();
    let into = |path: &str| world.mica(["cp".as_ref(), file.as_os_str(), format!("box:{path}").as_ref()]);
    into("/letter").code(1).stderr_contains("container rootfs is marked read-only");
    into("/data/").success();
    world.mica(["start", "-a", "box"]).success().stdout_is("new");
}

#[test]
#[ignore = "needs root"]
fn privileged_who_sends_an_archive_slowly_keeps_nobody_from_starting() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "box", "busybox", "true"]).success();
    // More than a pipe holds, so that the first part has been taken when the rest stalls.
    let mut archive = e2e::Tarball::new();
    archive.add(&e2e::Entry::file("large", vec![b'x'; 3 << 20]));
    let archive = archive.finish();
    let mut sending = world.invoke(["cp", "-", "box:/root"]).spawn();
    let mut input = sending.stdin().unwrap();
    let (first, rest) = archive.split_at(archive.len() / 2);
    std::io::Write::write_all(&mut input, first).unwrap();
    world.mica(["start", "-a", "box"]).success();
    std::io::Write::write_all(&mut input, rest).unwrap();
    drop(input);
    sending.wait(std::time::Duration::from_secs(30)).success();
    assert!(world.mica(["cp", "box:/root/large", "-"]).success().stdout().len() > 3 << 20);
}
