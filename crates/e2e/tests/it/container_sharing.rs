//! Namespaces that a container shares with the host or another container, and where its cgroup lies.

use e2e::World;
use std::fs;

/// What the host itself has.
fn of_host(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned()
}

fn of_container(world: &World, flags: &[&str], kind: &str) -> String {
    let link = format!("/proc/self/ns/{kind}");
    let words = ["run", "--rm"].iter().chain(flags).copied().chain(["busybox", "readlink", link.as_str()]);
    world.mica(words).success().line()
}

#[test]
#[ignore = "needs root"]
fn privileged_namespaces_are_new_unless_shared_with_the_host() {
    let world = World::with_busybox();
    for kind in ["pid", "ipc", "uts", "net", "mnt", "cgroup"] {
        let (one, other) = (of_container(&world, &[], kind), of_container(&world, &[], kind));
        assert_ne!(one, of_host(kind), "{kind}");
        assert!(one.starts_with(kind) && other.starts_with(kind));
    }
    for (flag, kind) in [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--cgroupns", "cgroup")] {
        assert_eq!(of_container(&world, &[flag, "host"], kind), of_host(kind), "{flag}");
    }
    for mode in ["private", "shareable"] {
        assert_ne!(of_container(&world, &["--ipc", mode], "ipc"), of_host("ipc"));
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_processes_of_another_container_are_seen_and_joined_by_exec() {
    let world = World::with_busybox();
    world.sleeper("web");
    let shared = |reference: &str| format!("container:{reference}");
    let mode = shared("web");
    world.mica(["run", "-d", "--name", "watch", "--pid", &mode, "busybox", "sleep", "1000"]).success();
    let space = |name: &str| world.mica(["exec", name, "readlink", "/proc/self/ns/pid"]).success().line();
    assert_eq!(space("web"), space("watch"));
    world.mica(["exec", "watch", "ps"]).success().stdout_contains("trap 'exit 0' TERM");
    assert_eq!(world.inspect("watch", "{{.HostConfig.PidMode}}"), shared(&world.inspect("web", "{{.Id}}")));
    // Who joins is not the first there, and its end is only its own.
    world.mica(["kill", "watch"]).success();
    world.mica(["exec", "web", "true"]).success();
    world.mica(["stop", "web"]).success();
    world.mica(["start", "watch"]).code(1).stderr_contains("is not running");
    world
        .mica(["run", "--rm", "--pid", "container:nobody", "busybox", "true"])
        .code(125)
        .stderr_contains("No such container: nobody");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_among_the_host_s_processes_ends_alone() {
    let world = World::with_busybox();
    let script = "sleep 1000 & echo ready; wait";
    world
        .mica(["run", "-d", "--name", "box", "--pid", "host", "--init", "busybox", "sh", "-c", script])
        .success();
    world.await_log("box", "ready");
    let own = std::process::id().to_string();
    world.mica(["exec", "box", "ls", &format!("/proc/{own}")]).success();
    world.mica(["stop", "-t", "1", "box"]).success();
    world.mica(["rm", "box"]).success();
    assert!(fs::metadata(format!("/proc/{own}")).is_ok());
}

#[test]
#[ignore = "needs root"]
fn privileged_names_and_memory_of_the_host_are_shared_as_asked() {
    let world = World::with_busybox();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    world.mica(["run", "--rm", "--uts", "host", "busybox", "hostname"]).success().stdout_is(&name);
    world
        .mica(["run", "--rm", "--uts", "host", "-h", "other", "busybox", "true"])
        .code(125)
        .stderr_contains("conflicting options: hostname and the UTS mode");
    let mounted = |mode: &str| {
        let script = "grep -c ' /dev/shm ' /proc/mounts || true";
        world.mica(["run", "--rm", "--ipc", mode, "busybox", "sh", "-c", script]).success().line()
    };
    assert_eq!((mounted("none"), mounted("private"), mounted("host")), ("0".into(), "1".into(), "1".into()));
    for (flag, mode, words) in [
        ("--ipc", "x", "invalid IPC mode: x"),
        ("--pid", "x", "invalid PID mode"),
        ("--uts", "x", "invalid UTS mode"),
        ("--cgroupns", "x", "invalid CGROUP mode"),
    ] {
        world.mica(["run", "--rm", flag, mode, "busybox", "true"]).code(125).stderr_contains(words);
    }
    let sysctl = ["run", "--rm", "--ipc", "host", "--sysctl", "kernel.shmmax=1", "busybox", "true"];
    world.mica(sysctl).code(125).stderr_contains("not allowed in host IPC namespace");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_cgroup_lies_where_it_is_to_lie() {
    let world = World::with_busybox();
    let parent = format!("mica-test-{}", std::process::id());
    let words = [
        "run",
        "--rm",
        "--cgroupns",
        "host",
        "--cgroup-parent",
        &parent,
        "busybox",
        "cat",
        "/proc/self/cgroup",
    ];
    let lines = world.mica(words).success().lines();
    assert!(lines.iter().any(|line| line.contains(&format!("/{parent}/"))), "{lines:?}");
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path()) {
        let _ = fs::remove_dir(hierarchy.join(&parent));
    }
    let _ = fs::remove_dir(format!("/sys/fs/cgroup/{parent}"));
    world
        .mica(["run", "--rm", "--cgroup-parent", "/../x", "busybox", "true"])
        .code(125)
        .stderr_contains("cgroup parent");
    world.mica(["create", "--name", "noted", "--annotation", "a.b/c=d=e", "busybox", "true"]).success();
    assert_eq!(world.inspect("noted", "{{json .HostConfig.Annotations}}"), "{\"a.b/c\":\"d=e\"}");
}

#[test]
#[ignore = "needs root"]
fn privileged_memory_of_another_container_is_shared_if_that_lets_it() {
    let world = World::with_busybox();
    let script = "echo one > /dev/shm/word; echo ready; sleep 1000";
    world
        .mica([
            "run",
            "-d",
            "--name",
            "donor",
            "--ipc",
            "shareable",
            "--shm-size",
            "3m",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .success();
    world.await_log("donor", "ready");
    let join = ["--ipc", "container:donor"];
    let run = |name: &str, command: &str| {
        let words = ["run", "--name", name].into_iter().chain(join).chain(["busybox", "sh", "-c", command]);
        world.mica(words).success().line()
    };
    let own = world.mica(["exec", "donor", "readlink", "/proc/self/ns/ipc"]).success().line();
    assert_eq!(run("first", "readlink /proc/self/ns/ipc"), own);
    assert_eq!(run("second", "cat /dev/shm/word; echo two > /dev/shm/word"), "one");
    world.mica(["exec", "donor", "cat", "/dev/shm/word"]).success().stdout_is("two\n");
    assert_eq!(run("third", "df -k /dev/shm | tail -n 1 | awk '{print $2}'"), "3072");
    let mode = format!("container:{}", world.inspect("donor", "{{.Id}}"));
    assert_eq!(world.inspect("first", "{{.HostConfig.IpcMode}}"), mode);
    // One who joined may be joined, and what the donor has done with its directory leads nobody astray.
    world
        .mica(["run", "-d", "--name", "link", "--ipc", "container:donor", "busybox", "sleep", "1000"])
        .success();
    let words = ["run", "--rm", "--ipc", "container:link", "busybox", "cat", "/dev/shm/word"];
    world.mica(words).success().stdout_is("two\n");
    world.sleeper("closed");
    world
        .mica(["run", "--rm", "--ipc", "container:closed", "busybox", "true"])
        .code(125)
        .stderr_contains("non-shareable IPC (hint: use IpcMode:shareable for the donor container)");
    world.mica(["rm", "-f", "donor"]).success();
    // The memory lives as long as somebody has it.
    world.mica(["exec", "link", "cat", "/dev/shm/word"]).success().stdout_is("two\n");
    world.mica(["run", "--ipc", "container:none", "busybox", "true"]).code(125).stderr_contains("none");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_that_was_joined_by_its_memory_can_end_first() {
    let world = World::with_busybox();
    world.mica(["run", "-d", "--name", "donor", "--ipc", "shareable", "busybox", "sleep", "1000"]).success();
    let words = ["run", "-d", "--name", "again", "--restart", "always", "--ipc", "container:donor"];
    world
        .mica(words.into_iter().chain(["busybox", "sh", "-c", "echo x >> /dev/shm/lives; sleep 0.2"]))
        .success();
    world.mica(["stop", "-t", "0", "donor"]).success();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while world.inspect("again", "{{.RestartCount}}").parse::<u32>().unwrap() < 2 {
        assert!(std::time::Instant::now() < deadline, "{}", world.inspect("again", "{{json .State}}"));
    }
    world.mica(["rm", "-f", "again"]).success();
    world.mica(["start", "donor"]).success();
}
