//! Real projects, built end to end on Debian and with what their package managers bring, and then run.
//!
//! They need what lies outside of the machine, and so a person's consent (`MICA_TEST_OUTSIDE=1`).

use e2e::{Outside, World, fixture, outside};
use std::time::{Duration, Instant};

/// A world with Debian in it, and the way to the registries that the machine's own clients use.
struct Site<'a> {
    world: &'a World,
    outside: Outside<'a>,
}

impl<'a> Site<'a> {
    fn of(world: &'a World) -> Option<Self> {
        let outside = Outside::of(world)?;
        world.import_debian();
        Some(Self { world, outside })
    }

    /// Builds what lies in a project's directory; answers what the build told.
    fn build(&self, project: &str, name: &str, flags: &[&str]) -> String {
        let directory = fixture::workspace().join("crates/e2e/projects").join(project);
        let secrets = outside::client_settings();
        let secrets = secrets.iter().map(|(id, path)| format!("--secret=id={id},src={}", path.display()));
        let words: Vec<String> =
            ["build", "-t", name].iter().chain(flags).map(|&word| word.to_owned()).chain(secrets).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["."]).collect();
        let built = self.outside.invoke(&words).directory(directory).run();
        built.success();
        // What lets the machine reach its registries is nowhere in the result.
        self.world.mica(["history", "--no-trunc", name]).success().stdout_lacks("BEGIN CERTIFICATE");
        built.stderr()
    }

    fn prints(&self, words: &[&str], expected: &str) {
        self.world
            .invoke([&["run", "--rm", "--network", "none"], words].concat())
            .run()
            .success()
            .stdout_is(expected);
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_node_application_is_built_and_answers() {
    let world = World::new();
    let Some(site) = Site::of(&world) else { return };
    site.build("node", "node", &["-f", "base.Dockerfile"]);
    site.build("node", "greeter", &[]);
    site.prints(&["greeter", "node", "server.js", "once"], "listening\n{\"hello\":\"world\"}\n");
    assert_eq!(
        world.inspect("greeter", "{{.Config.WorkingDir}} {{.Config.ExposedPorts}} {{.Config.Cmd}}"),
        "/usr/src/app map[3000/tcp:map[]] [node server.js]"
    );
    // Nothing is asked of anybody once it is built.
    let again = world
        .invoke(["build", "-t", "again", "."])
        .directory(fixture::workspace().join("crates/e2e/projects/node"))
        .run();
    again.success();
    assert_eq!(world.inspect("again", "{{.RootFS.Layers}}"), world.inspect("greeter", "{{.RootFS.Layers}}"));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_python_application_is_built_and_runs_as_its_user() {
    let world = World::new();
    let Some(site) = Site::of(&world) else { return };
    site.build("python", "greeter", &[]);
    site.prints(&["greeter", "world"], "hello world, says www-data\n");
    site.prints(&["greeter"], "hello nobody, says www-data\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_c_program_is_compiled_and_is_all_that_the_image_has() {
    let world = World::new();
    let Some(site) = Site::of(&world) else { return };
    site.build("c", "primes", &[]);
    site.prints(&["primes"], "2\n3\n5\n7\n");
    site.prints(&["primes", "4"], "2\n3\n");
    assert_eq!(world.inspect("primes", "{{len .RootFS.Layers}}"), "1");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_rust_crate_is_compiled_again_with_what_its_caches_hold() {
    let world = World::new();
    let Some(site) = Site::of(&world) else { return };
    let first = site.build("rust", "greeter", &[]);
    assert!(first.contains("Compiling itoa"), "{first}");
    site.prints(&["greeter"], "hello world of 5 letters, revision none\n");
    let second = site.build("rust", "greeter", &["--build-arg", "REVISION=two"]);
    assert!(second.contains("Compiling greeter") && !second.contains("Compiling itoa"), "{second}");
    site.prints(&["greeter"], "hello world of 5 letters, revision two\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_database_server_is_installed_and_serves() {
    let world = World::new();
    let Some(site) = Site::of(&world) else { return };
    site.build("postgresql", "server", &[]);
    world.mica(["run", "-d", "--name", "db", "--network", "none", "server"]).success();
    let deadline = Instant::now() + Duration::from_secs(60);
    let health = || world.inspect("db", "{{.State.Status}} {{.State.Health.Status}}");
    while health() != "running healthy" {
        assert!(Instant::now() < deadline, "{}: {}", health(), world.mica(["logs", "db"]).describe());
        std::thread::sleep(Duration::from_millis(50));
    }
    let sum = "create table t as select generate_series(1, 1000) n; select sum(n) from t";
    world.mica(["exec", "db", "psql", "--quiet", "-At", "-c", sum]).success().stdout_is("500500\n");
    world.invoke(["stop", "db"]).limit(Duration::from_secs(30)).run().success();
    // It was asked by the signal it wants, and shut down.
    assert_eq!(world.inspect("db", "{{.State.ExitCode}}"), "0");
    world.mica(["logs", "db"]).success().stderr_contains("database system is shut down");
}

#[test]
#[ignore = "needs root"]
fn privileged_all_that_packages_do_to_files_is_in_the_image_and_in_its_archive() {
    let world = World::new();
    let Some(site) = Site::of(&world) else { return };
    site.build("debian", "everything", &[]);
    site.prints(&["everything"], "same\n");
    let list = world.mica(["run", "--rm", "everything", "cat", "/tmp/list"]).success().stdout();
    for part in
        ["/usr/bin/env cap_net_bind_service=ep", "user.note=\"text\"", " /opt/one /srv/two", "d 3777 5 4242"]
    {
        assert!(list.contains(part), "no {part:?} in the list");
    }
    let archive = world.scratch().join("everything.tar");
    let archive = archive.to_str().unwrap();
    world.invoke(["save", "-o", archive, "everything"]).limit(Duration::from_secs(120)).run().success();
    let other = World::new();
    other.invoke(["load", "-q", "-i", archive]).limit(Duration::from_secs(120)).run().success();
    other.mica(["run", "--rm", "--network", "none", "everything"]).success().stdout_is("same\n");
}
