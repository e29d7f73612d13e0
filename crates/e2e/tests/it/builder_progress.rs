//! What a build shows on a terminal while it goes on.

use e2e::World;
use std::fs;
use std::path::PathBuf;

fn directory(world: &World, dockerfile: &str) -> PathBuf {
    let directory = world.scratch().join("app");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    directory
}

#[test]
#[ignore = "needs root"]
fn privileged_a_terminal_shows_steps_times_and_last_lines_and_follows_its_size() {
    let world = World::with_busybox();
    let dockerfile = "FROM busybox AS one\nRUN echo step one; for i in 1 2 3; do echo line $i; done; sleep 1\n\
                      FROM busybox AS two\nRUN echo step two; sleep 1\n\
                      FROM one\nCOPY --from=two /bin/sh /two\n";
    let directory = directory(&world, dockerfile);
    let mut screen = world.terminal(["build", "-t", "x", directory.to_str().unwrap()]);
    screen.expect("[+] Building");
    screen.expect("=> => # line 3");
    screen.resize(12, 40);
    screen.expect("\x1b[J[+] Building");
    let (rest, code) = screen.finish();
    assert_eq!(code, 0, "{rest}");
    let last = rest.rsplit("\x1b[J").next().unwrap();
    assert!(last.contains("FINISHED") && last.contains("exporting to image"), "{last}");
    assert!(
        last.lines().all(|line| line.chars().filter(|letter| !letter.is_control()).count() <= 48),
        "{last}"
    );
    assert!(!rest.contains("\x1b[?25l"), "the cursor was hidden");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_failure_on_a_terminal_shows_the_last_output_and_the_lines_around() {
    let world = World::with_busybox();
    let directory =
        directory(&world, "FROM busybox\nRUN echo before\nRUN echo what went wrong; exit 4\nRUN after\n");
    let (screen, code) = world.terminal(["build", directory.to_str().unwrap()]).finish();
    assert_eq!(code, 1);
    let last = screen.rsplit("\x1b[J").next().unwrap();
    for part in [
        "=> ERROR [3/4] RUN",
        " > [3/4] RUN echo what",
        "what went wrong",
        ">>> RUN echo what",
        "exit code: 4",
    ] {
        assert!(last.contains(part), "{part}: {last}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_ctrl_c_ends_the_build_and_leaves_the_terminal_as_it_was() {
    let world = World::with_busybox();
    let directory =
        directory(&world, "FROM busybox\nRUN echo done once > /a\nRUN echo has begun; sleep 600\n");
    let mut screen = world.terminal(["build", directory.to_str().unwrap()]);
    screen.expect("# has begun");
    screen.send("\x03");
    let (rest, code) = screen.finish();
    assert_ne!(code, 0);
    assert!(!rest.contains("\x1b[?25l") && !rest.contains("\x1b[?1049h"), "{rest:?}");
    // The next one goes on where this one was.
    fs::write(directory.join("Dockerfile"), "FROM busybox\nRUN echo done once > /a\nRUN true\n").unwrap();
    let again = world.invoke(["build", "-t", "x", "."]).directory(directory).run();
    again.success().stderr_contains("CACHED");
}

#[test]
#[ignore = "needs root"]
fn privileged_without_a_terminal_there_are_lines_and_for_programs_dockers_documents() {
    let world = World::with_busybox();
    let directory = directory(&world, "FROM busybox\nRUN echo out\n");
    let build = |style: &str| {
        world.invoke(["build", "--no-cache", "--progress", style, "."]).directory(&directory).run()
    };
    let plain = build("auto");
    plain.success().stderr_contains("#4 [2/2] RUN echo out");
    assert!(!plain.stderr().contains('\x1b'), "{}", plain.stderr());
    build("tty").failure().stderr_contains("failed to get console");
    let raw = build("rawjson").success().stderr();
    let mut kinds: Vec<String> = Vec::new();
    for line in raw.lines() {
        let document: serde_json::Value = serde_json::from_str(line).unwrap();
        kinds.extend(document.as_object().unwrap().keys().cloned());
    }
    assert!(
        ["vertexes", "logs", "statuses"].iter().all(|kind| kinds.iter().any(|known| known == kind)),
        "{kinds:?}"
    );
}
