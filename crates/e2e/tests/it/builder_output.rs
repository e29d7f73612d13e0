//! `mica build --output` and `--call`: results that are no image, and questions that build nothing.

use e2e::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

fn context(world: &World, dockerfile: &str) -> std::path::PathBuf {
    let directory = world.scratch().join("context");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    directory
}

#[test]
#[ignore = "needs root"]
fn privileged_results_go_to_directories_and_archives() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox AS made\nRUN mkdir /out && echo made > /out/file\nFROM scratch\nCOPY --from=made /out /\n";
    let directory = context(&world, dockerfile);
    let out = world.scratch().join("out");
    let flag = format!("type=local,dest={}", out.display());
    world.invoke(["build", "-o", &flag, "."]).directory(&directory).run().success();
    assert_eq!(fs::read(out.join("file")).unwrap(), b"made\n");
    let tar = world.invoke(["build", "-o", "-", "."]).directory(&directory).run().success().stdout();
    assert!(tar.contains("file") && tar.contains("made\n"));
    // None of these is an image of the store.
    assert_eq!(world.mica(["images", "-q"]).success().lines().len(), 1);
    let archive = world.scratch().join("image.tar");
    let flag = format!("type=oci,dest={}", archive.display());
    world.invoke(["build", "-t", "from-archive", "-o", &flag, "."]).directory(&directory).run().success();
    world.mica(["image", "inspect", "from-archive"]).failure();
    world.mica(["load", "-i", archive.to_str().unwrap()]).success().stdout_contains("from-archive:latest");
    world.mica(["image", "inspect", "from-archive"]).success();
}

/// Two machines: other stores, other times and another order of the same files, another umask, another way to say it.
#[test]
#[ignore = "needs root"]
fn privileged_an_archive_is_the_same_bytes_with_an_epoch() {
    let dockerfile = "FROM busybox AS made\nRUN date > /proc/self/fd/2; mkdir -p /x/y; echo > /x/y/z; ln /x/y/z /x/link\n\
        FROM busybox\nWORKDIR /w/deep\nCOPY tree /c/tree/\nCOPY --from=made --chown=7:8 /x /made\nADD tree/b /new/place/b\n\
        COPY <<END /inline\ntext\nEND\nUSER 7\nWORKDIR owned\nENV A=b\n";
    let machines =
        [("umask 022", 1_000_000_000, ["a", "b", "c"]), ("umask 077", 1_600_000_001, ["c", "b", "a"])];
    let archives = machines.map(|(umask, time, names)| {
        let world = World::with_busybox();
        let directory = context(&world, dockerfile);
        fs::create_dir(directory.join("tree")).unwrap();
        for name in names.iter().map(|name| directory.join("tree").join(name)) {
            fs::write(&name, name.file_name().unwrap().as_encoded_bytes()).unwrap();
            fs::set_permissions(&name, fs::Permissions::from_mode(0o644)).unwrap();
            let then = std::time::UNIX_EPOCH + Duration::from_secs(time);
            fs::File::open(&name).unwrap().set_modified(then).unwrap();
        }
        fs::set_permissions(directory.join("tree"), fs::Permissions::from_mode(0o755)).unwrap();
        let archive = world.scratch().join("image.tar");
        let flag = format!("type=oci,dest={}", archive.display());
        let script = format!("{umask}; exec \"$@\"");
        let mut words = vec!["build", "-t", "same:1", "--network", "none", "-o", &flag, "."];
        if time % 2 == 0 {
            words.extend(["--build-arg", "SOURCE_DATE_EPOCH=1700000000"]);
        }
        let build = world.invoke_by("sh", &["-c", &script, "sh"], &words).directory(&directory);
        let build = if time % 2 == 0 { build } else { build.env("SOURCE_DATE_EPOCH", "1700000000") };
        build.run().success();
        let image = world.invoke(["build", "-q", "--network", "none", "."]).directory(&directory);
        (fs::read(&archive).unwrap(), image.env("SOURCE_DATE_EPOCH", "1700000000").run().success().line())
    });
    assert_eq!(archives[0].1, archives[1].1, "the images differ");
    assert!(archives[0].0 == archives[1].0, "the archives differ");
}

#[test]
#[ignore = "needs root"]
fn privileged_questions_are_answered_without_building() {
    let world = World::with_busybox();
    let dockerfile = "# what to call\nARG GLOBAL=1\nFROM busybox AS first\nARG OWN=2\nRUN false\nFROM first AS last\nCMD shell form\n";
    let directory = context(&world, dockerfile);
    let ask = |flag: &str| world.invoke(["build", flag, "."]).directory(&directory).run();
    ask("--check").code(1).stdout_contains("JSONArgsRecommended").stdout_contains("Dockerfile:7");
    ask("--call=targets").success().stdout_contains("first").stdout_contains("last");
    ask("--call=outline").success().stdout_contains("OWN");
    assert!(ask("--call=targets,format=json").success().json()["targets"].is_array());
    ask("--call=nonsense").failure();
    let directory = context(&world, "FROM busybox\nCMD shell form\n");
    world
        .invoke(["build", "."])
        .directory(&directory)
        .run()
        .success()
        .stderr_contains("1 warning found")
        .stderr_contains("JSONArgsRecommended");
    let directory = context(&world, "# check=error=true\nFROM busybox\nRUN echo ran\nCMD shell form\n");
    let refused = world.invoke(["build", "."]).directory(&directory).run();
    refused.code(1).stderr_contains("lint violation found for rules: JSONArgsRecommended");
    assert!(!refused.stderr().contains("] RUN echo ran"));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_build_takes_its_command_along_and_leaves_what_was_done() {
    let world = World::with_busybox();
    let directory =
        context(&world, "FROM busybox\nRUN echo first > /first\nRUN echo begun > /second; sleep 1000\n");
    let mut build = world.invoke(["build", "-t", "built", "."]).directory(&directory).spawn();
    let limit = Instant::now() + Duration::from_secs(20);
    let is_sleeping = || {
        let containers = fs::read_dir(world.root().join("container")).into_iter().flatten().flatten();
        containers.map(|entry| entry.path().join("upper/second")).any(|path| path.exists())
    };
    while !is_sleeping() {
        assert!(Instant::now() < limit, "the second command does not run");
        std::thread::yield_now();
    }
    build.signal(rustix::process::Signal::KILL);
    build.wait(Duration::from_secs(10));
    let directory = context(&world, "FROM busybox\nRUN echo first > /first\nRUN cat /first\n");
    let again = world.invoke(["build", "-t", "built", "."]).directory(&directory).run();
    again.success().stderr_contains("#4 CACHED");
    // What the killed one left is taken away by the next removal; its command has ended by itself.
    world.mica(["builder", "prune", "-f"]).success();
    let limit = Instant::now() + Duration::from_secs(10);
    while fs::read_dir(world.root().join("container")).unwrap().count() > 0 {
        assert!(Instant::now() < limit, "the leftover stays");
        world.mica(["builder", "prune", "-f"]).success();
    }
}

/// Starts a build of a Dockerfile, and waits until its command has written `/begun`.
fn begun(world: &World, dockerfile: &str, flags: &[&str]) -> e2e::Background {
    let directory = context(world, dockerfile);
    let build = world.invoke([&["build", "."], flags].concat()).directory(directory).spawn();
    let limit = Instant::now() + Duration::from_secs(20);
    let is_begun = || {
        let containers = fs::read_dir(world.root().join("container")).into_iter().flatten().flatten();
        containers.map(|entry| entry.path().join("upper/begun")).any(|path| path.exists())
    };
    while !is_begun() {
        assert!(Instant::now() < limit, "the command does not run");
        std::thread::yield_now();
    }
    build
}

/// Whether a file below a directory has these bytes in it.
fn holds(directory: &std::path::Path, bytes: &[u8]) -> bool {
    fs::read_dir(directory).into_iter().flatten().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        match kind.is_dir() {
            true => holds(&entry.path(), bytes),
            false => {
                kind.is_file()
                    && fs::read(entry.path())
                        .unwrap_or_default()
                        .windows(bytes.len())
                        .any(|part| part == bytes)
            }
        }
    })
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_build_leaves_no_secret() {
    let world = World::with_busybox();
    let secret = world.scratch().join("token");
    fs::write(&secret, "c0ffee-very-secret").unwrap();
    let flag = format!("id=t,src={}", secret.display());
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=t grep -q c0ffee /run/secrets/t && echo > /begun; sleep 1000\n";
    let mut build = begun(&world, dockerfile, &["--secret", &flag]);
    build.signal(rustix::process::Signal::KILL);
    build.wait(Duration::from_secs(10));
    for directory in [world.root(), world.run_directory()] {
        assert!(!holds(&directory, b"c0ffee-very-secret"), "{}", directory.display());
    }
    world.mica(["builder", "prune", "-f"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cache_that_a_command_has_is_not_pruned() {
    let world = World::with_busybox();
    let mount = "RUN --mount=type=cache,target=/c";
    let dockerfile = format!("FROM busybox\n{mount} echo kept > /c/file; echo > /begun; sleep 1000\n");
    let mut build = begun(&world, &dockerfile, &[]);
    world.mica(["builder", "prune", "-af"]).success();
    world.mica(["builder", "du"]).success().stdout_contains("mount of cache");
    build.signal(rustix::process::Signal::KILL);
    build.wait(Duration::from_secs(10));
    let directory = context(&world, &format!("FROM busybox\n{mount} cat /c/file\n"));
    world.invoke(["build", "."]).directory(directory).run().success().stderr_contains("kept");
    // When nobody has it any more, it goes.
    let limit = Instant::now() + Duration::from_secs(10);
    while world.mica(["builder", "du"]).success().stdout().contains("mount of cache") {
        assert!(Instant::now() < limit, "the cache stays");
        world.mica(["builder", "prune", "-af"]).success();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_squashing_leaves_one_layer_that_does_the_same() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox\nRUN echo one > /one; ln /one /hard; mkdir -p /gone/below /turned\n\
        RUN rm -r /gone /turned /etc/group /var; mkdir /var /etc/group; touch /var/new /turned\n\
        RUN rm -r /etc/group; echo two > /one; chown 7:8 /one; chmod 4755 /one; ln -s one /link\nCMD [\"x\"]\n";
    let directory = context(&world, dockerfile);
    for (name, flags) in [("plain", &[][..]), ("squashed", &["--squash"])] {
        let arguments = [&["build", "-t", name, "."], flags].concat();
        world.invoke(arguments).directory(&directory).run().success();
    }
    let layers = |name: &str| world.inspect(name, "{{len .RootFS.Layers}}");
    assert_eq!(
        (layers("busybox"), layers("plain"), layers("squashed")),
        ("1".into(), "4".into(), "2".into())
    );
    let script = "find / -xdev -path /proc -prune -o -path /bin -prune -o -exec stat -c '%A %u:%g %Y %n' {} + | grep -v ' /etc$' | sort; cat /one /hard";
    let files = |name: &str| {
        world.mica(["run", "--rm", "--hostname", "h", name, "sh", "-c", script]).success().stdout()
    };
    let (plain, squashed) = (files("plain"), files("squashed"));
    assert!(plain.contains("/var/new") && plain.ends_with("two\none\n"), "{plain}");
    assert_eq!(plain, squashed);
    let history =
        world.mica(["history", "--no-trunc", "--format", "{{.Comment}}|{{.CreatedBy}}", "squashed"]);
    let lines = history.success().lines();
    let merged =
        format!("merge {} to {}|", world.inspect("plain", "{{.Id}}"), world.inspect("busybox", "{{.Id}}"));
    assert_eq!(lines[0], merged);
    assert!(lines[1].ends_with("CMD [\"x\"]"), "{lines:?}");
    // Done again it costs nothing.
    let again = world.invoke(["build", "-q", "--squash", "."]).directory(&directory).run().success().line();
    assert_eq!(again, world.inspect("squashed", "{{.Id}}"));
}
