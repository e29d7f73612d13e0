//! `mica rename`, `rm`, `container prune`, `port`, `diff`, `export`, `top`, `stats`, `update`: what is done to containers.

use e2e::World;
use std::fs;
use std::process::Command;

#[test]
#[ignore = "needs root"]
fn privileged_rename_moves_the_name() {
    let world = World::with_busybox();
    let id = world.mica(["create", "--name", "old", "busybox"]).success().line();
    world.mica(["create", "--name", "taken", "busybox"]).success();
    world.mica(["rename", "old", "new"]).success().stdout_is("");
    assert_eq!(world.inspect("new", "{{.Id}}"), id);
    for (from, to, words) in [
        ("old", "other", "No such container: old"),
        ("new", "new", "same name as its current name"),
        ("new", "taken", "already in use"),
        ("new", "bad name", "Invalid container name"),
        ("new", "", "may be empty"),
    ] {
        world.mica(["rename", from, to]).code(1).stderr_contains(words);
    }
    assert_eq!(world.inspect("new", "{{.Id}}"), id);
}

#[test]
#[ignore = "needs root"]
fn privileged_rm_goes_on_after_an_error() {
    let world = World::with_busybox();
    world.sleeper("awake");
    world.mica(["create", "--name", "idle", "busybox"]).success();
    let output = world.mica(["rm", "nobody", "awake", "idle"]);
    output
        .code(1)
        .stdout_is("idle\n")
        .stderr_contains("No such container: nobody")
        .stderr_contains("running");
    world.mica(["pause", "awake"]).success();
    world.mica(["rm", "awake"]).code(1).stderr_contains("paused");
    world.mica(["container", "rm", "-f", "-v", "awake"]).success().stdout_is("awake\n");
    world.mica(["rm", "-f", "awake"]).success();
    assert!(fs::read_dir(world.root().join("container")).unwrap().next().is_none(), "a directory is left");
}

#[test]
#[ignore = "needs root"]
fn privileged_prune_removes_what_does_not_run() {
    let world = World::with_busybox();
    world.sleeper("awake");
    let kept = world.mica(["create", "-l", "keep=yes", "busybox"]).success().line();
    let gone = world.mica(["run", "-d", "busybox", "true"]).success().line();
    world.mica(["wait", &gone]).success();
    let output = world.mica(["container", "prune", "-f", "--filter", "label!=keep=yes"]);
    output.success().stdout_contains("Deleted Containers:").stdout_contains(&gone);
    output.stdout_contains("Total reclaimed space:").stdout_lacks(&kept);
    world.mica(["container", "prune", "-f", "--filter", "until=1h"]).success().stdout_lacks(&kept);
    world.mica(["container", "prune", "-f", "--filter", "bogus=1"]).code(1).stderr_contains("bogus");
    let mut names = world.mica(["ps", "-a", "--format", "{{.ID}}", "--no-trunc"]).success().lines();
    names.retain(|id| *id != kept);
    assert_eq!(names.len(), 1);
}

#[test]
#[ignore = "needs root"]
fn privileged_diff_and_export_show_what_changed() {
    let world = World::with_busybox();
    let script =
        "echo a > /a; mkdir -p /b/c; rm /etc/passwd; chmod 700 /tmp; ln -s x /l; rm -r /home; touch /root/f";
    world.mica(["run", "--name", "box", "busybox", "sh", "-c", script]).success();
    let changes = world.mica(["diff", "box"]).success().lines();
    assert_eq!(
        changes,
        [
            "A /a",
            "A /b",
            "A /b/c",
            "C /etc",
            "D /etc/passwd",
            "D /home",
            "A /l",
            "C /root",
            "A /root/f",
            "C /tmp"
        ]
    );
    let file = world.scratch().join("box.tar");
    world.mica(["export", "-o", file.to_str().unwrap(), "box"]).success().stdout_is("");
    let listed = Command::new("tar").arg("tf").arg(&file).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<&str> = names.lines().collect();
    assert!(names.contains(&"a") && names.contains(&"b/c/") && names.contains(&"bin/busybox"), "{names:?}");
    assert!(!names.contains(&"etc/passwd") && !names.contains(&"home/"), "{names:?}");
    assert_eq!(world.mica(["export", "box"]).success().stdout, fs::read(file).unwrap());
    world.mica(["export", "nobody"]).code(1).stderr_contains("No such container: nobody");
    world.mica(["port", "box"]).success().stdout_is("");
    world.mica(["port", "box", "80"]).code(1).stderr_contains("o public port '80");
}

#[test]
#[ignore = "needs root"]
fn privileged_top_lists_the_processes_as_the_host_sees_them() {
    let world = World::with_busybox();
    world.sleeper("box");
    let pid = world.inspect("box", "{{.State.Pid}}");
    let lines = world.mica(["top", "box"]).success().lines();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(head, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines.iter().any(|line| line.split_whitespace().nth(1) == Some(&pid)), "{lines:?}");
    let lines = world.mica(["top", "box", "aux"]).success().lines();
    assert!(lines[0].starts_with("USER") && lines[0].trim_end().ends_with("COMMAND"), "{lines:?}");
    world.mica(["top", "box", "-o", "pid,cmd"]).success().stdout_contains("sleep 1000");
    world.mica(["top", "box", "-o", "cmd"]).code(1).stderr_contains("PID field");
    world.mica(["stop", "box"]).success();
    world.mica(["top", "box"]).code(1).stderr_contains("is not running");
}

#[test]
#[ignore = "needs root"]
fn privileged_stats_show_what_is_used() {
    let world = World::with_busybox();
    world.sleeper("box");
    world.mica(["create", "--name", "idle", "busybox"]).success();
    let output = world.mica(["stats", "--no-stream", "box"]);
    output.success().stdout_contains("CONTAINER ID").stdout_contains("PIDS").stdout_contains("box");
    world
        .mica(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box"])
        .success()
        .stdout_is("box 2\n");
    world.mica(["stats", "--no-stream", "-a", "--format", "{{.Name}}"]).success().stdout_contains("idle");
    world.mica(["stats", "--no-stream", "nobody"]).code(1).stderr_contains("No such container: nobody");
}

#[test]
#[ignore = "needs root"]
fn privileged_update_changes_limits_while_it_runs() {
    let world = World::with_busybox();
    world.mica(["run", "-d", "--name", "box", "-m", "64m", "busybox", "sleep", "1000"]).success();
    world.mica(["update", "-m", "32m", "--pids-limit", "7", "box"]).success().stdout_is("box\n");
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}}";
    assert_eq!(world.inspect("box", limits), "33554432 134217728 7");
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max 2>/dev/null || \
                  cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max";
    world.mica(["exec", "box", "sh", "-c", script]).success().stdout_is("33554432\n7\n");
    world
        .mica(["update", "-m", "256m", "box"])
        .code(1)
        .stderr_contains("update the memoryswap at the same time");
    world.mica(["update", "-m", "256m", "--memory-swap", "512m", "box"]).success();
    world.mica(["update", "--cpus", "0.5", "box"]).success();
    world
        .mica(["update", "--cpu-quota", "10000", "box"])
        .code(1)
        .stderr_contains("NanoCPUs has already been set");
    world.mica(["update", "-m", "1m", "box"]).code(1).stderr_contains("Minimum memory limit");
    world.mica(["update", "-m", "64m", "nobody"]).code(1).stderr_contains("No such container: nobody");
}
