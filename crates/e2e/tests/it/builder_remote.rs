//! `mica build` with files of other places: the web and git repositories, all of them of the test's own.

use e2e::registry::{Answer, Manner};
use e2e::{Output, Registry, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn build(world: &World, dockerfile: &str, flags: &[&str]) -> Output {
    let directory = world.context(dockerfile);
    world.invoke([&["build", "-t", "built", "."], flags].concat()).directory(directory).run()
}

fn prints(world: &World, command: &str) -> String {
    world.mica(["run", "--rm", "built", "sh", "-c", command]).success().stdout()
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(directory).args(["-c", "user.name=Test", "-c", "user.email=test@example.com"]);
    command.args(["-c", "protocol.file.allow=always"]).args(arguments);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with two commits, a branch, a tag and a directory.
fn repository(world: &World) -> PathBuf {
    let path = world.scratch().join("project.git");
    fs::create_dir_all(path.join("part")).unwrap();
    git(&path, &["init", "--quiet", "-b", "main"]);
    fs::write(path.join("file"), "first").unwrap();
    fs::write(path.join("part/inner"), "inner").unwrap();
    fs::write(path.join("part/Dockerfile"), "FROM busybox\nCOPY . /part\nCMD ls -A /part\n").unwrap();
    std::os::unix::fs::symlink("/etc", path.join("outside")).unwrap();
    git(&path, &["add", "."]);
    git(&path, &["commit", "--quiet", "-m", "one"]);
    git(&path, &["tag", "-a", "-m", "a tag", "v1"]);
    git(&path, &["checkout", "--quiet", "-b", "other"]);
    fs::write(path.join("file"), "second").unwrap();
    git(&path, &["commit", "--quiet", "-am", "two"]);
    git(&path, &["checkout", "--quiet", "main"]);
    path
}

/// A repository as a plain web server has it, which knows nothing of git.
fn publish(server: &Registry, repository: &Path) -> String {
    publish_as(server, repository, "p.git")
}

fn publish_as(server: &Registry, repository: &Path, name: &str) -> String {
    let bare = repository.with_file_name("bare");
    let _ = fs::remove_dir_all(&bare);
    git(repository, &["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    git(&bare, &["update-server-info"]);
    let mut directories = vec![bare.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let file = path.strip_prefix(&bare).unwrap().display();
                server
                    .put(&format!("GET /{name}/{file}"), Answer::new("text/plain", fs::read(&path).unwrap()));
            }
        }
    }
    format!("http://{}/{name}", server.address())
}

#[test]
#[ignore = "needs root"]
fn privileged_files_of_the_web_are_added_as_they_are() {
    let world = World::with_busybox();
    let server = Registry::new();
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    server.put("GET /dir/file.txt", Answer::new("text/plain", "web").header("Last-Modified", date));
    server.put("GET /moved", Answer::status(302).header("Location", "/dir/file.txt"));
    let at = format!("http://{}", server.address());
    let dockerfile = format!(
        "FROM busybox\nADD {at}/dir/file.txt?q=1 /got/\nADD --chmod=755 --chown=7:8 {at}/moved /renamed\n"
    );
    build(&world, &dockerfile, &[]).success();
    assert_eq!(
        prints(
            &world,
            "cat /got/file.txt; stat -c ' %a %u:%g %Y' /got/file.txt; stat -c '%a %u:%g %s' /renamed"
        ),
        "web 600 0:0 1445412480\n755 7:8 3\n"
    );
    // What has changed there is seen; what has not is not added again.
    build(&world, &dockerfile, &[]).success().stderr_contains("CACHED");
    server.put("GET /dir/file.txt", Answer::new("text/plain", "new").header("Last-Modified", date));
    build(&world, &dockerfile, &[]).success();
    assert_eq!(prints(&world, "cat /got/file.txt"), "new");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_file_that_is_known_by_a_tag_is_not_downloaded_again() {
    let world = World::with_busybox();
    let server = Registry::new();
    server.put_all(
        "GET /file",
        [Answer::new("text/plain", "x").header("ETag", "\"1\""), Answer::status(304), Answer::status(500)],
    );
    let dockerfile = format!("FROM busybox\nADD http://{}/file /\n", server.address());
    build(&world, &dockerfile, &[]).success();
    build(&world, &dockerfile, &[]).success().stderr_contains("CACHED");
    let asked = server.asked();
    assert_eq!(asked[1].headers["if-none-match"], "\"1\"");
    build(&world, &dockerfile, &[]).failure().stderr_contains("unexpected status 500");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_checksum_is_kept_to_and_asks_nobody_twice() {
    let world = World::with_busybox();
    let server = Registry::new();
    server.put_all("GET /file", [Answer::new("text/plain", "x"), Answer::status(500)]);
    let at = format!("http://{}/file", server.address());
    let right = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    let dockerfile = format!("FROM busybox\nADD --checksum={right} {at} /\n");
    build(&world, &dockerfile, &[]).success();
    build(&world, &dockerfile, &[]).success().stderr_contains("CACHED");
    assert_eq!(server.count("GET /file"), 1);
    server.put("GET /file", Answer::new("text/plain", "other"));
    let wrong = right.replace("sha256:2", "sha256:3");
    build(&world, &format!("FROM busybox\nADD --checksum={wrong} {at} /\n"), &[])
        .failure()
        .stderr_contains("digest mismatch");
    build(&world, &format!("FROM busybox\nADD --checksum=sha256:2d {at} /\n"), &[])
        .failure()
        .stderr_contains("invalid checksum");
    build(&world, &format!("FROM busybox\nADD --checksum={right} Dockerfile /\n"), &[])
        .failure()
        .stderr_contains("checksum requires HTTP(S) or Git sources");
}

#[test]
#[ignore = "needs root"]
fn privileged_archives_of_the_web_are_unpacked_only_on_request() {
    let world = World::with_busybox();
    let server = Registry::new();
    let directory = world.scratch().join("inside");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("member"), "m").unwrap();
    fs::write(directory.join("Dockerfile"), "FROM busybox\nCOPY member /\nCMD cat /member\n").unwrap();
    let archive = world.scratch().join("a.tar.gz");
    let tar =
        Command::new("tar").arg("czf").arg(&archive).arg("-C").arg(&directory).arg(".").status().unwrap();
    assert!(tar.success());
    server.put("GET /a.tar.gz", Answer::new("application/gzip", fs::read(&archive).unwrap()));
    let at = format!("http://{}/a.tar.gz", server.address());
    build(&world, &format!("FROM busybox\nADD {at} /plain/\nADD --unpack=true {at} /open/\n"), &[]).success();
    assert_eq!(prints(&world, "ls /plain; cat /open/member"), "a.tar.gz\nm");
    // The same archive as a context, by its address and on standard input, and as a further context.
    world.mica(["build", "-t", "web", &at]).success();
    world.mica(["run", "--rm", "web"]).success().stdout_is("m");
    let input = fs::read(&archive).unwrap();
    world.invoke(["build", "-t", "piped", "-"]).stdin(input).run().success();
    world.mica(["run", "--rm", "piped"]).success().stdout_is("m");
    let flag = format!("more={at}");
    build(&world, "FROM busybox\nCOPY --from=more member /\n", &["--build-context", &flag]).success();
    assert_eq!(prints(&world, "cat /member"), "m");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_dockerfile_may_come_from_the_web() {
    let world = World::with_busybox();
    let server = Registry::new();
    server.put("GET /x/Dockerfile", Answer::new("text/plain", "FROM busybox\nRUN echo web > /made\n"));
    server.put("GET /copy", Answer::new("text/plain", "FROM busybox\nCOPY own /\n"));
    let at = format!("http://{}", server.address());
    world.mica(["build", "-t", "built", &format!("{at}/x/Dockerfile")]).success();
    assert_eq!(prints(&world, "cat /made"), "web\n");
    let directory = world.scratch().join("own");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("own"), "mine").unwrap();
    let flag = format!("{at}/copy");
    world.invoke(["build", "-t", "built", "-f", &flag, "."]).directory(&directory).run().success();
    assert_eq!(prints(&world, "cat /own"), "mine");
    world.mica(["build", &format!("{at}/copy")]).failure().stderr_contains("not found");
}

#[test]
#[ignore = "needs root"]
fn privileged_hostile_servers_give_errors_and_no_files() {
    let world = World::with_busybox();
    let server = Registry::new();
    server.put("GET /loop", Answer::status(302).header("Location", "/loop"));
    server.put("GET /out", Answer::status(302).header("Location", "file:///etc/passwd"));
    server.put("GET /cloud", Answer::status(302).header("Location", "http://169.254.169.254/secrets"));
    server.put("GET /short", Answer::new("text/plain", "0123456789").manner(Manner::DropAfter(4)));
    server.put("GET /..%2f..%2fevil", Answer::new("text/plain", "evil"));
    let at = format!("http://{}", server.address());
    for (path, words) in [
        ("loop", "too many redirects"),
        ("out", "refusing a redirect"),
        ("cloud", "local link"),
        ("short", "/short"),
        ("absent", "404"),
    ] {
        build(&world, &format!("FROM busybox\nADD {at}/{path} /x\n"), &[]).failure().stderr_contains(words);
    }
    build(&world, &format!("FROM busybox\nADD {at}/..%2f..%2fevil /in/\n"), &[]).success();
    assert_eq!(prints(&world, "ls /in"), "evil\n");
    assert_eq!(fs::read_dir(world.root().join("container")).unwrap().count(), 0);
}

#[test]
#[ignore = "needs root"]
fn privileged_repositories_are_added_by_branch_tag_commit_and_part() {
    let world = World::with_busybox();
    let server = Registry::new();
    let repository = repository(&world);
    let first = git(&repository, &["rev-parse", "main"]);
    let at = publish(&server, &repository);
    let dockerfile = format!(
        "FROM busybox\nADD {at} /main\nADD {at}#other /other\nADD {at}#v1 /tag\nADD {at}#{first}:part /part\n\
         ADD --keep-git-dir=true {at} /kept\nADD {at}?branch=other&subdir=part /query\nADD --checksum={first} {at} /checked\n"
    );
    build(&world, &dockerfile, &[]).success();
    assert_eq!(
        prints(
            &world,
            "for d in main other tag checked; do cat /$d/file; echo; done; ls /part /query; ls -A /main"
        ),
        "first\nsecond\nfirst\nfirst\n/part:\nDockerfile\ninner\n\n/query:\nDockerfile\ninner\nfile\noutside\npart\n"
    );
    assert_eq!(prints(&world, "cat /kept/.git/HEAD"), format!("{first}\n"));
    build(
        &world,
        &format!("FROM busybox\nADD --checksum={} {at} /x\n", first.replace(|_: char| true, "0")),
        &[],
    )
    .failure()
    .stderr_contains("expected checksum to match");
    build(&world, &format!("FROM busybox\nADD {at}#absent /x\n"), &[])
        .failure()
        .stderr_contains("does not contain ref absent");
    // Nothing is fetched for what was added before, and a new commit is seen.
    let cached = build(&world, &dockerfile, &[]).success().stderr();
    assert_eq!(cached.matches("CACHED").count(), 7, "{cached}");
    fs::write(repository.join("file"), "third").unwrap();
    git(&repository, &["commit", "--quiet", "-am", "three"]);
    publish(&server, &repository);
    build(&world, &format!("FROM busybox\nADD {at} /main\n"), &[]).success();
    assert_eq!(prints(&world, "cat /main/file"), "third");
}

#[test]
#[ignore = "needs root"]
fn privileged_submodules_come_along_and_files_may_be_as_old_as_the_commit() {
    let world = World::with_busybox();
    let server = Registry::new();
    let inner = world.scratch().join("inner.git");
    fs::create_dir_all(&inner).unwrap();
    git(&inner, &["init", "--quiet", "-b", "main"]);
    fs::write(inner.join("deep"), "deep").unwrap();
    git(&inner, &["add", "."]);
    git(&inner, &["commit", "--quiet", "-m", "one"]);
    let inner_at = publish_as(&server, &inner, "inner.git");
    let repository = repository(&world);
    git(&repository, &["submodule", "--quiet", "add", &inner_at, "module"]);
    git(&repository, &["commit", "--quiet", "-m", "with a module"]);
    let at = publish(&server, &repository);
    let dockerfile =
        format!("FROM busybox\nADD {at}?mtime=commit /with\nADD {at}?submodules=false /without\n");
    build(&world, &dockerfile, &[]).success();
    assert_eq!(
        prints(&world, "cat /with/module/deep; ls -A /with/module /without/module"),
        "deep/with/module:\ndeep\n\n/without/module:\n"
    );
    let seconds = git(&repository, &["log", "-1", "--format=%ct"]);
    assert_eq!(prints(&world, "stat -c %Y /with/file /with/part/inner"), format!("{seconds}\n{seconds}\n"));
}

#[test]
#[ignore = "needs root"]
fn privileged_nothing_of_an_address_becomes_an_option_or_leaves_the_repository() {
    let world = World::with_busybox();
    let server = Registry::new();
    let at = publish(&server, &repository(&world));
    let canary = world.scratch().join("canary");
    let run = format!("touch${{IFS}}{}", canary.display());
    for part in
        [format!("#--upload-pack={run}"), "#a..b".to_owned(), "?ref=-x".to_owned(), "?what=1".to_owned()]
    {
        build(&world, &format!("FROM busybox\nADD {at}{part} /x\n"), &[]).failure();
    }
    build(&world, "FROM busybox\nADD ssh://-oProxyCommand=x/a.git /x\n", &[]).failure();
    // The link leads to the repository's own /etc, which it does not have.
    build(&world, &format!("FROM busybox\nADD {at}#main:outside /x\n"), &[]).failure();
    build(&world, &format!("FROM busybox\nADD {at}#main:../.. /x\n"), &[]).success();
    assert_eq!(prints(&world, "ls /x"), "file\noutside\npart\n");
    assert!(!canary.exists());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_repository_is_a_context() {
    let world = World::with_busybox();
    let server = Registry::new();
    let repository = repository(&world);
    let at = publish(&server, &repository);
    world
        .mica(["build", "-t", "built", &format!("{at}#main:part")])
        .success()
        .stderr_contains("load git source");
    world.mica(["run", "--rm", "built"]).success().stdout_is("Dockerfile\ninner\n");
    // One of this machine, by its path, by its address, and with its history.
    let local = format!("{}#other", repository.display());
    let dockerfile = "FROM busybox\nCOPY . /c\nCMD [\"cat\", \"/c/file\"]\n";
    world.invoke(["build", "-t", "built", "-f", "-", &local]).stdin(dockerfile).run().success();
    world.mica(["run", "--rm", "built"]).success().stdout_is("second");
    let address = format!("file://{}#main", repository.display());
    let keeping =
        ["build", "-t", "built", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", "-f", "-", &address];
    world.invoke(keeping).stdin(dockerfile).run().success();
    assert_eq!(prints(&world, "test -f /c/.git/HEAD && cat /c/file"), "first");
    let flag = format!("project={at}");
    build(
        &world,
        "FROM busybox\nCOPY --from=project file /got\nRUN --mount=from=project,target=/m cp /m/part/inner / && ls -A /m > /list\n",
        &["--build-context", &flag],
    )
    .success();
    assert_eq!(prints(&world, "cat /got /inner /list"), "firstinnerfile\noutside\npart\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_repository_of_this_machine_is_added_only_if_that_is_allowed() {
    let world = World::with_busybox();
    let repository = repository(&world);
    let dockerfile = format!("FROM busybox\nADD file://{}#v1 /x\n", repository.display());
    build(&world, &dockerfile, &[]).failure().stderr_contains("--allow fs.read=");
    let allow = format!("fs.read={}", repository.parent().unwrap().display());
    build(&world, &dockerfile, &["--allow", &allow]).success();
    assert_eq!(prints(&world, "cat /x/file"), "first");
}
