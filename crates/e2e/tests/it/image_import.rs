//! `mica import` and `export`: flattened roots, a real Debian among them.

use e2e::registry::{Answer, Manner};
use e2e::{Entry, Registry, Tarball, World};
use std::process::{Command, Stdio};

#[test]
#[ignore = "needs root"]
fn privileged_a_debian_root_is_imported_run_committed_and_exported() {
    let world = World::new();
    world.import_debian();
    let run = |image: &str, script: &str| {
        world.mica(["run", "--rm", "--network", "none", image, "bash", "-ec", script])
    };
    run("debian:minbase", ". /etc/os-release; echo $ID; dpkg -s bash | grep -c ^Status; perl -e 'print 6*7'")
        .success()
        .stdout_is("debian\n1\n42");
    let change = "useradd -m someone; dpkg --purge --force-all tzdata >/dev/null 2>&1; echo hi > /home/someone/f; \
                  chown someone /home/someone/f; rm -rf /usr/share/doc; mkdir /usr/share/doc";
    world
        .mica(["run", "--name", "changer", "--network", "none", "debian:minbase", "bash", "-c", change])
        .success();
    world.mica(["commit", "-c", "USER someone", "changer", "debian:mine"]).success();
    run("debian:mine", "whoami; cat ~/f; ls /usr/share/doc | wc -l").success().stdout_is("someone\nhi\n0\n");
    // The whole root, as the system's own tar sees it.
    let exported = world.scratch().join("debian.tar");
    world.mica(["export".as_ref(), "-o".as_ref(), exported.as_os_str(), "changer".as_ref()]).success();
    let listed = Command::new("tar").arg("-tf").arg(&exported).stdin(Stdio::null()).output().unwrap();
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(names.lines().count() > 3000 && names.contains("home/someone/f"), "{}", names.lines().count());
    assert!(!names.lines().any(|name| name.starts_with('/') || name.contains(".wh.")));
}

fn root() -> Vec<u8> {
    Tarball::new().with(Entry::directory("d/")).with(Entry::file("d/f", "x")).finish()
}

#[test]
#[ignore = "needs root"]
fn privileged_import_takes_files_streams_and_instructions() {
    let world = World::new();
    let path = world.scratch().join("root.tar");
    std::fs::write(&path, root()).unwrap();
    let id = world.mica(["import".as_ref(), path.as_os_str(), "flat:1".as_ref()]).success().line();
    assert_eq!(world.inspect("flat:1", "{{.Id}} {{len .RootFS.Layers}}"), format!("{id} 1"));
    let options = ["import", "-m", "why", "-c", "CMD [\"/x\"]", "-c", "ENV A=b", "-", "flat:2"];
    world.invoke(options).stdin(root()).run().success();
    let template = "{{.Comment}} {{json .Config.Cmd}} {{json .Config.Env}}";
    assert_eq!(world.inspect("flat:2", template), r#"why ["/x"] ["A=b"]"#);
    world.mica(["history", "--format", "{{.Comment}}", "flat:2"]).success().stdout_is("why\n");
    let packed = Command::new("gzip").arg("-c").arg(&path).output().unwrap().stdout;
    world.invoke(["import", "-", "flat:gz"]).stdin(packed).run().success();
    let layers = "{{json .RootFS.Layers}}";
    assert_eq!(world.inspect("flat:gz", layers), world.inspect("flat:1", layers));
    // An import without a name dangles.
    world.invoke(["import", "-"]).stdin(root()).run().success();
    world.mica(["images", "-q", "--filter", "dangling=true"]).success().stdout_contains("\n");
    world.mica(["import", "/nonexistent"]).code(1).stderr_contains("no such file or directory");
    world.mica(["import", "https://example.invalid/root.tar"]).failure();
    world.invoke(["import", "-", "UPPER"]).stdin(root()).run().code(1).stderr_contains("must be lowercase");
    world
        .invoke(["import", "-c", "FROM x", "-"])
        .stdin(root())
        .run()
        .code(1)
        .stderr_contains("valid change command");
}

#[test]
#[ignore = "needs root"]
fn privileged_archives_of_the_web_are_imported_whole_or_not_at_all() {
    let world = World::new();
    let server = Registry::new();
    let path = world.scratch().join("root.tar");
    std::fs::write(&path, root()).unwrap();
    let packed = Command::new("gzip").arg("-c").arg(&path).output().unwrap().stdout;
    server.put("GET /root.tar.gz", Answer::new("application/gzip", packed));
    server.put("GET /moved", Answer::status(302).header("Location", "/root.tar.gz"));
    // All of the archive comes, but not all that was promised.
    let short = root().len() - 1;
    server.put("GET /short", Answer::new("application/x-tar", root()).manner(Manner::DropAfter(short)));
    server.put("GET /page", Answer::new("text/html", "<html>not a root</html>"));
    let at = format!("http://{}", server.address());
    let address = format!("{at}/moved");
    let id = world.mica(["import", &address, "web"]).success().line();
    assert_eq!(world.inspect("web", "{{.Id}} {{.Comment}}"), format!("{id} Imported from {address}"));
    world.mica(["import".as_ref(), path.as_os_str(), "here".as_ref()]).success();
    let layers = "{{json .RootFS.Layers}}";
    assert_eq!(world.inspect("web", layers), world.inspect("here", layers));
    for (file, words) in [("short", "/short"), ("absent", "404"), ("page", "archive")] {
        world.mica(["import", &format!("{at}/{file}"), "bad"]).code(1).stderr_contains(words);
    }
    world.mica(["import", "--platform", "bogus", "-"]).code(1).stderr_contains("unknown operating system");
    assert_eq!(world.mica(["images", "-aq"]).success().lines().len(), 2);
}
