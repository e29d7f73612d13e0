//! `-v`, `--mount`, `--tmpfs`, `--volumes-from`: what containers see of the host, of volumes and of each other.

use e2e::{Entry, ImageArchive, Tarball, World, fixture};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

fn directory(world: &World, name: &str) -> PathBuf {
    let path = world.scratch().join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

/// An image named `data` with `/data` of its own owner and mode, a link to it, and a volume asked for there.
fn load_data(world: &World) {
    let layer = Tarball::new()
        .with(Entry::directory("data").owner(33, 44).mode(0o2750))
        .with(Entry::file("data/file", "of the image").owner(33, 44).mode(0o640))
        .with(Entry::symlink("data/link", "../../../etc/passwd"))
        .with(Entry::directory("data/below").mode(0o700))
        .with(Entry::file("data/below/deep", "deep"))
        .finish();
    let archive = ImageArchive::named("data")
        .layer(fixture::busybox_layer().unwrap())
        .layer(layer)
        .config("/config/Volumes", serde_json::json!({"/data": {}}))
        .config("/config/Cmd", serde_json::json!(["sh"]));
    let path = world.scratch().join("data.tar");
    fs::write(&path, archive.build()).unwrap();
    world.mica(["load", "-q", "-i", path.to_str().unwrap()]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_directory_and_a_file_of_the_host_are_seen_and_written() {
    let world = World::with_busybox();
    let host = directory(&world, "host");
    fs::write(host.join("file"), "one").unwrap();
    let bind = format!("{}:/in/side", host.display());
    let script = "cat /in/side/file; echo two > /in/side/made";
    world.mica(["run", "--rm", "-v", &bind, "busybox", "sh", "-c", script]).success().stdout_is("one");
    assert_eq!(fs::read_to_string(host.join("made")).unwrap(), "two\n");
    let file = format!("type=bind,src={}/file,dst=/etc/new/file", host.display());
    world
        .mica(["run", "--rm", "--mount", &file, "busybox", "cat", "/etc/new/file"])
        .success()
        .stdout_is("one");
    // On a place that the image has, and on one of those that every container has.
    let hosts = format!("{}/file:/etc/hosts", host.display());
    world.mica(["run", "--rm", "-v", &hosts, "busybox", "cat", "/etc/hosts"]).success().stdout_is("one");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_relative_source_counts_from_here() {
    let world = World::with_busybox();
    let host = directory(&world, "host/sub");
    fs::write(host.join("file"), "here").unwrap();
    for (flag, value) in
        [("-v", "./sub:/d"), ("--mount", "type=bind,src=./sub,dst=/d"), ("-v", "../host/sub:/d")]
    {
        world
            .invoke(["run", "--rm", flag, value, "busybox", "cat", "/d/file"])
            .directory(host.parent().unwrap())
            .run()
            .success()
            .stdout_is("here");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_missing_source_is_made_only_where_docker_makes_it() {
    let world = World::with_busybox();
    let scratch = world.scratch();
    let (made, missing, wished) = (scratch.join("a/made"), scratch.join("missing"), scratch.join("wished"));
    world.mica(["run", "--rm", "-v", &format!("{}:/d", made.display()), "busybox", "ls", "/d"]).success();
    assert_eq!(made.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    let mount = |path: &PathBuf, more: &str| {
        let mount = format!("type=bind,src={},dst=/d{more}", path.display());
        world.mica(["run", "--rm", "--mount", &mount, "busybox", "ls", "/d"])
    };
    mount(&missing, "").code(125).stderr_contains("bind source path does not exist");
    assert!(!missing.exists());
    mount(&wished, ",bind-create-src").success();
    assert!(wished.is_dir());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_named_volume_keeps_its_data_and_gets_the_images_first() {
    let world = World::with_busybox();
    load_data(&world);
    let look = "stat -c '%u %g %a' /data /data/file /data/below; cat /data/file /data/below/deep";
    let seen = "33 44 2750\n33 44 640\n0 0 700\nof the imagedeep";
    world.mica(["run", "--rm", "-v", "vol:/data", "data", "sh", "-c", look]).success().stdout_is(seen);
    world.mica(["run", "--rm", "-v", "vol:/data", "data", "sh", "-c", "echo mine > /data/file"]).success();
    world.mica(["run", "--rm", "-v", "vol:/data", "data", "cat", "/data/file"]).success().stdout_is("mine\n");
    // A volume that has something keeps just that, an image that has nothing there changes nothing.
    world.mica(["run", "--rm", "-v", "vol:/x", "busybox", "cat", "/x/file"]).success().stdout_is("mine\n");
    world.mica(["run", "--rm", "-v", "bare:/data:nocopy", "data", "ls", "/data"]).success().stdout_is("");
    let mount = "type=volume,src=bare2,dst=/data,volume-nocopy";
    world.mica(["run", "--rm", "--mount", mount, "data", "ls", "/data"]).success().stdout_is("");
    let link = fs::read_link(world.root().join("volume/vol/_data/link")).unwrap();
    assert_eq!(link, PathBuf::from("../../../etc/passwd"));
}

#[test]
#[ignore = "needs root"]
fn privileged_volumes_without_a_name_go_with_their_container_and_others_stay() {
    let world = World::with_busybox();
    load_data(&world);
    let volumes = || world.mica(["volume", "ls", "-q"]).success().lines().len();
    world.mica(["run", "--rm", "-v", "/other", "-v", "named:/named", "data", "true"]).success();
    assert_eq!(volumes(), 1, "only the named one");
    world.mica(["run", "--name", "kept", "data", "true"]).success();
    world.mica(["rm", "kept"]).success();
    assert_eq!(volumes(), 2);
    world.mica(["run", "--name", "gone", "-v", "named:/named", "data", "true"]).success();
    assert_eq!(volumes(), 3);
    world.mica(["rm", "-v", "gone"]).success();
    assert_eq!(volumes(), 2);
    world.mica(["run", "-d", "--rm", "--name", "alone", "data", "sleep", "1000"]).success();
    assert_eq!(volumes(), 3);
    world.mica(["rm", "-f", "alone"]).success();
    assert_eq!(volumes(), 2);
    // Another place than the image's takes nothing away from it; the same place replaces it.
    world.mica(["run", "--rm", "--tmpfs", "/data", "data", "ls", "/data"]).success().stdout_is("");
    assert_eq!(volumes(), 2);
}

#[test]
#[ignore = "needs root"]
fn privileged_read_only_means_it() {
    let world = World::with_busybox();
    let host = directory(&world, "host");
    for mount in [
        ["-v", &format!("{}:/d:ro", host.display())],
        ["-v", &format!("{}:/d:rro", host.display())],
        ["-v", "vol:/d:ro"],
        ["--mount", &format!("type=bind,src={},dst=/d,readonly", host.display())],
        ["--mount", "src=vol,dst=/d,ro"],
        ["--mount", "type=tmpfs,dst=/d,ro"],
        ["--tmpfs", "/d:ro"],
    ] {
        let output = world.mica(["run", "--rm", mount[0], mount[1], "busybox", "touch", "/d/file"]);
        output.failure().stderr_contains("Read-only file system");
    }
    let mut twin = vec!["run", "--rm", "--read-only", "-v", "vol:/d", "busybox", "touch", "/d/file"];
    world.mica(&twin).success();
    twin[7] = "/file";
    world.mica(["run", "--rm", "--read-only", "-v", "vol:/d", "busybox", "touch", "/file"]).failure();
}

#[test]
#[ignore = "needs root"]
fn privileged_file_systems_in_memory_have_dockers_options() {
    let world = World::with_busybox();
    let look = |arguments: &[&str], place: &str| {
        let script = format!("stat -c %a {place}; grep ' {place} ' /proc/mounts");
        let output = world.mica([&["run", "--rm"], arguments, &["busybox", "sh", "-c", &script]].concat());
        output.success();
        output.stdout()
    };
    let standard = "tmpfs rw,nosuid,nodev,noexec,relatime";
    let seen = look(&["--tmpfs", "/new"], "/new");
    assert!(seen.starts_with("1777\n") && seen.contains(standard), "{seen}");
    let seen = look(&["--tmpfs", "/root"], "/root");
    assert!(seen.starts_with("700\n") || seen.starts_with("755\n"), "the mode of what it covers: {seen}");
    let seen = look(&["--tmpfs", "/new:exec,size=2m,mode=700"], "/new");
    assert!(seen.starts_with("700\n") && seen.contains("size=2048k") && !seen.contains("noexec"), "{seen}");
    let seen = look(&["--mount", "type=tmpfs,dst=/new,tmpfs-size=1m,tmpfs-mode=1770"], "/new");
    assert!(seen.starts_with("1770\n") && seen.contains("size=1024k") && seen.contains(standard), "{seen}");
    let seen = look(&["--tmpfs", "/dev/shm:size=1m"], "/dev/shm");
    assert!(seen.lines().count() == 2 && seen.contains("size=1024k"), "{seen}");
    for (wrong, words) in [
        ("/x:colour=red", "Invalid tmpfs option"),
        ("x", "mount path must be absolute"),
        ("/", "destination can't be '/'"),
    ] {
        world.mica(["run", "--rm", "--tmpfs", wrong, "busybox", "true"]).code(125).stderr_contains(words);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_other_containers_volumes_are_shared() {
    let world = World::with_busybox();
    let host = directory(&world, "host");
    let bind = format!("{}:/host:ro", host.display());
    let script = "echo one > /a/file; echo two > /b/file";
    world
        .mica([
            "run", "--name", "first", "-v", "/a", "-v", "vol:/b", "-v", &bind, "busybox", "sh", "-c", script,
        ])
        .success();
    let from = ["run", "--rm", "--volumes-from", "first", "busybox", "sh", "-c"];
    let look = "cat /a/file /b/file; touch /b/new; touch /host/x 2>/dev/null || echo refused";
    world.mica([&from[..], &[look]].concat()).success().stdout_is("one\ntwo\nrefused\n");
    world
        .mica(["run", "--rm", "--volumes-from", "first:ro", "busybox", "touch", "/b/other"])
        .failure()
        .stderr_contains("Read-only");
    // The one without a name is still the first container's.
    world.mica(["start", "-a", "first"]).success();
    let own = ["--volumes-from", "first", "-v", "vol2:/b", "busybox", "ls", "/b"];
    world.mica([&["run", "--rm"], &own[..]].concat()).success().stdout_is("");
    world.mica(["run", "--volumes-from", "nobody", "busybox"]).code(125).stderr_contains("No such container");
    world.mica(["rm", "-v", "first"]).success();
    assert_eq!(world.mica(["volume", "ls", "-q"]).success().lines(), ["vol", "vol2"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_mounts_below_mounts_are_made_in_the_order_of_their_depth() {
    let world = World::with_busybox();
    let arguments =
        ["-v", "deep:/a/b/c", "--tmpfs", "/a/b", "-v", "top:/a", "--mount", "src=other,dst=/a/x/y"];
    let script = "touch /a/in-top /a/b/in-memory /a/b/c/in-deep /a/x/y/in-other; ls /a /a/b /a/b/c /a/x/y";
    world
        .mica([&["run", "--rm"], &arguments[..], &["busybox", "sh", "-c", script]].concat())
        .success()
        .stdout_is("/a:\nb\nin-top\nx\n\n/a/b:\nc\nin-memory\n\n/a/b/c:\nin-deep\n\n/a/x/y:\nin-other\n");
    let volume = |name: &str| world.root().join(format!("volume/{name}/_data"));
    assert!(volume("deep").join("in-deep").exists() && volume("other").join("in-other").exists());
    assert!(volume("top").join("in-top").exists() && !volume("top").join("b/in-memory").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_later_starts_and_further_processes_see_the_same_mounts() {
    let world = World::with_busybox();
    let host = directory(&world, "host");
    let bind = format!("{}:/host", host.display());
    let arguments = ["run", "-d", "--name", "box", "-v", "vol:/v", "-v", &bind, "--tmpfs", "/t", "busybox"];
    world.mica([&arguments[..], &["sleep", "1000"]].concat()).success();
    let script = "echo x >> /v/file; echo x >> /host/file; echo x >> /t/file; cat /v/file /t/file | wc -l";
    let exec = ["exec", "box", "sh", "-c", script];
    world.mica(exec).success().stdout_is("2\n");
    world.mica(["restart", "-t", "0", "box"]).success();
    // What was in memory is gone, the rest is there.
    world.mica(exec).success().stdout_is("3\n");
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "x\nx\n");
    assert_eq!(
        world.inspect("box", "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}};{{end}}"),
        "volume /v true;bind /host true;"
    );
    for (filter, count) in [("volume=vol", 1), ("volume=/host", 1), ("volume=other", 0)] {
        assert_eq!(world.mica(["ps", "-q", "-f", filter]).success().lines().len(), count, "{filter}");
    }
    let listed = world.mica(["ps", "--format", "{{.Mounts}} {{.LocalVolumes}}", "--no-trunc"]);
    listed.success().stdout_is(&format!("vol,{} 1\n", host.display()));
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_mounted_is_no_part_of_the_container() {
    let world = World::with_busybox();
    world
        .mica([
            "run",
            "--name",
            "box",
            "-v",
            "vol:/vol",
            "busybox",
            "sh",
            "-c",
            "echo > /vol/in; echo > /own",
        ])
        .success();
    world.mica(["diff", "box"]).success().stdout_contains("A /own").stdout_lacks("/vol/in");
    let tar = world.scratch().join("box.tar");
    world.mica(["export", "-o", tar.to_str().unwrap(), "box"]).success();
    let names = String::from_utf8_lossy(&fs::read(&tar).unwrap()).into_owned();
    assert!(names.contains("own") && !names.contains("vol/in"));
    world.mica(["commit", "box", "made"]).success();
    world.mica(["run", "--rm", "made", "ls", "/vol"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_an_image_is_mounted_to_be_read() {
    let world = World::with_busybox();
    load_data(&world);
    let script = "cat /i/data/file; touch /i/x 2>/dev/null || echo refused";
    let mount = "type=image,src=data,dst=/i";
    world
        .mica(["run", "--rm", "--mount", mount, "busybox", "sh", "-c", script])
        .success()
        .stdout_is("of the imagerefused\n");
    let part = "type=image,src=data,dst=/i,image-subpath=data/below";
    world.mica(["run", "--rm", "--mount", part, "busybox", "ls", "/i"]).success().stdout_is("deep\n");
    world.mica(["create", "--name", "user", "--mount", part, "busybox", "cat", "/i/deep"]).success();
    world.mica(["rmi", "data"]).code(1).stderr_contains("is using");
    world.mica(["rmi", "-f", "data"]).success();
    world.mica(["start", "-a", "user"]).success().stdout_is("deep");
    let missing = "type=image,src=absent,dst=/i";
    world.mica(["run", "--mount", missing, "busybox"]).code(125).stderr_contains("No such image");
}

#[test]
#[ignore = "needs root"]
fn privileged_nonsense_is_refused_before_anything_is_made() {
    let world = World::with_busybox();
    for (arguments, words) in [
        (&["-v", "a:/x"][..], "volume name is too short"),
        (&["-v", "rel/path:/x"], "includes invalid characters for a local volume name"),
        (&["-v", "vol:rel"], "mount path must be absolute"),
        (&["-v", "vol:/"], "destination can't be '/'"),
        (&["-v", "vol:/x:wr"], "invalid mode: wr"),
        (&["-v", "vol:/x", "-v", "vol2:/x"], "Duplicate mount point: /x"),
        (&["-v", "vol:/x", "--tmpfs", "/x/"], "Duplicate mount point: /x"),
        (&["-v", "vol:/x:ro:z"], "too many colons"),
        (&["--mount", "type=bind,src=/etc"], "field Target must not be empty"),
        (&["--mount", "type=npipe,src=/etc,dst=/x"], "mount type unknown"),
        (&["--mount", "colour=red"], "unexpected key 'colour'"),
        (&["--volume-driver", "cloud", "-v", "vol:/x"], "plugin \"cloud\" not found"),
        (&["-v", "/x", "--volumes-from", ""], "volumes-from"),
    ] {
        world
            .mica([&["run", "--rm"], arguments, &["busybox", "true"]].concat())
            .code(125)
            .stderr_contains(words);
    }
    world.mica(["volume", "ls", "-q"]).success().stdout_is("");
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_start_that_fails_leaves_what_a_create_made() {
    let world = World::with_busybox();
    let mount = "type=volume,src=vol,dst=/x,volume-subpath=missing";
    let run = ["run", "--name", "box", "--mount", mount, "busybox", "true"];
    world.mica(run).code(125).stderr_contains("missing");
    fs::create_dir(world.root().join("volume/vol/_data/missing")).unwrap();
    world.mica(["start", "-a", "box"]).success();
    assert_eq!(fs::metadata(world.root().join("volume/vol/_data")).unwrap().uid(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_host_s_proc_and_sys_may_be_mounted_as_they_are_and_nothing_else_on_proc() {
    let world = World::with_busybox();
    let own = format!("/proc/{}/stat", std::process::id());
    world.mica(["run", "--rm", "-v", "/proc:/proc", "busybox", "test", "-e", &own]).success();
    world
        .mica(["run", "--rm", "-v", "/proc:/proc:ro", "busybox", "cat", "/proc/interrupts"])
        .success()
        .stdout_is("");
    world.mica([
        "run",
        "--rm",
        "-v",
        "/proc:/host",
        "-v",
        "/sys:/sys",
        "busybox",
        "test",
        "-e",
        &format!("/host/{own}"),
    ]);
    world.mica(["run", "--rm", "-v", "/sys:/sys", "busybox", "test", "-d", "/sys/kernel"]).success();
    world.mica(["run", "--rm", "-v", "/dev:/dev", "busybox", "test", "-c", "/dev/null"]).success();
    let scratch = world.scratch();
    for place in ["/proc", "/proc/sys"] {
        let bind = format!("{}:{place}", scratch.display());
        world.mica(["run", "--rm", "-v", &bind, "busybox", "true"]).code(125).stderr_contains("inside /proc");
    }
    world.mica(["run", "--rm", "-v", "/proc:/proc/sys", "busybox", "true"]).code(125);
}

#[test]
#[ignore = "needs root"]
fn privileged_mounts_of_the_host_reach_who_wants_to_hear_of_them() {
    let world = World::with_busybox();
    let source = world.scratch().join("source");
    fs::create_dir_all(source.join("later")).unwrap();
    // In a mount namespace of its own, so that the machine's mounts stay as they are.
    let script = r#"
        set -e
        mica="$0"; source="$1"
        mount -t tmpfs host "$source"; mount --make-shared "$source"; mkdir "$source/later" "$source/back"
        for mode in rprivate rslave rshared; do
            "$mica" run -d --network none --name $mode --cap-add SYS_ADMIN --security-opt seccomp=unconfined                 -v "$source:/seen:$mode" busybox sleep 1000 > /dev/null
        done
        mount -t tmpfs later "$source/later"; touch "$source/later/here"
        for mode in rprivate rslave rshared; do
            "$mica" exec $mode test -e /seen/later/here && echo "$mode hears" || echo "$mode hears nothing"
        done
        for mode in rslave rshared; do
            "$mica" exec $mode mount -t tmpfs back /seen/back
            "$mica" exec $mode touch /seen/back/$mode
            test -e "$source/back/$mode" && echo "$mode is heard" || echo "$mode is not heard"
        done
        "$mica" rm -f rprivate rslave rshared > /dev/null
        umount -R "$source"
        mkdir -p "$source/x"; mount -t tmpfs alone "$source/x"; mount --make-private "$source/x"
        "$mica" run --rm --network none -v "$source/x:/seen:rshared" busybox true 2>&1 || echo refused
        umount "$source/x"
    "#;
    let mut run = std::process::Command::new("unshare");
    run.args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(e2e::fixture::binary())
        .arg(&source);
    run.env("MICA_ROOT", world.root()).env("MICA_RUN", world.run_directory());
    let output = run.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    for line in [
        "rprivate hears nothing",
        "rslave hears\n",
        "rshared hears\n",
        "rslave is not heard",
        "rshared is heard",
        "refused",
    ] {
        assert!(told.contains(line), "{line}: {output:?}");
    }
    assert!(told.contains("but it is not a shared mount"), "{told}");
}
