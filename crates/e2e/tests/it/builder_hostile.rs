//! Builds that want out: mounts, links, archives and ignore files that try to reach what is not theirs, and keys that
//! must tell one source from another.

use crate::builder_platforms::build;
use e2e::{Output, Tarball, World, tarball::Entry};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What lies outside and must never be seen.
const CANARY: &str = "9f2c-canary-of-the-host";

/// A directory of the host's with a file that holds the canary.
fn outside(world: &World) -> PathBuf {
    let directory = world.scratch().join("outside");
    fs::create_dir_all(directory.join("secret")).unwrap();
    fs::write(directory.join("canary"), CANARY).unwrap();
    directory
}

fn lacks_canary(output: &Output) {
    output.stderr_lacks(CANARY).stdout_lacks(CANARY);
}

/// CVE-2024-23651: the source of a cache mount is swapped for a link while others mount it.
#[test]
#[ignore = "needs root"]
fn privileged_a_source_that_is_swapped_while_it_is_mounted_never_leads_outside() {
    let world = World::with_busybox();
    let outside = outside(&world);
    let swapper = world.context(
        &format!(
            "FROM busybox\nRUN --mount=type=cache,id=x,target=/cache echo > /begun; while :; do mkdir /cache/sel; \
             rmdir /cache/sel; ln -s {} /cache/sel; rm /cache/sel; done\n",
            outside.display()
        ),
    );
    let mut swapping = world.invoke(["build", "."]).directory(swapper).spawn();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.root().join("build/cache").read_dir().is_ok_and(|mut caches| caches.next().is_some()) {
        assert!(Instant::now() < deadline, "there is no cache");
    }
    let reader = world.scratch().join("reader");
    fs::create_dir_all(&reader).unwrap();
    let mount = "RUN --mount=type=cache,id=x,source=sel,target=/v";
    fs::write(reader.join("Dockerfile"), format!("FROM busybox\n{mount} ls -a /v; cat /v/canary; exit 1\n"))
        .unwrap();
    for _ in 0..60 {
        let read = world.invoke(["build", "--network", "none", "."]).directory(&reader).run();
        lacks_canary(read.failure());
    }
    swapping.signal(rustix::process::Signal::KILL);
    swapping.wait(Duration::from_secs(10));
}

/// CVE-2024-23652: what was made for a mount is taken away by its path, which now leads elsewhere.
#[test]
#[ignore = "needs root"]
fn privileged_mount_points_are_taken_away_inside_of_the_root_only() {
    let world = World::with_busybox();
    let outside = outside(&world);
    for kind in [
        "tmpfs,target=/a/secret",
        "cache,target=/a/secret",
        "bind,target=/a/secret",
        "secret,id=t,target=/a/canary",
    ] {
        let dockerfile = format!(
            "FROM busybox\nRUN --mount=type={kind} mv /a /c && ln -s {} /a\nRUN readlink /a\n",
            outside.display()
        );
        let secret = format!("id=t,src={}", outside.join("canary").display());
        build(&world, &dockerfile, &["--no-cache", "--secret", &secret]);
        assert!(outside.join("secret").is_dir(), "{kind}");
        assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), CANARY, "{kind}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_mounts_cannot_ask_for_more_than_they_may() {
    let world = World::with_busybox();
    for (mount, words) in [
        ("type=bind,target=/m,bind-propagation=shared", "bind-propagation"),
        ("type=bind,target=/m,suid", "suid"),
        ("type=bind,from=nowhere,target=/m", "nowhere"),
    ] {
        build(&world, &format!("FROM busybox\nRUN --mount={mount} ls /m\n"), &[])
            .failure()
            .stderr_contains(words);
    }
    let dockerfile =
        "FROM busybox\nRUN --mount=type=cache,id=x,source=../../..,target=/m test -z \"$(ls -A /m)\"\n";
    build(&world, dockerfile, &[]).success();
    // Another frontend would do as it likes: there is only ours.
    build(&world, "# syntax=evil/frontend:1\nFROM busybox\nRUN --security=insecure true\n", &[])
        .failure()
        .stderr_contains("security.insecure");
    build(&world, "# syntax=evil/frontend:1\nFROM busybox\nRUN --network=host true\n", &[])
        .failure()
        .stderr_contains("network.host");
    // What is written to a context stays in the step.
    let directory = world
        .context("FROM busybox\nRUN --mount=target=/c,rw touch /c/new && rm /c/Dockerfile && chmod 777 /c\n");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    world.invoke(["build", "."]).directory(&directory).run().success();
    assert!(directory.join("Dockerfile").exists() && !directory.join("new").exists());
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o755);
}

/// CVE-2026-44517 and its like: the Dockerfile of an archive is a link to a file of the host's.
#[test]
#[ignore = "needs root"]
fn privileged_a_dockerfile_in_an_archive_is_no_way_to_the_hosts_files() {
    let world = World::with_busybox();
    let canary = outside(&world).join("canary");
    let canary = canary.to_str().unwrap();
    let linked = Tarball::new().with(Entry::symlink("Dockerfile", canary));
    let noise = e2e::noise(9, 2048);
    let up = "../".repeat(20);
    let archives = [
        linked.clone().finish(),
        [linked.finish(), noise].concat(),
        Tarball::new().with(Entry::hardlink("Dockerfile", canary)).finish(),
        Tarball::new().with(Entry::symlink("Dockerfile", format!("{up}{canary}"))).finish(),
        Tarball::new()
            .with(Entry::symlink("d", "/"))
            .with(Entry::file(format!("d{canary}"), "overwritten"))
            .with(Entry::file("Dockerfile", format!("FROM scratch\nCOPY d{canary} /got\n")))
            .finish(),
        Tarball::new().with(Entry::file(format!("{up}{canary}"), "overwritten")).finish(),
    ];
    for (number, archive) in archives.into_iter().enumerate() {
        let built = world.invoke(["build", "-t", "built", "-"]).stdin(archive).run();
        lacks_canary(&built);
        assert_eq!(fs::read_to_string(canary).unwrap(), CANARY, "{number}");
        if built.code == 0 {
            let saved = world.mica(["save", "built"]).success().stdout();
            assert!(!saved.contains(CANARY), "{number}");
        }
    }
}

/// What is ignored is not there by any of its names, and what decides that may itself be ignored.
#[test]
#[ignore = "needs root"]
fn privileged_what_is_ignored_stays_away_by_whatever_name() {
    let world = World::with_busybox();
    let directory = world.context("FROM busybox\nCOPY . /got\nRUN cd /got && find . | sort\n");
    fs::write(directory.join("secret"), CANARY).unwrap();
    fs::create_dir_all(directory.join("deep/er")).unwrap();
    fs::hard_link(directory.join("secret"), directory.join("deep/name")).unwrap();
    fs::write(directory.join("deep/er/key.pem"), CANARY).unwrap();
    symlink("deep", directory.join("short")).unwrap();
    fs::write(directory.join("kept"), "k").unwrap();
    let ignore =
        "\u{feff}# what stays\r\n/secret\r\ndeep/name  \r\n**/*.pem\r\nDockerfile\r\n.dockerignore\r\n";
    fs::write(directory.join(".dockerignore"), ignore).unwrap();
    let built = world.invoke(["build", "-t", "built", "."]).directory(&directory).run();
    let told = built.success().stderr();
    let names: Vec<&str> =
        told.lines().filter_map(|line| line.split_once(" ./").map(|(_, name)| name)).collect();
    assert_eq!(names, ["deep", "deep/er", "kept", "short"], "{told}");
    assert!(!world.mica(["save", "built"]).success().stdout().contains(CANARY));
    // By way of a link, of a mount, and with a file of its own, it is the same.
    for line in [
        "COPY short/er/key.pem /",
        "COPY deep/name /",
        "RUN --mount=target=/c cat /c/short/er/key.pem /c/secret",
    ] {
        lacks_canary(build(&world, &format!("FROM busybox\n{line}\n"), &[]).failure());
    }
    fs::write(directory.join("Dockerfile.dockerignore"), "kept\n").unwrap();
    build(&world, "FROM busybox\nCOPY kept /\n", &[]).failure();
    build(&world, "FROM busybox\nCOPY secret /\n", &[]).success();
}

/// Each of what makes a copied file decides; when it was changed does not.
#[test]
#[ignore = "needs root"]
fn privileged_every_attribute_of_a_source_is_in_its_key_but_its_time() {
    let world = World::with_busybox();
    let directory = world.context("FROM busybox\nCOPY tree /tree\n");
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("empty")).unwrap();
    fs::write(tree.join("file"), "one").unwrap();
    symlink("file", tree.join("link")).unwrap();
    let is_cached = || {
        let built = world.invoke(["build", "-t", "built", "."]).directory(&directory).run();
        built.success().stderr().contains("CACHED")
    };
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).current_dir(&tree).status().unwrap();
        assert!(status.success(), "{program}");
    };
    assert!(!is_cached());
    for time in ["file", "empty", "."] {
        run("touch", &["-d", "@7", time]);
        assert!(is_cached(), "{time}");
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(tree.join("file"), "user.note", b"text", flags).unwrap();
    assert!(!is_cached());
    let changes: [(&str, &[&str]); 7] = [
        ("sh", &["-c", "printf two > file"]),
        ("chmod", &["700", "file"]),
        ("chmod", &["1777", "empty"]),
        ("ln", &["-sfn", "empty", "link"]),
        ("mv", &["file", "renamed"]),
        ("mkfifo", &["pipe"]),
        ("sh", &["-c", "rmdir empty && echo > empty"]),
    ];
    for (program, arguments) in changes {
        run(program, arguments);
        assert!(!is_cached(), "{program} {arguments:?}");
        assert!(is_cached(), "{program} {arguments:?}");
    }
    // A file that is as large and as old as the one before it, but another.
    run(
        "sh",
        &[
            "-c",
            "touch -d @7 renamed && printf owt > new && touch -d @7 new && chmod 700 new && mv new renamed",
        ],
    );
    assert!(!is_cached());
}

/// BLD-14: what would go round for ever ends at once, with the place.
#[test]
#[ignore = "needs root"]
fn privileged_nothing_stands_on_itself() {
    let world = World::with_busybox();
    let circle = "circular dependency detected on stage: me";
    for dockerfile in [
        "FROM busybox AS me\nCOPY --from=me / /x\n",
        "FROM busybox AS me\nRUN --mount=from=other,target=/x true\nFROM me AS other\n",
        "FROM busybox AS me\nCOPY --from=2 / /x\nFROM me AS other\nFROM other\nRUN true\n",
    ] {
        build(&world, dockerfile, &[]).failure().stderr_contains(circle).stderr_contains(">>> ");
    }
    // A name that no earlier stage has is an image's, also that of the stage itself.
    world.mica(["tag", "busybox", "me"]).success();
    build(&world, "FROM me AS me\nRUN true\n", &["-t", "me"]).success();
    build(&world, "FROM me AS me\nRUN true\n", &["-t", "me"]).success();
    // Triggers do not go on for ever, and lead nobody into himself.
    build(&world, "FROM busybox\nONBUILD COPY --from=me / /x\n", &["-t", "loop"]).success();
    build(&world, "FROM loop AS me\n", &[]).failure().stderr_contains(circle);
    let later = "FROM loop AS one\nFROM one AS me\n";
    build(&world, later, &[]).failure().stderr_contains("cannot copy from stage \"me\"");
    build(&world, "FROM busybox\nONBUILD ONBUILD RUN true\n", &[])
        .failure()
        .stderr_contains("ONBUILD ONBUILD");
    build(&world, "FROM busybox\nONBUILD FROM loop\n", &[]).failure().stderr_contains("trigger");
}
