//! `--security-opt`: filters on system calls, rights that cannot be gained, and hidden paths.

use e2e::World;
use std::fs;

/// What the kernel tells of a container's own process.
const STATUS: [&str; 4] = ["grep", "-E", "^(Seccomp|NoNewPrivs):", "/proc/self/status"];

const UNFILTERED: &str = "NoNewPrivs:\t0\nSeccomp:\t0\n";
const FILTERED: &str = "NoNewPrivs:\t0\nSeccomp:\t2\n";
const FILTERED_FOR_GOOD: &str = "NoNewPrivs:\t1\nSeccomp:\t2\n";

fn status_of(world: &World, options: &[&str]) -> String {
    let arguments = [&["run", "--rm"], options, &["busybox"], &STATUS].concat();
    let output = world.mica(arguments);
    output.success();
    output.stdout()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_is_filtered_unless_told_otherwise() {
    let world = World::with_busybox();
    assert_eq!(status_of(&world, &[]), FILTERED);
    assert_eq!(status_of(&world, &["--security-opt", "seccomp=builtin"]), FILTERED);
    assert_eq!(status_of(&world, &["-u", "daemon"]), FILTERED);
    assert_eq!(status_of(&world, &["--security-opt", "seccomp=unconfined"]), UNFILTERED);
    assert_eq!(status_of(&world, &["--security-opt", "no-new-privileges"]), FILTERED_FOR_GOOD);
    assert_eq!(
        status_of(&world, &["--security-opt", "no-new-privileges:true", "-u", "daemon"]),
        FILTERED_FOR_GOOD
    );
    assert_eq!(status_of(&world, &["--security-opt", "no-new-privileges=false"]), FILTERED);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_machine_can_forbid_gaining_rights_and_a_container_can_differ() {
    let world = World::with_busybox();
    let config = world.directory().join("config.toml");
    fs::write(&config, "no_new_privileges = true\n").unwrap();
    assert_eq!(status_of(&world, &[]), FILTERED_FOR_GOOD);
    assert_eq!(status_of(&world, &["--security-opt", "no-new-privileges=false"]), FILTERED);
    fs::write(&config, "no_new_privilege = true\n").unwrap();
    let refused = world.mica(["run", "--rm", "busybox", "true"]);
    refused.code(125);
    assert!(refused.stderr().contains("unknown field `no_new_privilege`"), "{}", refused.stderr());
    world.mica(["ps"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_the_filter_leaves_no_right_behind() {
    let world = World::with_busybox();
    let show = ["run", "--rm", "busybox", "grep", "^Cap", "/proc/self/status"];
    let open = [&show[..2], &["--security-opt", "seccomp=unconfined"], &show[2..]].concat();
    let expected = world.mica(open);
    world.mica(show).success().stdout_is(&expected.stdout());
    let user = [&show[..2], &["-u", "daemon"], &show[2..]].concat();
    world
        .mica(user)
        .success()
        .stdout_contains("CapEff:\t0000000000000000")
        .stdout_contains("CapPrm:\t0000000000000000");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_default_filter_forbids_a_new_user_namespace() {
    let world = World::with_busybox();
    let ask = ["busybox", "unshare", "-U", "true"];
    let run = |options: &[&str]| world.mica([&["run", "--rm"], options, &ask].concat());
    run(&[]).failure().stderr_contains("Operation not permitted");
    run(&["--security-opt", "seccomp=unconfined"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_further_processes_are_filtered_too() {
    let world = World::with_busybox();
    world.sleeper("host");
    let exec = |options: &[&str]| world.mica([&["exec"], options, &["host"], &STATUS].concat());
    exec(&[]).success().stdout_is(FILTERED);
    exec(&["-u", "daemon"]).success().stdout_is(FILTERED);
    exec(&["--privileged"]).success().stdout_is(UNFILTERED);
    let pid = world.inspect("host", "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nSeccomp_filters:\t1\n"), "{status}");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_profile_of_one_s_own_is_applied_shown_and_kept() {
    let world = World::with_busybox();
    let path = world.scratch().join("profile.json");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod","fchmodat","fchmodat2"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
    fs::write(&path, profile).unwrap();
    let option = format!("seccomp={}", path.display());
    let chmod = ["busybox", "chmod", "600", "/etc/passwd"];
    let run = || world.mica([&["run", "--rm", "--security-opt", option.as_str()], &chmod[..]].concat());
    run().failure().stderr_contains("No space left on device");
    let kept = || fs::read_dir(world.root().join("seccomp")).unwrap().count();
    let count = kept();
    assert!(count > 0, "nothing was kept");
    run().failure();
    assert_eq!(kept(), count);
    world.mica(["create", "--name", "own", "--security-opt", option.as_str(), "busybox", "true"]).success();
    // docker's client hands the text over: the file is not needed any more.
    fs::remove_file(&path).unwrap();
    let shown = world.inspect("own", "{{json .HostConfig.SecurityOpt}}");
    let shown: Vec<String> = serde_json::from_str(shown.trim()).unwrap();
    assert_eq!(shown, [format!("seccomp={profile}")]);
    world.mica(["start", "-a", "own"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_options_that_cannot_be_kept_are_refused() {
    let world = World::with_busybox();
    let path = world.scratch().join("profile.json");
    fs::write(&path, r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#).unwrap();
    let own = format!("seccomp={}", path.display());
    for (option, words) in [
        ("nothing", "invalid --security-opt"),
        ("a=b", "invalid --security-opt 2"),
        ("seccomp=/no/such/file", "opening seccomp profile (/no/such/file) failed"),
        ("apparmor=docker-default", "AppArmor"),
        ("label=type:svirt_t", "SELinux"),
        (own.as_str(), "SCMP_ACT_MAYBE"),
    ] {
        world
            .mica(["run", "--rm", "--security-opt", option, "busybox", "true"])
            .code(125)
            .stderr_contains(words);
    }
    world
        .mica([
            "run",
            "--rm",
            "--security-opt",
            "apparmor=unconfined",
            "--security-opt",
            "label=disable",
            "busybox",
            "true",
        ])
        .success();
    world.mica(["ps", "-aq"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_system_paths_can_be_left_open() {
    let world = World::with_busybox();
    let show = "wc -c </proc/timer_list; grep -c ' /proc/sys ' /proc/self/mounts";
    let run = |options: &[&str]| {
        world.mica([&["run", "--name", "paths"], options, &["busybox", "sh", "-c", show]].concat())
    };
    run(&[]).stdout_is("0\n1\n");
    world.mica(["rm", "paths"]).success();
    let open = run(&["--security-opt", "systempaths=unconfined"]).stdout();
    let lines: Vec<&str> = open.lines().collect();
    assert!(lines[0] != "0" && lines[1] == "0", "{open}");
    let paths = world.inspect("paths", "{{json .HostConfig.MaskedPaths}} {{json .HostConfig.ReadonlyPaths}}");
    assert_eq!(paths.trim(), "[] []");
}

#[test]
#[ignore = "needs root"]
fn privileged_info_tells_of_the_filter() {
    let world = World::new();
    world.mica(["info"]).success().stdout_contains(" Security Options:\n  seccomp\n   Profile: builtin\n");
}
