//! Volumes and images that lead mounts, copies and `cp` astray: nothing of the host is reached.

use e2e::{Entry, ImageArchive, Tarball, World, fixture};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Loads an image named `trap` with these entries above busybox, and volumes asked for at these places.
fn load_trap(world: &World, entries: &[Entry], volumes: &[&str]) {
    let mut layer = Tarball::new();
    entries.iter().for_each(|entry| layer.add(entry));
    let volumes: serde_json::Map<_, _> =
        volumes.iter().map(|place| ((*place).to_owned(), serde_json::json!({}))).collect();
    let archive = ImageArchive::named("trap")
        .layer(fixture::busybox_layer().unwrap())
        .layer(layer.finish())
        .config("/config/Volumes", volumes.into())
        .config("/config/Cmd", serde_json::json!(["true"]));
    let path = world.scratch().join("trap.tar");
    fs::write(&path, archive.build()).unwrap();
    world.mica(["load", "-q", "-i", path.to_str().unwrap()]).success();
}

/// A directory of the host that nobody may reach.
fn canary(world: &World) -> PathBuf {
    let path = world.scratch().join("canary");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("secret"), "SECRET").unwrap();
    path
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_08_09_links_do_not_lead_mounts_onto_proc() {
    let world = World::with_busybox();
    let entries = [
        Entry::symlink("v", "/proc/self/attr/exec"),
        Entry::symlink("w", "/proc/sys"),
        Entry::directory("x"),
    ];
    load_trap(&world, &entries, &[]);
    let file = world.scratch().join("file");
    fs::write(&file, "text").unwrap();
    let onto = |place: &str| format!("{}:{place}", file.display());
    let inside = "inside /proc";
    let run = |flag: &str, value: &str| world.mica(["run", "--rm", flag, value, "trap", "cat", "/x/y"]);
    for place in ["/v", "/proc/version", "/proc/self/attr/current", "/w/kernel/core_pattern"] {
        run("-v", &onto(place)).code(125).stderr_contains(inside);
    }
    for (flag, value) in [
        ("--tmpfs", "/w"),
        ("--tmpfs", "/proc/sys"),
        ("-v", "/tmp:/proc"),
        ("-v", "vol:/w"),
        ("--tmpfs", "/proc"),
    ] {
        run(flag, value).code(125).stderr_contains(inside);
    }
    // The twins: an ordinary place, and a file that may be covered.
    run("-v", &onto("/x/y")).success().stdout_is("text");
    world
        .mica(["run", "--rm", "-v", &onto("/proc/cpuinfo"), "busybox", "cat", "/proc/cpuinfo"])
        .success()
        .stdout_is("text");
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_12_targets_behind_links_stay_inside() {
    let world = World::with_busybox();
    let canary = canary(&world);
    let outside = canary.to_str().unwrap();
    let entries =
        [Entry::symlink("data", outside), Entry::symlink("a", "../../../../../.."), Entry::directory("ok")];
    load_trap(&world, &entries, &[]);
    let script = "echo seen > /data/file; cat /data/file";
    // The link is followed inside the container, where there is no such directory.
    world
        .mica(["run", "--rm", "-v", "vol:/data/sub", "-v", "vol2:/a/new/b", "trap", "ls", "/new/b"])
        .code(125);
    assert_eq!(names(&canary), ["secret"]);
    world.mica(["run", "--rm", "-v", "vol2:/a/new/b", "trap", "touch", "/new/b/file"]).success();
    assert!(world.root().join("volume/vol2/_data/file").exists());
    world
        .mica([
            "run",
            "--rm",
            "-v",
            "vol:/ok/data",
            "busybox",
            "sh",
            "-c",
            &script.replace("/data", "/ok/data"),
        ])
        .success();
    assert!(!PathBuf::from("/new").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_12_a_volume_that_changes_meanwhile_leads_nowhere() {
    let world = World::with_busybox();
    let canary = canary(&world);
    world.mica(["volume", "create", "vol"]).success();
    let data = world.root().join("volume/vol/_data");
    fs::create_dir(data.join("a")).unwrap();
    symlink(&canary, data.join("lnk")).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    data.join("a"),
                    rustix::fs::CWD,
                    data.join("lnk"),
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        });
        for _ in 0..40 {
            let output =
                world.mica(["run", "--rm", "-v", "vol:/vol", "-v", "vol2:/vol/a/b", "busybox", "true"]);
            assert!(matches!(output.code, 0 | 125), "{}", output.describe());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(&canary), ["secret"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_18_a_part_of_a_volume_does_not_lead_out_of_it() {
    let world = World::with_busybox();
    let canary = canary(&world);
    world.mica(["volume", "create", "vol"]).success();
    let data = world.root().join("volume/vol/_data");
    fs::create_dir_all(data.join("hack")).unwrap();
    fs::create_dir(data.join("subdir")).unwrap();
    fs::write(data.join("subdir/file"), "inside").unwrap();
    symlink("/", data.join("hack/root")).unwrap();
    symlink("root", data.join("hack/bad")).unwrap();
    symlink("../subdir", data.join("hack/good")).unwrap();
    symlink(&canary, data.join("hack/canary")).unwrap();
    let run = |part: &str| {
        let mount = format!("type=volume,src=vol,dst=/d,volume-subpath={part}");
        world.mica(["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", "cat /d/file /d/secret"])
    };
    run("hack/good").failure().stdout_is("inside");
    for part in ["hack/root", "hack/bad", "hack/canary", "hack/root/etc"] {
        run(part).code(125).stderr_contains("escapes base").stdout_is("");
    }
    run("hack/missing").code(125).stderr_contains("hack/missing");
    for part in ["../../etc", "/etc"] {
        run(part).code(125).stderr_contains("relative path within the volume");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_19_an_image_cannot_fill_a_volume_with_the_hosts_files() {
    let world = World::with_busybox();
    let canary = canary(&world);
    let outside = canary.to_str().unwrap();
    let up = format!("/../../../../../..{outside}");
    let entries =
        [Entry::symlink("link", outside), Entry::directory("own"), Entry::symlink("own/l", outside)];
    load_trap(&world, &entries, &["/link", &up, "/own"]);
    world.mica(["run", "--name", "box", "trap"]);
    for volume in world.mica(["volume", "ls", "-q"]).success().lines() {
        let data = world.root().join("volume").join(volume).join("_data");
        assert!(!names(&data).contains(&"secret".to_owned()), "{}", data.display());
    }
    assert_eq!(names(&canary), ["secret"]);
    // What is there already is not touched.
    world.mica(["volume", "create", "full"]).success();
    let data = world.root().join("volume/full/_data");
    fs::write(data.join("mine"), "mine").unwrap();
    world.mica(["run", "--rm", "-v", "full:/own", "trap", "true"]);
    assert_eq!(names(&data), ["mine"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_20_cp_does_not_follow_a_link_swapped_in() {
    let world = World::with_busybox();
    let canary = canary(&world);
    world.mica(["run", "-d", "--name", "box", "-v", "vol:/vol", "busybox", "sleep", "1000"]).success();
    let data = world.root().join("volume/vol/_data");
    fs::write(data.join("f"), "inside").unwrap();
    symlink(canary.join("secret"), data.join("l")).unwrap();
    world.mica(["cp", "box:/vol/f", "-"]).success().stdout_contains("inside");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    data.join("f"),
                    rustix::fs::CWD,
                    data.join("l"),
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        });
        for _ in 0..60 {
            world.mica(["cp", "box:/vol/f", "-"]).stdout_lacks("SECRET");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_rt_17_what_is_mounted_below_is_read_only_too() {
    let world = World::with_busybox();
    let host = world.scratch().join("host");
    let source = host.join("source");
    let below = source.join("below");
    fs::create_dir_all(&below).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(std::process::Command::new(arguments[0]).args(&arguments[1..]).status().unwrap().success());
    };
    mount(&["mount", "-t", "tmpfs", "below", below.to_str().unwrap()]);
    let run =
        |value: &str| world.mica(["run", "--rm", "--mount", value, "busybox", "touch", "/d/below/file"]);
    let bind = format!("type=bind,src={},dst=/d", source.display());
    let refused = run(&format!("{bind},ro"));
    let writable = run(&format!("{bind},ro,bind-recursive=writable"));
    let shallow = run(&format!("{bind},bind-recursive=disabled"));
    let plain = run(&bind);
    mount(&["umount", below.to_str().unwrap()]);
    refused.failure().stderr_contains("Read-only file system");
    writable.success();
    shallow.success();
    plain.success();
    assert!(below.join("file").exists(), "without the mounts below, the directory under them is seen");
}
