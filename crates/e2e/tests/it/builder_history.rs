//! `mica builder history`: what was built lately, and what it told.

use e2e::{Output, World};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn directory(world: &World, dockerfile: &str) -> PathBuf {
    let directory = world.scratch().join("app");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    directory
}

fn build(world: &World, dockerfile: &str, arguments: &[&str]) -> Output {
    let directory = directory(world, dockerfile);
    let arguments = ["build"].iter().chain(arguments).chain(&["."]);
    world.invoke(arguments.copied().collect::<Vec<_>>()).directory(directory).run()
}

#[test]
#[ignore = "needs root"]
fn privileged_builds_are_listed_and_shown_and_tell_again_what_they_told() {
    let world = World::with_busybox();
    build(&world, "FROM busybox\nARG A\nRUN echo words $A\n", &["-t", "x:1", "--build-arg", "A=of-a"])
        .success();
    build(&world, "FROM busybox\nRUN echo the end is near; exit 5\n", &[]).code(1);
    let history = |arguments: &[&str]| {
        let all = ["buildx", "history"].iter().chain(arguments);
        world.mica(all.copied().collect::<Vec<_>>())
    };
    let listed = history(&["ls", "--format", "{{.Name}} {{.Status}}"]).success().lines();
    assert_eq!(listed, ["app Error", "app Completed"]);
    let listed = history(&["ls", "--filter", "status=completed", "--format", "json"]).success().lines();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let row: serde_json::Value = serde_json::from_str(&listed[0]).unwrap();
    assert_eq!((row["status"].as_str(), row["total_steps"].as_u64()), (Some("Completed"), Some(5)));
    let id = row["ref"].as_str().unwrap();
    assert_eq!(
        history(&["inspect", id, "--format", "{{.ImageID}}"]).success().line(),
        world.inspect("x:1", "{{.Id}}")
    );
    history(&["inspect", "^1"]).success().stdout_contains("BUILD ARG").stdout_contains("of-a");
    let last = history(&["inspect", "--format", "json"]).success().json();
    let message = last["Error"]["Message"].as_str().unwrap();
    assert!(
        message.contains("exit code: 5") && last["Error"]["Sources"].to_string().contains(">>> RUN"),
        "{last}"
    );
    history(&["logs", id])
        .success()
        .stdout_contains("[2/2] RUN echo words $A")
        .stdout_contains(" words of-a\n");
    history(&["logs"]).success().stdout_contains("the end is near").stdout_contains("Dockerfile:2");
    let raw = history(&["logs", "--progress", "rawjson", id]).success().lines();
    assert!(raw.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{raw:?}");
    history(&["rm", id]).success();
    history(&["logs", id]).failure();
    history(&["rm"]).failure();
    history(&["rm", "--all"]).success();
    history(&["ls", "--format", "{{.Ref}}"]).success().stdout_is("");
    history(&["export"]).failure().stderr_contains("Docker Desktop");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_build_is_canceled_and_one_that_goes_on_is_running() {
    let world = World::with_busybox();
    let directory = directory(&world, "FROM busybox\nRUN echo has begun; sleep 600\n");
    let mut going = world.invoke(["build", "--progress", "plain", "."]).directory(directory).spawn();
    let status = || world.mica(["builder", "history", "ls", "--format", "{{.Status}}"]).success().line();
    let log = || world.mica(["builder", "history", "logs"]).stdout();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !log().contains(" has begun") {
        assert!(std::time::Instant::now() < deadline, "{}", log());
    }
    assert_eq!(status(), "Running");
    going.signal(rustix::process::Signal::KILL);
    going.wait(Duration::from_secs(10));
    assert_eq!(status(), "Canceled");
    build(&world, "FROM busybox\nRUN true\n", &[]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_kept_of_builds_has_bounds() {
    let world = World::with_busybox();
    let noisy = "FROM busybox\nRUN yes 0123456789012345678901234567890123456789 | head -c 5000000\n";
    build(&world, noisy, &["--progress", "quiet"]).success();
    let directory = world.root().join("build/history");
    let size = |directory: &PathBuf| -> u64 {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    };
    assert!(size(&directory) < 4 << 20, "{}", size(&directory));
    world.mica(["builder", "history", "logs"]).success().stdout_contains("log limit 2MiB reached");
    for _ in 0..51 {
        build(&world, "FROM scratch\nLABEL a=b\n", &[]).success();
    }
    assert_eq!(world.mica(["builder", "history", "ls", "--format", "{{.Ref}}"]).success().lines().len(), 50);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 100);
}

#[test]
#[ignore = "needs root"]
fn privileged_secrets_are_nowhere_after_a_build() {
    let world = World::with_busybox();
    let token = "tok-5f3a9c0d7e6b4a2f1c8d";
    let file = world.scratch().join("token");
    fs::write(&file, token).unwrap();
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=t --mount=type=secret,id=t,target=/x/y,env=T cat \
                      /run/secrets/t /x/y && echo $T > /dev/null && test ${#T} = 24\nRUN test ! -e /run/secrets/t\n";
    let secret = format!("id=t,src={}", file.display());
    let proxy = format!("HTTP_PROXY=http://user:{token}@proxy");
    let address = format!("other=https://user:{token}@127.0.0.1:1/x.git");
    build(&world, dockerfile, &["-t", "x", "--secret", &secret, "--build-arg", &proxy]).success();
    build(&world, dockerfile, &["--build-context", &address, "--secret", &secret]).failure();
    let broken = "FROM busybox\nRUN --mount=type=secret,id=t cat /run/secrets/t; exit 1\n";
    build(&world, broken, &["--secret", &secret]).failure();
    fs::remove_file(&file).unwrap();
    // The engine's root and run directories, the log, the history, and the image as an archive.
    let archive = world.scratch().join("x.tar");
    world.mica(["save", "-o", archive.to_str().unwrap(), "x"]).success();
    for place in [world.root(), world.run_directory(), archive] {
        let found = std::process::Command::new("grep").args(["-rlaF", token]).arg(&place).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{}", place.display());
    }
    let told = world.mica(["builder", "history", "logs", "^2"]).success().stdout();
    assert!(told.contains("***") && !told.contains(token), "{told}");
    let history = world.mica(["history", "--no-trunc", "x"]).success().stdout();
    assert!(!history.contains(token), "{history}");
}
