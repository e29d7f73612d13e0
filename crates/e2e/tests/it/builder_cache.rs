//! `mica build --cache-from` and `--cache-to`: steps that another store has done are not done again.

use e2e::{DockerRegistry, Output, World};
use std::fs;
use std::path::{Path, PathBuf};

const DOCKERFILE: &str = "FROM busybox AS made\nRUN echo > /more; echo made > /made; cat /proc/sys/kernel/random/uuid > /once\n\
                          FROM busybox\nRUN rm /bin/sleep && mkdir -p /a/b && echo x > /a/b/c\nCOPY own /own\n\
                          COPY --from=made /made /once /\n";

fn build(world: &World, flags: &[&str]) -> Output {
    let directory = world.scratch().join("context");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), DOCKERFILE).unwrap();
    fs::write(directory.join("own"), "own").unwrap();
    world.invoke([&["build", "-t", "built"], flags, &["."]].concat()).directory(directory).run()
}

fn once(world: &World) -> String {
    world.mica(["run", "--rm", "built", "cat", "/once"]).success().stdout()
}

/// Gives what one world has written to another one.
fn handed_over(from: &Path, world: &World) -> PathBuf {
    let to = world.scratch().join("handed-over");
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap();
    assert!(copied.success());
    to
}

#[test]
#[ignore = "needs root"]
fn privileged_a_directory_takes_steps_to_another_store() {
    let first = World::with_busybox();
    let cache = first.scratch().join("cache");
    let to = format!("type=local,dest={},mode=max", cache.display());
    build(&first, &["--cache-to", &to]).success().stderr_contains("exporting cache");
    let (id, made_once) = (first.inspect("built", "{{.Id}}"), once(&first));
    let second = World::with_busybox();
    let from = format!("type=local,src={}", handed_over(&cache, &second).display());
    let again = build(&second, &["--cache-from", &from]);
    assert_eq!(again.success().stderr().matches("CACHED").count(), 4, "{}", again.stderr());
    assert_eq!(once(&second), made_once);
    assert_eq!(second.inspect("built", "{{.Id}}"), id);
    second
        .mica(["run", "--rm", "built", "sh", "-c", "test ! -e /bin/sleep && cat /a/b/c"])
        .success()
        .stdout_is("x\n");
    // From then on its own store has them.
    assert_eq!(build(&second, &[]).success().stderr().matches("CACHED").count(), 4);
}

#[test]
#[ignore = "needs root"]
fn privileged_only_what_the_result_has_is_kept_unless_all_is_asked_for() {
    let world = World::with_busybox();
    let cache = world.scratch().join("cache");
    let layers = || {
        let blobs = fs::read_dir(cache.join("blobs/sha256")).unwrap().flatten();
        blobs.filter(|blob| fs::read(blob.path()).unwrap().get(257..262) == Some(b"ustar")).count()
    };
    let to = format!("type=local,dest={}", cache.display());
    build(&world, &["--cache-to", &format!("{to},mode=max")]).success();
    assert_eq!(layers(), 4);
    build(&world, &["--cache-to", &to]).success();
    assert_eq!(layers(), 3);
}

#[test]
#[ignore = "needs root"]
fn privileged_an_image_may_carry_its_steps() {
    let first = World::with_busybox();
    build(&first, &["--cache-to", "type=inline"]).success();
    let archive = first.scratch().join("built.tar");
    first.mica(["save", "-o", archive.to_str().unwrap(), "built"]).success();
    let second = World::with_busybox();
    second.mica(["load", "-i", archive.to_str().unwrap()]).success();
    second.mica(["tag", "built", "carrier"]).success();
    // It knows the steps whose layers it has: not those of the other stage.
    let again = build(&second, &["--cache-from", "carrier"]);
    assert_eq!(again.success().stderr().matches("CACHED").count(), 2, "{}", again.stderr());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_damaged_or_foreign_cache_is_told_and_a_missing_one_is_none() {
    let world = World::with_busybox();
    let cache = world.scratch().join("cache");
    let at = cache.display();
    build(&world, &["--cache-from", &format!("type=local,src={at}")]).success();
    build(&world, &["--cache-to", &format!("type=local,dest={at}")]).success();
    for blob in fs::read_dir(cache.join("blobs/sha256")).unwrap().flatten() {
        let mut content = fs::read(blob.path()).unwrap();
        content[0] ^= 1;
        fs::write(blob.path(), content).unwrap();
    }
    build(&world, &["--no-cache", "--cache-from", &format!("type=local,src={at}")])
        .failure()
        .stderr_contains("is not right");
    fs::write(cache.join("index.json"), "{").unwrap();
    build(&world, &["--cache-from", &format!("type=local,src={at}")])
        .failure()
        .stderr_contains("the cache in");
    build(&world, &["--cache-from", "type=gha"]).failure().stderr_contains("not supported by mica");
    build(&world, &["--cache-to", "type=s3,bucket=a"]).failure().stderr_contains("not supported by mica");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_registry_takes_steps_to_another_store() {
    if !DockerRegistry::is_installed() {
        return;
    }
    let first = World::with_busybox();
    let registry = DockerRegistry::new();
    let [all, few] = ["all", "few"].map(|tag| registry.name(&format!("team/cache:{tag}")));
    let to = format!("type=registry,ref={all},mode=max");
    build(&first, &["--cache-to", &to]).success().stderr_contains("exporting cache to registry");
    build(&first, &["--cache-to", &format!("type=registry,ref={few}")]).success();
    let made_once = once(&first);
    let cached = |output: &Output| output.success().stderr().matches("CACHED").count();
    let second = World::with_busybox();
    assert_eq!(cached(&build(&second, &["--cache-from", &format!("type=registry,ref={all}")])), 4);
    assert_eq!(
        (once(&second), second.inspect("built", "{{.Id}}")),
        (made_once.clone(), first.inspect("built", "{{.Id}}"))
    );
    // What the result itself does not have was not kept; what comes from it is another one then.
    let third = World::with_busybox();
    assert_eq!(cached(&build(&third, &["--cache-from", &few])), 2);
    assert_ne!(once(&third), made_once);
    // The list has BuildKit's form.
    let raw = std::process::Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{all}")])
        .output()
        .unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&raw.stdout).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.buildkit.cacheconfig.v0");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    // One that is not there is none, and neither is an image without a list.
    let fourth = World::with_busybox();
    let plain = registry.name("team/plain:1");
    fourth.mica(["tag", "busybox", &plain]).success();
    fourth.mica(["push", "-q", &plain]).success();
    fourth.mica(["rmi", &plain]).success();
    let flags = ["--cache-from", &registry.name("team/absent:1"), "--cache-from", &plain];
    assert_eq!(cached(&build(&fourth, &flags)), 0);
}
