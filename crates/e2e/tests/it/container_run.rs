//! `mica run`: exit codes, output, input, terminals, and the image that the binary carries.

use crate::container_ports::eventually;
use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_run_true_prints_nothing() {
    let world = World::with_busybox();
    world.mica(["run", "--rm", "busybox", "true"]).success().stdout_is("").stderr_is_empty();
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_ends_with_the_code_of_its_process() {
    let world = World::with_busybox();
    world.mica(["run", "--rm", "busybox", "sh", "-c", "exit 42"]).code(42);
    world.mica(["run", "--rm", "busybox", "no-such-program"]).code(127).stderr_contains("no-such-program");
    world.mica(["run", "--rm", "busybox", "/etc/passwd"]).code(126).stderr_contains("permission denied");
    world.mica(["run", "--no-such-flag", "busybox"]).code(125).stderr_contains("no-such-flag");
    world.mica(["run", "--rm", "no-such-image"]).code(125).stderr_contains("no-such-image");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_hello_needs_no_image() {
    let world = World::new();
    let output = world.mica(["run", "--rm", "hello"]);
    output.success();
    assert!(!output.stdout.is_empty(), "hello says nothing");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_passes_input_and_output_apart() {
    let world = World::with_busybox();
    let output = world
        .invoke(["run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo oops >&2"])
        .stdin("hello\n")
        .run();
    output.success().stdout_is("hello\n");
    assert_eq!(output.stderr(), "oops\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_sets_environment_directory_user_and_hostname() {
    let world = World::with_busybox();
    let script = "echo $A; pwd; id -u; hostname";
    let output = world.mica([
        "run",
        "--rm",
        "-e",
        "A=b c",
        "-w",
        "/var",
        "-u",
        "daemon",
        "--hostname",
        "inside",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    output.success().stdout_is("b c\n/var\n1\ninside\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_is_process_one_of_a_world_without_network() {
    let world = World::with_busybox();
    let script = "echo $$; ls /sys/class/net; ls /proc > /list; grep -c '^[0-9]' /list";
    world
        .mica(["run", "--rm", "--network", "none", "busybox", "sh", "-c", script])
        .success()
        .stdout_is("1\nlo\n2\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_keeps_what_is_written_in_the_container_only() {
    let world = World::with_busybox();
    world
        .mica(["run", "--name", "writer", "busybox", "sh", "-c", "echo mine > /file; rm /etc/group"])
        .success();
    world.mica(["run", "--rm", "busybox", "cat", "/file"]).code(1);
    world.mica(["run", "--rm", "busybox", "test", "-f", "/etc/group"]).success();
    let changes = world.mica(["diff", "writer"]).success().lines();
    assert_eq!(changes, ["C /etc", "D /etc/group", "A /file"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_run_rm_leaves_no_file_behind() {
    let world = World::with_busybox();
    let script = "mkdir -p /a/b; echo x > /a/b/c; dd if=/dev/zero of=/big bs=1M count=8";
    world.mica(["run", "--rm", "busybox", "sh", "-c", script]).success();
    let entries = |name: &str| std::fs::read_dir(world.root().join(name)).unwrap().count();
    assert_eq!(entries("container"), 0);
    // Deleted by the monitor, while the command has gone on already.
    eventually("0 entries", || Some(format!("{} entries", entries("trash"))));
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_run_on_a_terminal_has_its_size_and_obeys_control_c() {
    let world = World::with_busybox();
    let script = "stty size; trap 'echo caught; exit 3' INT; echo ready; while :; do read word; done";
    let mut terminal = world.terminal(["run", "-it", "--rm", "busybox", "sh", "-c", script]);
    terminal.expect("24 80");
    terminal.expect("ready");
    terminal.send([3]);
    terminal.expect("caught");
    assert_eq!(terminal.finish().1, 3);
}

#[test]
#[ignore = "needs root"]
fn privileged_run_without_a_terminal_refuses_to_make_one() {
    let world = World::with_busybox();
    world
        .mica(["run", "-it", "--rm", "busybox", "true"])
        .failure()
        .stderr_contains("the input device is not a TTY");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_command_without_room_for_files_or_processes_fails_clearly_and_leaves_nothing() {
    let world = World::with_busybox();
    let mut codes = std::collections::BTreeSet::new();
    for limit in [4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 64] {
        let nofile = format!("--nofile={limit}");
        // One that stays is known at the end of the test, which looks for its cgroups then.
        let words = ["run", "--network", "none", "busybox", "true"];
        let output = world.invoke_by("prlimit", &[&nofile], words).run();
        codes.insert(output.code);
        if output.code != 0 {
            let told = output.stderr();
            assert!(!told.is_empty() && !told.contains("panicked"), "{limit}: {}", output.describe());
        }
    }
    assert!(codes.contains(&0) && codes.len() > 1, "{codes:?}");
    world.mica(["run", "--rm", "busybox", "echo", "well"]).success().stdout_is("well\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_engine_s_own_files_are_never_put_where_a_planted_link_leads() {
    let world = World::with_busybox();
    let canary = world.scratch().join("canary");
    std::fs::write(&canary, "untouched").unwrap();
    let plant = format!(
        "for name in hosts hostname resolv.conf; do ln -s ../../../../../../..{}.$name /etc2/$name; done",
        canary.display()
    );
    world.mica(["run", "--rm", "-v", "etc:/etc2", "busybox", "sh", "-c", &plant]).success();
    // Found inside the container, or not at all.
    let script = "cat /etc/hostname; ls -l /etc/hosts";
    let output = world.mica(["run", "--rm", "-h", "inside", "-v", "etc:/etc", "busybox", "sh", "-c", script]);
    assert!(
        output.code == 0 && output.stdout().starts_with("inside\n") || output.code == 125,
        "{}",
        output.describe()
    );
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "untouched");
    for name in ["hosts", "hostname", "resolv.conf"] {
        let mut planted = canary.clone().into_os_string();
        planted.push(format!(".{name}"));
        assert!(!std::path::Path::new(&planted).exists(), "{planted:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_strict_umask_keeps_no_file_from_the_users_of_a_container() {
    let world = World::with_busybox();
    let strict =
        |command: &[&str]| world.invoke_by("sh", &["-c", "umask 077; exec \"$@\"", "sh"], command).run();
    let context =
        world.context("FROM busybox\nCOPY <<EOF /inline\nhello\nEOF\nRUN stat -c %a /etc/hosts > /made\n");
    strict(&["build", "-t", "built", context.to_str().unwrap()]).success();
    let script = "cat /inline /made; stat -c %a /etc/hosts /etc/hostname /etc/resolv.conf /made";
    strict(&["run", "--rm", "-u", "1000", "built", "sh", "-c", script])
        .success()
        .stdout_is("hello\n644\n644\n644\n644\n644\n");
}
