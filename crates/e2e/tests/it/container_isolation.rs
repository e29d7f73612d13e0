//! What a container may do and touch: `run` with and without flags that change it, seen from inside and from the host.

use e2e::World;
use std::path::PathBuf;

/// `CapBnd` and `CapEff` of a process with docker's fourteen capabilities.
const USUAL: &str = "00000000a80425fb";

fn capability(world: &World, flags: &[&str], set: &str) -> String {
    let mut words = vec!["run", "--rm"];
    words.extend(flags);
    let script = format!("grep {set} /proc/self/status | cut -f2");
    words.extend(["busybox", "sh", "-c", &script]);
    world.mica(words).success().line()
}

fn bits(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

#[test]
#[ignore = "needs root"]
fn privileged_capabilities_follow_the_flags() {
    let world = World::with_busybox();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(capability(&world, &[], set), USUAL, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(bits(&capability(&world, &["--cap-add", "net_admin"], set)), 0, "{set}");
    }
    assert_eq!(bits(&capability(&world, &["--cap-drop", "all"], "CapBnd")), 0);
    assert_eq!(bits(&capability(&world, &["--cap-drop", "ALL", "--cap-add", "CAP_CHOWN"], "CapEff")), 1);
    assert_eq!(bits(&capability(&world, &["--cap-add", "sys_time"], "CapBnd")), bits(USUAL) | 1 << 25);
    assert_eq!(bits(&capability(&world, &["--cap-drop", "Kill"], "CapBnd")), bits(USUAL) & !(1 << 5));
    assert_eq!(bits(&capability(&world, &["-u", "1000"], "CapEff")), 0);
    assert_eq!(capability(&world, &["-u", "1000"], "CapBnd"), USUAL);
    world
        .mica(["run", "--rm", "--cap-drop", "chpass", "busybox", "true"])
        .code(125)
        .stderr_contains("unknown capability: \"CAP_CHPASS\"");
    world.mica(["run", "--rm", "--cap-drop", "chown", "busybox", "chown", "1", "/tmp"]).code(1);
    world.mica(["run", "--rm", "busybox", "chown", "1", "/tmp"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_all_capabilities_are_those_of_the_host() {
    let world = World::with_busybox();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    for flags in [&["--cap-add", "ALL"][..], &["--privileged"], &["--privileged", "--cap-drop", "ALL"]] {
        assert_eq!(capability(&world, flags, "CapEff"), bounding, "{flags:?}");
    }
    let less = capability(&world, &["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"], "CapEff");
    assert_eq!(bits(&less), bits(bounding) & !(1 << 21));
}

#[test]
#[ignore = "needs root"]
fn privileged_further_processes_have_the_rights_of_their_container() {
    let world = World::with_busybox();
    world
        .mica([
            "run",
            "-d",
            "--name",
            "one",
            "--cap-drop",
            "ALL",
            "--ulimit",
            "nofile=77:88",
            "busybox",
            "sleep",
            "1000",
        ])
        .success();
    let script = "grep CapEff /proc/self/status | cut -f2; ulimit -n; ulimit -Hn";
    world.mica(["exec", "one", "sh", "-c", script]).success().stdout_is("0000000000000000\n77\n88\n");
    assert_eq!(world.inspect("one", "{{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}}"), "[ALL] []");
    world.mica(["rm", "-f", "one"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_devices_can_be_made_and_only_the_harmless_be_opened() {
    let world = World::with_busybox();
    let script = "mknod /disk b 254 0 && mknod /fuse c 10 229 && mknod /memory c 1 1 && mknod /mine c 1 5 && \
        head -c 1 /mine | wc -c; for file in disk fuse memory; do head -c 1 /$file 2>&1; done; \
        echo x > /dev/null && head -c 1 /dev/full | wc -c && head -c 1 /dev/random | wc -c";
    let output = world.mica(["run", "--rm", "busybox", "sh", "-c", script]);
    let refused = |name: &str| format!("head: /{name}: Operation not permitted\n");
    let expected = format!("1\n{}{}{}1\n1\n", refused("disk"), refused("fuse"), refused("memory"));
    output.success().stdout_is(&expected);
    world
        .mica(["run", "--rm", "-t", "busybox", "sh", "-c", "echo > /dev/tty && test -c /dev/console"])
        .success();
}

#[test]
#[ignore = "needs root"]
fn privileged_the_kernel_has_dockers_list_of_devices() {
    let world = World::with_busybox();
    let id =
        world.mica(["run", "-d", "--device-cgroup-rule", "c 189:* rw", "busybox", "sleep", "1000"]).line();
    let file = PathBuf::from("/sys/fs/cgroup/devices/mica").join(&id).join("devices.list");
    // On version 2 there is a program instead of a list; the machine of the smoke set has that.
    if let Ok(list) = std::fs::read_to_string(file) {
        let mut lines: Vec<&str> = list.lines().collect();
        lines.sort_unstable();
        let expected = [
            "b *:* m",
            "c *:* m",
            "c 136:* rwm",
            "c 189:* rw",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:1 rwm",
            "c 5:2 rwm",
        ];
        assert_eq!(lines, expected);
    }
    world.mica(["update", "--pids-limit", "50", &id]).success();
    world.mica(["exec", &id, "sh", "-c", "mknod /m c 1 1 && ! head -c 1 /m"]).success();
    world.mica(["rm", "-f", &id]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_device_is_given_with_its_access() {
    let world = World::with_busybox();
    let run = |flag: &str, script: &str| {
        world.mica(["run", "--rm", "--cap-add", "syslog", "--device", flag, "busybox", "sh", "-c", script])
    };
    run("/dev/kmsg:/dev/log/kernel:r", "head -c 1 /dev/log/kernel | wc -c; ! sh -c ': > /dev/log/kernel'")
        .success()
        .stdout_is("1\n");
    run("/dev/kmsg:/kernel", "test -c /kernel && ls -l /kernel | grep -c '1, *11'")
        .success()
        .stdout_is("1\n");
    let link = world.scratch().join("link");
    std::os::unix::fs::symlink("/dev/kmsg", &link).unwrap();
    run(&format!("{}:/dev/k", link.display()), "head -c 1 /dev/k | wc -c").success().stdout_is("1\n");
    run("/nonexistent", "true").code(125).stderr_contains(
        "error gathering device information while adding custom device \"/nonexistent\": no such file or directory",
    );
    run("/etc/passwd", "true").code(125).stderr_contains("not a device node");
    run("/dev/kmsg:/dev/k:x", "true").code(125).stderr_contains("bad mode specified: x");
    run("kmsg", "true").code(125).stderr_contains("kmsg is not an absolute path");
    let rule = ["run", "--rm", "--device-cgroup-rule", "c 1 r", "busybox", "true"];
    world.mica(rule).code(125).stderr_contains("invalid device cgroup format 'c 1 r'");
    let script = "mknod /k c 1 11; head -c 1 /k | wc -c";
    let denied = ["run", "--rm", "--cap-add", "syslog", "busybox", "sh", "-c", script];
    world.mica(denied).success().stdout_is("0\n").stderr_contains("Operation not permitted");
    world
        .mica([
            "run",
            "--rm",
            "--cap-add",
            "syslog",
            "--device-cgroup-rule",
            "c 1:11 r",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .success()
        .stdout_is("1\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_is_really_so_and_the_default_is_not() {
    let world = World::with_busybox();
    let script = "for path in /sys /sys/fs/cgroup /proc/sys; do \
        grep \" $path \" /proc/mounts | tail -n 1 | cut -d' ' -f4 | cut -c1-2; done; \
        test -c /dev/kmsg && echo node; head -c 1 /dev/kmsg | wc -c; \
        wc -l < /proc/timer_list | grep -cv '^0$'; mount -t tmpfs x /mnt && echo mounted; \
        test -e /dev/console && echo console";
    let run = |flags: &[&str]| {
        let mut words = vec!["run", "--rm"];
        words.extend(flags);
        words.extend(["busybox", "sh", "-c", "mkdir -p /mnt; $SCRIPT"]);
        let script = words.pop().map(|text| text.replace("$SCRIPT", script)).unwrap();
        words.push(&script);
        world.mica(words).lines()
    };
    assert_eq!(run(&["--privileged"]), ["rw", "rw", "node", "1", "1", "mounted"]);
    assert_eq!(run(&[]), ["ro", "ro", "ro", "0", "0"]);
    assert_eq!(run(&["--privileged", "--network", "host"])[..2], ["rw", "rw"]);
    world.mica(["run", "-d", "--name", "one", "--privileged", "busybox", "sleep", "1000"]).success();
    world.mica(["exec", "one", "sh", "-c", "mkdir -p /mnt && mount -t tmpfs x /mnt"]).success();
    assert_eq!(world.inspect("one", "{{.HostConfig.Privileged}}"), "true");
    world.mica(["rm", "-f", "one"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_kernel_settings_are_the_containers_own() {
    let world = World::with_busybox();
    let path = "/proc/sys/kernel/msgmax";
    let before = std::fs::read_to_string(path).unwrap();
    let flags = ["run", "--rm", "--sysctl", "kernel.msgmax=4321", "--sysctl", "net.ipv4.ip_forward=1"];
    let script = "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward";
    let words = flags.into_iter().chain(["busybox", "sh", "-c", script]);
    world.mica(words).success().stdout_is("4321\n1\n");
    assert_eq!(std::fs::read_to_string(path).unwrap(), before);
    world
        .mica(["run", "--rm", "--sysctl", "kernel.core_pattern=x", "busybox", "true"])
        .code(125)
        .stderr_contains("sysctl 'kernel.core_pattern=x' is not allowed");
    world
        .mica(["run", "--rm", "--network", "host", "--sysctl", "net.ipv4.ip_forward=1", "busybox", "true"])
        .code(125)
        .stderr_contains("not allowed in host network namespace");
}

#[test]
#[ignore = "needs root"]
fn privileged_limits_score_and_groups_reach_the_process() {
    let world = World::with_busybox();
    let script = "ulimit -n; ulimit -Hn; ulimit -Hc; cat /proc/self/oom_score_adj; id -G";
    let flags = ["--ulimit", "nofile=100:200", "--ulimit", "core=0", "--oom-score-adj", "500"];
    let mut words = vec!["run", "--rm"];
    words.extend(flags);
    words.extend([
        "--group-add",
        "daemon",
        "--group-add",
        "4242",
        "-u",
        "1000:1000",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let lines = world.mica(words).success().lines();
    assert_eq!(lines[..4], ["100", "200", "0", "500"]);
    let groups: Vec<&str> = lines[4].split(' ').collect();
    assert!(["1000", "1", "4242"].iter().all(|group| groups.contains(group)), "{groups:?}");
    let refused = |flag: &str, value: &str, text: &str| {
        world.mica(["run", "--rm", flag, value, "busybox", "true"]).code(125).stderr_contains(text);
    };
    refused("--ulimit", "nofile=5:1", "ulimit soft limit must be less than or equal to hard limit: 5 > 1");
    refused("--ulimit", "nothing=5", "invalid ulimit type: nothing");
    refused("--oom-score-adj", "1001", "Invalid value 1001, range for oom score adj is [-1000, 1000]");
    let unknown = world.mica(["run", "--rm", "--group-add", "nobodys", "busybox", "true"]);
    unknown.failure().stderr_contains("Unable to find group nobodys");
}
