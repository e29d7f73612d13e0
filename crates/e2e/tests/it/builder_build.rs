//! `mica build`: a Dockerfile becomes an image.

use e2e::{Output, World};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A directory with these files.
fn context(world: &World, files: &[(&str, &str)]) -> PathBuf {
    let directory = world.scratch().join("context");
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Builds a Dockerfile in a context with files and names the result `built`.
fn build(world: &World, dockerfile: &str, files: &[(&str, &str)]) -> Output {
    let directory = context(world, files);
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    world.invoke(["build", "-t", "built", "."]).directory(directory).run()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_dockerfile_becomes_an_image_and_the_second_time_nothing_is_done() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox AS first\nARG GREETING=hello\nENV NAME=world\nRUN echo $GREETING $NAME > /greeting\n\
                      WORKDIR /app\nCOPY . .\nFROM busybox\nLABEL a=b\nCOPY --from=first /greeting /app/file /got/\n\
                      EXPOSE 80\nUSER 7:8\nCMD cat /got/greeting; id -u\n";
    build(&world, dockerfile, &[("file", "content")]).success();
    world.mica(["run", "--rm", "built"]).success().stdout_is("hello world\n7\n");
    world.mica(["run", "--rm", "built", "cat", "/got/file"]).success().stdout_is("content");
    let format = "{{.Config.Labels}} {{.Config.ExposedPorts}} {{.Config.User}} {{len .RootFS.Layers}}";
    assert_eq!(world.inspect("built", format), "map[a:b] map[80/tcp:map[]] 7:8 2");
    let id = world.inspect("built", "{{.Id}}");
    let again = build(&world, dockerfile, &[("file", "content")]);
    again.success().stderr_contains("CACHED");
    assert!(!again.stderr().contains("DONE 0.0s\n#4 0."), "{}", again.stderr());
    assert_eq!(world.inspect("built", "{{.Id}}"), id);
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_history_reads_as_dockers() {
    let world = World::with_busybox();
    let dockerfile =
        "FROM busybox\nARG V=1\nENV A=b\nRUN touch /x\nCOPY Dockerfile /d\nCMD [\"sh\", \"-c\", \"true\"]\n";
    build(&world, dockerfile, &[]).success();
    let lines =
        world.mica(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "built"]).success().lines();
    assert_eq!(
        lines[..5],
        [
            "CMD [\"sh\" \"-c\" \"true\"]",
            "COPY Dockerfile /d # buildkit",
            "RUN |1 V=1 /bin/sh -c touch /x # buildkit",
            "ENV A=b",
            "ARG V=1"
        ]
    );
    // Those between: after RUN, and after COPY.
    let all = world.mica(["images", "-aq"]).success().lines();
    assert_eq!(all.len(), world.mica(["images", "-q"]).success().lines().len() + 2);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_failing_command_is_shown_with_its_place() {
    let world = World::with_busybox();
    let failed =
        build(&world, "FROM busybox\nRUN echo fine\nRUN echo what went wrong; exit 3\nRUN never\n", &[]);
    failed.code(1);
    failed.stderr_contains("what went wrong").stderr_contains("Dockerfile:3");
    failed.stderr_contains(">>> RUN echo what went wrong; exit 3").stderr_contains("exit code: 3");
    world.mica(["image", "inspect", "built"]).failure();
    // What was done before the failure is not done again.
    let mended = build(&world, "FROM busybox\nRUN echo fine\nRUN true\n", &[]);
    mended.success().stderr_contains("CACHED");
    assert_eq!(fs::read_dir(world.root().join("container")).unwrap().count(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_mistake_is_refused_before_anything_runs() {
    let world = World::with_busybox();
    let refused = build(&world, "FROM busybox\nRUN echo ran\nCOPPY a b\n", &[]);
    refused.code(1);
    refused
        .stderr_contains("Dockerfile:3")
        .stderr_contains("unknown instruction: COPPY (did you mean COPY?)");
    assert!(!refused.stderr().contains("#3"), "{}", refused.stderr());
    build(&world, "FROM nowhere/to/be/found:1\n", &[]).code(1);
    build(&world, "FROM busybox\nCOPY absent /\n", &[]).code(1);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_change_of_a_file_is_seen_and_one_of_its_time_is_not() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox\nCOPY file /file\nRUN cat /file\n";
    let cached = |output: &Output| output.success().stderr().matches("CACHED").count();
    assert_eq!(cached(&build(&world, dockerfile, &[("file", "one")])), 0);
    let file = world.scratch().join("context/file");
    fs::File::open(&file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(cached(&build(&world, dockerfile, &[])), 2);
    assert_eq!(cached(&build(&world, dockerfile, &[("file", "two")])), 0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(cached(&build(&world, dockerfile, &[])), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_nothing_outside_of_the_context_is_copied() {
    let world = World::with_busybox();
    let outside = world.scratch().join("outside");
    fs::write(&outside, "canary").unwrap();
    let directory = context(&world, &[("inside", "inside")]);
    symlink(&outside, directory.join("link")).unwrap();
    symlink(world.scratch(), directory.join("up")).unwrap();
    for source in ["../outside", "link", "up/outside", outside.to_str().unwrap(), "*/outside"] {
        let dockerfile = format!("FROM scratch\nCOPY {source} /got\n");
        let built = build(&world, &dockerfile, &[]);
        if built.stderr().contains("failed to solve") {
            continue;
        }
        let tar = world.scratch().join("saved");
        world.mica(["save", "-o", tar.to_str().unwrap(), "built"]).success();
        assert!(!String::from_utf8_lossy(&fs::read(&tar).unwrap()).contains("canary"), "{source}");
    }
    // The link itself is a file like any other within a directory.
    build(&world, "FROM busybox\nCOPY . /got\nRUN test -L /got/link && ! cat /got/link\n", &[]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_ignored_files_are_not_there() {
    let world = World::with_busybox();
    let files = [
        (".dockerignore", "*\n!kept\n!deep/kept\n"),
        ("kept", "k"),
        ("secret", "s"),
        ("deep/kept", "k"),
        ("deep/secret", "s"),
    ];
    build(&world, "FROM busybox\nCOPY . /got\nRUN find /got -type f | sort\n", &files)
        .success()
        .stderr_contains("/got/deep/kept\n")
        .stderr_contains("/got/kept\n");
    build(&world, "FROM busybox\nRUN test ! -e /got/secret\nCOPY secret /\n", &[]).code(1);
    build(&world, "FROM busybox\nRUN --mount=target=/c ls /c/deep && ! ls /c/secret /c/deep/secret\n", &[])
        .success();
}

#[test]
#[ignore = "needs root"]
fn privileged_secrets_are_seen_by_their_step_and_kept_nowhere() {
    let world = World::with_busybox();
    let token = "3f786850e387550fdab836ed7e6dc881de23001b";
    let directory = context(
        &world,
        &[(
            "Dockerfile",
            "FROM busybox\nRUN --mount=type=secret,id=t --mount=type=secret,id=t,env=TOKEN,target=/x/t \
            wc -c < /run/secrets/t && stat -c %a /run/secrets/t && test \"$TOKEN\" = \"$(cat /x/t)\"\nRUN ! ls /run/secrets/t && ! ls /x\n",
        )],
    );
    let secret = world.scratch().join("token");
    fs::write(&secret, token).unwrap();
    let flag = format!("id=t,src={}", secret.display());
    let built = world.invoke(["build", "-t", "built", "--secret", &flag, "."]).directory(&directory).run();
    built.success().stderr_contains(" 40\n").stderr_contains(" 400\n");
    fs::remove_file(&secret).unwrap();
    let mut pending = vec![world.root(), world.run_directory()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            let content = fs::read(&path).unwrap();
            assert!(!content.windows(token.len()).any(|part| part == token.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_mounts_show_what_they_say_and_leave_nothing_in_the_image() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox AS data\nRUN mkdir /data && echo of the stage > /data/file\nFROM busybox\n\
        RUN --mount=from=data,source=/data,target=/m,rw cat /m/file && echo changed > /m/file\n\
        RUN --mount=from=data,source=/data,target=/m grep stage /m/file && ! touch /m/x\n\
        RUN --mount=type=cache,target=/cache,id=c echo kept >> /cache/file\n\
        RUN --mount=type=cache,target=/other,id=c grep kept /other/file\n\
        RUN --mount=type=tmpfs,target=/t touch /t/x\nRUN --mount=target=/c,rw rm /c/Dockerfile\n\
        RUN ! ls -d /m /cache /other /t /c\n";
    build(&world, dockerfile, &[]).success();
    assert!(world.scratch().join("context/Dockerfile").exists());
    world.mica(["run", "--rm", "built", "sh", "-c", "ls -d /m /cache /other /t /c"]).failure();
}

/// CVE-2024-1753, CVE-2024-23651 and CVE-2024-9675: sources of mounts that lead outside.
#[test]
#[ignore = "needs root"]
fn privileged_no_mount_leads_outside() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox AS base\nRUN ln -s / /rootdir\nFROM busybox\n\
        RUN --mount=type=bind,from=base,source=/rootdir,target=/exploit,rw touch /exploit/BIND_BREAKOUT\n";
    build(&world, dockerfile, &[]);
    assert!(!std::path::Path::new("/BIND_BREAKOUT").exists());
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,id=x,target=/cache mkdir /cache/sel && rmdir /cache/sel && ln -s /etc /cache/sel\n\
        RUN --mount=type=cache,id=x,source=sel,target=/v cat /v/hostname\n";
    build(&world, dockerfile, &[]).code(1);
    let dockerfile =
        "FROM busybox\nRUN --mount=type=cache,id=../../../../../../etc,target=/m ! cat /m/hostname\n";
    build(&world, dockerfile, &[]).success();
    build(&world, "FROM busybox\nRUN --security=insecure true\n", &[]).code(1);
    build(&world, "FROM busybox\nRUN --network=host true\n", &[]).code(1);
}

/// moby's `TestBuildSymlinkBreakout`.
#[test]
#[ignore = "needs root"]
fn privileged_an_archive_cannot_prepare_a_way_out() {
    let world = World::with_busybox();
    let tree = world.scratch().join("tree");
    fs::create_dir_all(&tree).unwrap();
    symlink("/../../../../../../../../../../../", tree.join("symlink2")).unwrap();
    symlink(format!("symlink2{}", world.scratch().display()), tree.join("symlink")).unwrap();
    let directory = context(&world, &[("inject", "injected")]);
    let archive = directory.join("x.tar");
    let status = std::process::Command::new("tar")
        .args(["-C", tree.to_str().unwrap(), "-cf", archive.to_str().unwrap(), "symlink2", "symlink"])
        .status()
        .unwrap();
    assert!(status.success());
    build(&world, "FROM busybox\nADD x.tar /\nADD inject /symlink/\n", &[]);
    assert!(!world.scratch().join("inject").exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_builds_read_standard_input() {
    let world = World::with_busybox();
    let id =
        world.invoke(["build", "-q", "-"]).stdin("FROM busybox\nRUN echo x > /x\n").run().success().line();
    world.mica(["run", "--rm", &id, "cat", "/x"]).success().stdout_is("x\n");
    let directory =
        context(&world, &[("file", "of the context"), ("Dockerfile", "FROM busybox\nCOPY file /file\n")]);
    let id = world
        .invoke(["build", "-q", "-f", "-", "."])
        .directory(&directory)
        .stdin("FROM scratch\nCOPY file /other\n")
        .run()
        .success()
        .line();
    assert!(id.starts_with("sha256:"));
    let packed =
        std::process::Command::new("tar").args(["-C", directory.to_str().unwrap(), "-cz", "."]).output();
    let id = world.invoke(["build", "-q", "-"]).stdin(packed.unwrap().stdout).run().success().line();
    world.mica(["run", "--rm", &id, "cat", "/file"]).success().stdout_is("of the context");
}

#[test]
#[ignore = "needs root"]
fn privileged_with_an_epoch_two_stores_give_the_same_image() {
    let dockerfile = "FROM scratch AS made\nCOPY . /context/\nFROM busybox\nCOPY --from=made / /\nRUN touch /now && mkdir /d\nWORKDIR /w\n";
    let ids = [1, 2].map(|_| {
        let world = World::with_busybox();
        let directory = context(&world, &[("Dockerfile", dockerfile), ("a/b", "c")]);
        let flag = "SOURCE_DATE_EPOCH=1700000000";
        world.invoke(["build", "-q", "--build-arg", flag, "."]).directory(&directory).run().success().line()
    });
    assert_eq!(ids[0], ids[1]);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_was_built_is_forgotten_on_demand() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c echo x > /c/x\nRUN echo one > /one\n";
    build(&world, dockerfile, &[]).success();
    world.mica(["rmi", "built"]).success();
    build(&world, dockerfile, &[]).success().stderr_contains("CACHED");
    world.mica(["rmi", "built"]).success();
    world.mica(["builder", "du"]).success().stdout_contains("RUN echo one");
    world.mica(["builder", "prune", "-f", "--filter", "until=1h"]).success().stdout_contains("Total:\t0B");
    world.mica(["builder", "prune", "-af"]).success();
    let again = build(&world, dockerfile, &[]);
    assert!(!again.success().stderr().contains("CACHED"));
    assert_eq!(fs::read_dir(world.root().join("build/cache")).unwrap().count(), 1);
}

#[test]
#[ignore = "needs root"]
fn privileged_triggers_of_a_base_run_in_what_stands_on_it() {
    let world = World::with_busybox();
    build(&world, "FROM busybox\nONBUILD COPY file /file\nONBUILD RUN cat /file > /copy\n", &[]).success();
    world.mica(["tag", "built", "base"]).success();
    build(&world, "FROM base\nRUN cat /copy\n", &[("file", "triggered")])
        .success()
        .stderr_contains("triggered");
}

#[test]
#[ignore = "needs root"]
fn privileged_flags_for_commands_reach_them_and_decide_what_is_known() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox\nRUN cat /etc/hosts; ulimit -n; df -m /dev/shm | tail -1\n";
    let directory = context(&world, &[("Dockerfile", dockerfile)]);
    let run = |flags: &[&str]| {
        let arguments = [&["build", "-t", "built"], flags, &["."]].concat();
        world.invoke(arguments).directory(&directory).run()
    };
    let flags = ["--add-host", "there:10.1.2.3", "--ulimit", "nofile=77:99", "--shm-size", "8m"];
    let first = run(&flags);
    first.success().stderr_contains("10.1.2.3\tthere").stderr_contains(" 77\n").stderr_contains(" 8 ");
    run(&flags).success().stderr_contains("CACHED");
    assert!(!run(&[]).success().stderr().contains("CACHED"));
    run(&["--add-host", "there"]).failure();
    run(&["--platform", "linux/s390x"]).failure().stderr_contains("platform");
}

#[test]
#[ignore = "needs root"]
fn privileged_commands_are_on_the_default_network_unless_they_ask_for_another() {
    let world = World::with_busybox();
    world
        .mica(["run", "-d", "--name", "server", "busybox", "sh", "-c", "echo hello > /index.html; httpd -f"])
        .success();
    let address = world.inspect("server", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let fetch = format!("until wget -qO- http://{address}/; do usleep 50000; done");
    let dockerfile = format!(
        "FROM busybox AS one\nRUN {fetch} > /one; cat /etc/hosts > /hosts\nFROM busybox AS two\nRUN {fetch} > /two\n\
         RUN --network=none ip link | grep -c '^[0-9]' > /none; ! wget -qO- http://{address}/\n\
         FROM busybox\nCOPY --from=one /one /hosts /\nCOPY --from=two /two /none /\nRUN cat /etc/resolv.conf > /resolv\n"
    );
    build(&world, &dockerfile, &[]).success();
    let shown = world.mica([
        "run",
        "--rm",
        "built",
        "sh",
        "-c",
        "cat /one /two /none; grep -c buildkitsandbox /hosts",
    ]);
    shown.success().stdout_is("hello\nhello\n1\n1\n");
    // What commands had is given back.
    let on_network =
        world.mica(["network", "inspect", "bridge", "--format", "{{len .Containers}}"]).success().line();
    assert_eq!(on_network, "1");
    world.mica(["rm", "-f", "server"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_the_host_is_known_by_name_and_its_network_needs_a_right() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox\nRUN grep gateway.test /etc/hosts; ip route | grep default\n";
    let directory = context(&world, &[("Dockerfile", dockerfile)]);
    let output =
        world.invoke(["build", "--add-host", "gateway.test=host-gateway", "."]).directory(&directory).run();
    let shown = output.success().stderr();
    let gateway = shown.split("default via ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(shown.contains(&format!("{gateway}\tgateway.test")), "{shown}");
    let directory = context(&world, &[("Dockerfile", "FROM busybox\nRUN --network=host true\n")]);
    let build =
        |flags: &[&str]| world.invoke([&["build"], flags, &["."]].concat()).directory(&directory).run();
    build(&[]).failure().stderr_contains("--allow network.host");
    build(&["--allow", "network.host"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_build_goes_on_while_others_tidy() {
    let world = World::with_busybox();
    let steps: String = (0..40).map(|number| format!("RUN echo {number}\n")).collect();
    std::fs::write(world.scratch().join("Dockerfile"), format!("FROM busybox\n{steps}")).unwrap();
    let context = world.scratch().display().to_string();
    let build = std::thread::scope(|scope| {
        let words = ["build", "-q", "--network", "none", "-t", "built", &context];
        let invocation = world.invoke(words);
        let build = scope.spawn(move || invocation.run());
        while !build.is_finished() {
            world.mica(["container", "prune", "-f"]).success();
        }
        build.join().unwrap()
    });
    build.success();
}

/// What commands find around them is what docker's builder gives them.
#[test]
#[ignore = "needs root"]
fn privileged_commands_find_what_dockers_builder_gives_them() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox\nARG A=b\nENV C=d\nRUN env | grep -v -e SHLVL -e PWD -e OLDPWD | sort; id; umask; hostname; pwd\n\
        ENV HOSTNAME=mine\nRUN echo named $HOSTNAME\n";
    let told = build(&world, dockerfile, &[]).success().stderr();
    // `#STEP SECONDS TEXT`
    let lines: Vec<&str> = told
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ' ').skip(1);
            parts.next()?.parse::<f64>().ok()?;
            parts.next()
        })
        .collect();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let root = "uid=0(root) gid=0(root) groups=0(root)";
    let expected = ["A=b", "C=d", "HOME=/root", path, root, "0022", "buildkitsandbox", "/", "named mine"];
    assert_eq!(lines, expected, "{told}");
}

/// The agent of OpenSSH answers in a step with such a mount, by the program of this machine with its libraries, and in no
/// other; nothing of the key is in the image.
#[test]
#[ignore = "needs root"]
fn privileged_an_agent_answers_in_steps_that_ask_for_it() {
    let (agent, add) = (Path::new("/usr/bin/ssh-agent"), Path::new("/usr/bin/ssh-add"));
    let world = World::with_busybox();
    let directory = context(&world, &[]);
    let libraries = Command::new("ldd").arg(add).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain([add.to_str().unwrap()]) {
        let place = directory.join("root").join(&path[1..]);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(path, place).unwrap();
    }
    let (socket, key) = (world.scratch().join("agent"), world.scratch().join("key"));
    let words = ["-q", "-t", "ed25519", "-N", "", "-C", "a-key-of-mine", "-f", key.to_str().unwrap()];
    assert!(Command::new("ssh-keygen").args(words).status().unwrap().success());
    let mut running =
        Command::new(agent).args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while UnixStream::connect(&socket).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "the agent does not listen");
        std::thread::yield_now();
    }
    let added = Command::new(add).env("SSH_AUTH_SOCK", &socket).arg("-q").arg(&key).status();
    assert!(added.unwrap().success());
    let dockerfile = "FROM busybox\nCOPY root /\nRUN --mount=type=ssh,required ssh-add -l\n\
        RUN --mount=type=ssh,id=second ssh-add -l\nRUN ! ssh-add -l\nRUN find / -xdev -type s > /sockets\n";
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    let second = format!("second={}", socket.display());
    let words = ["build", "-t", "built", "--ssh", "default", "--ssh", &second, "."];
    let built = world.invoke(words).directory(directory).env("SSH_AUTH_SOCK", &socket).run();
    let ended = running.kill().and_then(|()| running.wait());
    let told = built.success().stderr();
    assert_eq!(told.matches("a-key-of-mine").count(), 2, "{told}");
    assert!(ended.is_ok());
    world.mica(["run", "--rm", "built", "cat", "/sockets"]).success().stdout_is("");
}
