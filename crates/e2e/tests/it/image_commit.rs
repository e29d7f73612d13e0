//! `mica commit`: a writable layer becomes an image.

use e2e::World;
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, XattrFlags};
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

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

/// Puts what is hard to archive into a tree (row TAR-34 of the list of known attacks, and TAR-13 and TAR-14).
fn plant(tree: &Path) {
    let path = |name: &str| tree.join(name);
    for name in ["first", "suid", "owned", "old", "capable", "marked"] {
        fs::write(path(name), name).unwrap();
    }
    fs::hard_link(path("first"), path("second")).unwrap();
    fs::set_permissions(path("suid"), Permissions::from_mode(0o6755)).unwrap();
    rustix::fs::chown(path("owned"), Some(Uid::from_raw(3_000_000)), Some(Gid::from_raw(4_000_000))).unwrap();
    let past = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    File::options()
        .write(true)
        .open(path("old"))
        .unwrap()
        .set_times(FileTimes::new().set_modified(past))
        .unwrap();
    // Version 2 of capabilities(7)' structure: cap_net_raw, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(path("capable"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(path("marked"), "user.mark", b"\0binary\xff", XattrFlags::empty()).unwrap();
    let special = |name, kind, device| {
        rustix::fs::mknodat(CWD, path(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    special("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    special("loop", FileType::BlockDevice, rustix::fs::makedev(7, 300));
    special("pipe", FileType::Fifo, 0);
    special("socket", FileType::Socket, 0);
    let sparse = File::create(path("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    rustix::io::pwrite(&sparse, b"middle", 32 << 20).unwrap();
    let long = path(&format!("{}/{}", "d".repeat(200), "e".repeat(200)));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("f".repeat(255)), "long").unwrap();
    std::os::unix::fs::symlink("t".repeat(1000), path("far")).unwrap();
    fs::write(path("n\u{fc}\n\t name"), "odd").unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::set_permissions(path("empty"), Permissions::from_mode(0o1700)).unwrap();
}

/// Fails unless everything that [`plant`] planted is there, but for the socket, which no archive can hold.
#[track_caller]
fn check(tree: &Path) {
    let path = |name: &str| tree.join(name);
    let metadata = |name: &str| fs::symlink_metadata(path(name)).unwrap();
    assert_eq!(metadata("first").ino(), metadata("second").ino());
    assert_eq!(metadata("suid").mode() & 0o7777, 0o6755);
    assert_eq!((metadata("owned").uid(), metadata("owned").gid()), (3_000_000, 4_000_000));
    assert_eq!(metadata("old").mtime(), -1);
    let attribute = |name: &str, key: &str| {
        let mut value = vec![0; 100];
        let length = rustix::fs::getxattr(path(name), key, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    assert_eq!(attribute("capable", "security.capability")[..6], [1, 0, 0, 2, 0, 0x20]);
    assert_eq!(attribute("marked", "user.mark"), b"\0binary\xff");
    assert!(!path("socket").exists());
    let device =
        |name: &str| (rustix::fs::major(metadata(name).rdev()), rustix::fs::minor(metadata(name).rdev()));
    assert!(metadata("null").file_type().is_char_device() && device("null") == (1, 3));
    assert!(metadata("loop").file_type().is_block_device() && device("loop") == (7, 300));
    assert!(metadata("pipe").file_type().is_fifo());
    assert_eq!(metadata("null").mode() & 0o7777, 0o640);
    assert_eq!(metadata("sparse").size(), 64 << 20);
    assert!(
        metadata("sparse").blocks() * 512 < 8 << 20,
        "a hole was filled: {}",
        metadata("sparse").blocks()
    );
    let mut middle = [0; 8];
    rustix::io::pread(File::open(path("sparse")).unwrap(), &mut middle, (32 << 20) - 1).unwrap();
    assert_eq!(&middle, b"\0middle\0");
    let long = path(&format!("{}/{}/{}", "d".repeat(200), "e".repeat(200), "f".repeat(255)));
    assert_eq!(fs::read(long).unwrap(), b"long");
    assert_eq!(fs::read_link(path("far")).unwrap(), PathBuf::from("t".repeat(1000)));
    assert_eq!(fs::read(path("n\u{fc}\n\t name")).unwrap(), b"odd");
    assert_eq!(metadata("empty").mode() & 0o7777, 0o1700);
}

#[test]
#[ignore = "needs root"]
fn privileged_tar_34_what_is_hard_to_archive_survives_commit_save_and_load() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "source", "--network", "none", "busybox"]).success();
    plant(Path::new(&world.inspect("source", "{{.GraphDriver.Data.UpperDir}}")));
    world.mica(["commit", "source", "hard:1"]).success();
    let top = "{{index .LayerPaths 1}}";
    check(Path::new(&world.inspect("hard:1", top)));
    let archive = world.scratch().join("hard.tar");
    world.mica(["save".as_ref(), "-o".as_ref(), archive.as_os_str(), "hard:1".as_ref()]).success();
    let other = World::new();
    other.mica(["load".as_ref(), "-q".as_ref(), "-i".as_ref(), archive.as_os_str()]).success();
    check(Path::new(&other.inspect("hard:1", top)));
    assert_eq!(other.inspect("hard:1", "{{.Id}}"), world.inspect("hard:1", "{{.Id}}"));

    // The same through `export` and `import`.
    let flat = world.scratch().join("flat.tar");
    world.mica(["export".as_ref(), "-o".as_ref(), flat.as_os_str(), "source".as_ref()]).success();
    other.mica(["import".as_ref(), flat.as_os_str(), "flat:1".as_ref()]).success();
    check(Path::new(&other.inspect("flat:1", "{{index .LayerPaths 0}}")));
}

#[test]
#[ignore = "needs root"]
fn privileged_commit_replaces_directories_and_kinds() {
    let world = World::with_busybox();
    let script = "rm -r /usr/sbin; mkdir /usr/sbin; echo x > /usr/sbin/new; rm -r /home; echo file > /home; \
                  rm /etc/passwd; mkdir /etc/passwd; mv /var /moved";
    world.mica(["run", "--name", "source", "--network", "none", "busybox", "sh", "-c", script]).success();
    let mut diff = world.mica(["diff", "source"]).success().lines();
    diff.sort();
    assert_eq!(
        diff,
        [
            "A /moved",
            "A /usr/sbin/new",
            "C /etc",
            "C /etc/passwd",
            "C /home",
            "C /usr",
            "C /usr/sbin",
            "D /var"
        ]
    );
    world.mica(["commit", "source", "kinds:1"]).success();
    let look = "ls /usr/sbin; cat /home; test -d /etc/passwd && test ! -e /var && ls -d /moved";
    let run = ["run", "--rm", "--network", "none", "kinds:1", "sh", "-c", look];
    world.mica(run).success().stdout_is("new\nfile\n/moved\n");
    // What is committed again has no changes of its own.
    world.mica(["create", "--name", "again", "--network", "none", "kinds:1"]).success();
    world.mica(["diff", "again"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_commit_applies_instructions() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "source", "-l", "own=label", "-e", "OWN=1", "busybox"]).success();
    let changes = [
        "ENV A=1 B=\"two words\"",
        "LABEL k=v \"a b\"=\"c d\"",
        "EXPOSE 80 90/udp",
        "VOLUME /data",
        "WORKDIR /w",
        "USER 1:1",
        "ENTRYPOINT [\"a\",\"b\"]",
        "CMD x y",
        "ONBUILD RUN x",
        "HEALTHCHECK --interval=5s --retries=2 CMD a b",
    ];
    let options = changes.iter().flat_map(|change| ["-c", change]);
    world.mica(["commit"].into_iter().chain(options).chain(["source", "changed"])).success();
    let config = world.mica(["inspect", "--format", "{{json .Config}}", "changed"]).success().json();
    assert_eq!(
        config["Env"].as_array().unwrap()[1..],
        ["OWN=1", "A=1", "B=two words"].map(serde_json::Value::from)
    );
    assert_eq!(config["Cmd"], serde_json::json!(["/bin/sh", "-c", "x y"]));
    assert_eq!(config["Entrypoint"], serde_json::json!(["a", "b"]));
    assert_eq!(config["ExposedPorts"], serde_json::json!({"80/tcp": {}, "90/udp": {}}));
    assert_eq!(config["Labels"], serde_json::json!({"a b": "c d", "k": "v", "own": "label"}));
    assert_eq!(config["Healthcheck"]["Interval"], serde_json::json!(5_000_000_000_i64));
    assert_eq!((config["User"].as_str(), config["WorkingDir"].as_str()), (Some("1:1"), Some("/w")));
    // An image has no fields that only containers have.
    assert!(config.get("Hostname").is_none() && config.get("Tty").is_none(), "{config}");
    for (change, words) in [("RUN x", "not a valid change command"), ("BOGUS", "not a valid change command")]
    {
        world.mica(["commit", "-c", change, "source", "wrong"]).code(1).stderr_contains(words);
    }
    world.mica(["commit", "nosuch"]).code(1).stderr_contains("No such container: nosuch");
    world.mica(["commit", "source", "UPPER:1"]).code(1).stderr_contains("must be lowercase");
}

#[test]
#[ignore = "needs root"]
fn privileged_commit_pauses_what_runs() {
    let world = World::with_busybox();
    world.sleeper("busy");
    world.mica(["commit", "busy", "paused"]).success();
    world.mica(["commit", "--pause=false", "busy", "unpaused"]).success();
    let events = world
        .mica(["events", "--since", "10m", "--until", "0s", "--format", "{{.Action}}"])
        .success()
        .lines();
    let count = |action: &str| events.iter().filter(|event| *event == action).count();
    assert_eq!((count("pause"), count("unpause"), count("commit")), (1, 1, 2), "{events:?}");
    assert_eq!(world.inspect("busy", "{{.State.Status}}"), "running");
}

#[test]
#[ignore = "needs root"]
fn privileged_127_layers_work_and_one_more_is_refused() {
    let world = World::with_busybox();
    world.mica(["create", "--name", "step", "--network", "none", "busybox"]).success();
    let top = Path::new(&world.inspect("step", "{{.GraphDriver.Data.UpperDir}}")).to_path_buf();
    let mut tall = e2e::ImageArchive::named("tall:1").layer(e2e::fixture::busybox_layer().unwrap());
    for number in 2..=126 {
        let mut tar = e2e::Tarball::new();
        tar.add(&e2e::Entry::file(format!("layer-{number}"), number.to_string()));
        tall = tall.layer(tar.finish());
    }
    world.invoke(["load", "-q"]).stdin(tall.build()).run().success();
    let script = "ls / | grep -c layer-; echo more > /layer-127";
    let run = ["run", "--name", "top", "--network", "none", "tall:1", "sh", "-c", script];
    world.mica(run).success().stdout_is("125\n");
    world.mica(["commit", "top", "tall:127"]).success();
    let count = [
        "run",
        "--name",
        "higher",
        "--network",
        "none",
        "tall:127",
        "sh",
        "-c",
        "ls / | grep -c layer-; touch /x",
    ];
    world.mica(count).success().stdout_is("126\n");
    world.mica(["commit", "higher", "tall:128"]).code(1).stderr_contains("max depth exceeded");
    let too_tall = tall.layer(e2e::Tarball::new().finish()).layer(b"".to_vec());
    world.invoke(["load", "-q"]).stdin(too_tall.build()).run().code(1).stderr_contains("max depth exceeded");
    fs::write(top.join("more"), "").unwrap();
    assert_eq!(world.mica(["images", "-q", "tall"]).success().lines().len(), 2);
}
