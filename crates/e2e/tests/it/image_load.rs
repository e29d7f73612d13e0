//! `mica load`: archives of every make, and those that are broken.

use e2e::{Entry, ImageArchive, Tarball, World};
use serde_json::json;
use std::fs;
use std::os::unix::fs::MetadataExt;

fn small_layer() -> Vec<u8> {
    Tarball::new().with(Entry::directory("d/")).with(Entry::file("d/f", "x")).finish()
}

#[test]
#[ignore = "needs root"]
fn privileged_load_reads_docker_archives_and_layouts() {
    let world = World::new();
    let archive = ImageArchive::named("small:v1").layer(small_layer());
    world.invoke(["load"]).stdin(archive.build()).run().success().stdout_contains("Loaded image: small:v1");
    assert_eq!(world.inspect("small:v1", "{{.Id}}"), archive.id());
    let other = World::new();
    other.invoke(["load"]).stdin(archive.build_oci()).run().success();
    other.mica(["images", "-q", "--no-trunc"]).success().stdout_contains("sha256:");
}

#[test]
#[ignore = "needs root"]
fn privileged_files_get_their_owners_and_modes_whatever_umask_and_directory_say() {
    // What new files get in it: everything for user and group, nothing for others.
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions) in [(1_u16, 7_u16), (4, 7), (0x20, 0)] {
        list.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain([0xff; 4]));
    }
    let files: [(u32, u64, u64); 7] = [
        (0o644, 0, 0),
        (0o666, 0, 0),
        (0, 0, 0),
        (0o4755, 0, 0),
        (0o4755, 7, 8),
        (0o2711, 0, 8),
        (0o1777, 1, 0),
    ];
    let mut tarball = Tarball::new()
        .with(Entry::directory("plain/"))
        .with(Entry::directory("set/").mode(0o2775).owner(3, 4))
        .with(Entry::directory("list/").pax("SCHILY.xattr.system.posix_acl_default", &list));
    for directory in ["plain", "set", "list"] {
        for (number, (mode, user, group)) in files.into_iter().enumerate() {
            let file = Entry::file(format!("{directory}/{number}"), "x").mode(mode).owner(user, group);
            tarball = tarball.with(file);
        }
    }
    let archive = ImageArchive::named("modes:v1").layer(tarball.finish()).build();
    for umask in ["umask 0", "umask 027", "umask 0777"] {
        let world = World::new();
        let script = format!("{umask}; exec \"$@\"");
        let load = world.invoke_by("sh", &["-c", &script, "sh"], ["load"]).stdin(archive.clone());
        load.run().success();
        let tree = world.inspect("modes:v1", "{{.GraphDriver.Data.UpperDir}}");
        for directory in ["plain", "set", "list"] {
            for (number, (mode, user, group)) in files.into_iter().enumerate() {
                let found = fs::metadata(format!("{tree}/{directory}/{number}")).unwrap();
                let found = (found.mode() & 0o7777, u64::from(found.uid()), u64::from(found.gid()));
                assert_eq!(found, (mode, user, group), "{umask}: {directory}/{number}");
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_load_refuses_what_is_broken_and_registers_nothing() {
    let world = World::new();
    let good = ImageArchive::named("small:v1").layer(small_layer());
    let whole = good.build();
    let cases = [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("not an archive", b"hello".repeat(1000)),
        ("no such config", good.clone().manifest("/0/Config", json!("gone.json")).build()),
        ("config outside", good.clone().manifest("/0/Config", json!("../../etc/passwd")).build()),
        (
            "lying diff id",
            good.config("/rootfs/diff_ids/0", json!(format!("sha256:{}", "0".repeat(64)))).build(),
        ),
    ];
    for (name, bytes) in cases {
        let output = world.invoke(["load"]).stdin(bytes).run();
        assert!(output.code != 0 && !output.stderr.is_empty(), "{name}: {}", output.describe());
        world.mica(["images", "-aq"]).success().stdout_is("");
    }
    world.invoke(["load"]).stdin(whole).run().success();
}

#[test]
#[ignore = "needs root"]
fn privileged_load_writes_nothing_outside_the_layer() {
    let world = World::new();
    let canary = world.scratch().join("canary");
    std::fs::write(&canary, "alive").unwrap();
    let outside = world.scratch();
    let outside = outside.to_str().unwrap();
    let up = "../".repeat(20);
    let cases = [
        vec![Entry::file(format!("{up}{outside}/canary"), "dead")],
        vec![Entry::symlink("out", outside), Entry::file("out/canary", "dead")],
        vec![Entry::hardlink("hard", format!("{up}{outside}/canary")), Entry::file("hard", "dead")],
        vec![Entry::symlink("out", outside), Entry::file("out/.wh.canary", "")],
    ];
    for (number, entries) in cases.iter().enumerate() {
        let mut tar = Tarball::new();
        entries.iter().for_each(|entry| tar.add(entry));
        let archive = ImageArchive::named(format!("evil:v{number}")).layer(tar.finish());
        // Whether such an archive is refused or tamed may differ; what it reaches may not.
        drop(world.invoke(["load"]).stdin(archive.build()).run());
        assert_eq!(std::fs::read_to_string(&canary).unwrap(), "alive", "case {number}");
    }
}
