//! Limits of `run`, `create` and `update`, seen from the container's own cgroups, and running out of memory.

use e2e::World;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Whether version 1 of cgroups has `controller` here.
fn is_legacy(controller: &str) -> bool {
    Path::new("/sys/fs/cgroup").join(controller).join("tasks").exists()
}

/// A whole disk and its numbers; machines without one are no place for rates.
fn disk() -> Option<(String, String)> {
    let disks = std::fs::read_dir("/sys/block").ok()?.flatten();
    disks.filter_map(|disk| disk.file_name().into_string().ok()).find_map(|name| {
        let path = format!("/dev/{name}");
        let status = std::fs::metadata(&path).ok()?;
        let number = status.rdev();
        let numbers = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        status.file_type().is_block_device().then_some((path, numbers))
    })
}

#[test]
#[ignore = "needs root"]
fn privileged_limits_of_version_1_are_in_force() {
    if !is_legacy("memory") {
        return;
    }
    let world = World::with_busybox();
    let flags = ["--memory", "64m", "--memory-swappiness", "13", "--oom-kill-disable", "--blkio-weight", "0"];
    let script =
        "cd /sys/fs/cgroup/memory; cat memory.limit_in_bytes memory.swappiness; head -1 memory.oom_control";
    let output = world.mica(["run", "--rm"].iter().chain(&flags).chain(&["busybox", "sh", "-c", script]));
    output.success().stdout_is("67108864\n13\noom_kill_disable 1\n").stderr_is_empty();
}

#[test]
#[ignore = "needs root"]
fn privileged_rates_of_devices_are_in_force_or_told() {
    let Some((path, numbers)) = disk().filter(|_| is_legacy("blkio")) else { return };
    let world = World::with_busybox();
    let flags = [
        format!("--device-read-bps={path}:1mb"),
        format!("--device-write-bps={path}:2mb"),
        format!("--device-read-iops={path}:300"),
        format!("--device-write-iops={path}:400"),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let script = "cd /sys/fs/cgroup/blkio; cat blkio.throttle.read_bps_device blkio.throttle.write_bps_device \
                  blkio.throttle.read_iops_device blkio.throttle.write_iops_device";
    let rest = ["--name", "rated", "busybox", "sh", "-c", script];
    let output = world.mica(["run"].iter().chain(&flags).chain(&rest));
    let expected = format!("{numbers} 1048576\n{numbers} 2097152\n{numbers} 300\n{numbers} 400\n");
    output.success().stdout_is(&expected).stderr_is_empty();
    let shown = world.inspect("rated", "{{json .HostConfig.BlkioDeviceReadBps}}");
    assert_eq!(shown, format!("[{{\"Path\":\"{path}\",\"Rate\":1048576}}]"));
    world
        .mica(["run", "--device-read-bps", "/dev/null:1mb", "busybox", "true"])
        .code(125)
        .stderr_contains("/dev/null is not a block device");
    let has_weight = ["blkio.weight", "blkio.bfq.weight"]
        .iter()
        .any(|file| Path::new("/sys/fs/cgroup/blkio/mica").join(file).exists());
    let weighted = world.mica(["run", "--blkio-weight", "300", "busybox", "true"]);
    if has_weight {
        weighted.success().stderr_is_empty();
    } else {
        weighted.success().stderr_contains(
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        );
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_limits_that_contradict_each_other_are_refused() {
    let world = World::with_busybox();
    let refused = |flags: &[&str], words: &str| {
        let arguments = ["create"].iter().chain(flags).chain(&["busybox", "true"]);
        world.mica(arguments).failure().stderr_contains(words);
    };
    refused(&["--blkio-weight", "5"], "Range of blkio weight is from 10 to 1000");
    refused(&["--blkio-weight", "70000"], "value out of range");
    refused(&["--blkio-weight-device", "/dev/vda:2"], "invalid weight for device: /dev/vda:2");
    refused(&["--device-read-bps", "/dev/vda"], "bad format: /dev/vda");
    refused(&["--device-write-iops", "vda:1"], "bad format for device path: vda:1");
    if is_legacy("cpu") && Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        let words = "cpu real-time runtime cannot be higher than cpu real-time period";
        refused(&["--cpu-rt-runtime", "2000", "--cpu-rt-period", "1000"], words);
    } else {
        refused(&["--cpu-rt-runtime", "2000"], "Your kernel does not support CPU real-time scheduler");
    }
    let words = "OOM killer is disabled for the container, but no memory limit is set";
    world.mica(["create", "--oom-kill-disable", "busybox", "true"]).success().stderr_contains(words);
    let words = "Flag --kernel-memory has been deprecated";
    world.mica(["create", "--kernel-memory", "10m", "busybox", "true"]).success().stderr_contains(words);
}

#[test]
#[ignore = "needs root"]
fn privileged_processors_that_the_host_lacks_are_refused_before_anything_starts() {
    let world = World::with_busybox();
    world.sleeper("box");
    let words = "Requested CPUs are not available - requested 9999, available: 0";
    for (command, code) in [("run", 125), ("create", 1)] {
        let refused = world.mica([command, "--cpuset-cpus", "9999", "busybox", "true"]);
        refused.code(code).stderr_contains(words);
    }
    world.mica(["update", "--cpuset-cpus", "9999", "box"]).code(1).stderr_contains(words);
    let words = "Requested memory nodes are not available - requested 99";
    world.mica(["update", "--cpuset-mems", "99", "box"]).code(1).stderr_contains(words);
    world.mica(["ps", "-aq"]).success().line();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_live_container_takes_new_limits() {
    let world = World::with_busybox();
    world.sleeper("box");
    let flags = [
        "--cpus",
        "0.5",
        "--pids-limit",
        "50",
        "--cpuset-cpus",
        "0",
        "--memory",
        "64m",
        "--memory-swap",
        "-1",
    ];
    world.mica(["update"].iter().chain(&flags).chain(&["box"])).success().stdout_is("box\n");
    let script = if is_legacy("cpu") {
        "cat cpu/cpu.cfs_quota_us pids/pids.max cpuset/cpuset.cpus memory/memory.limit_in_bytes"
    } else {
        "cat cpu.max pids.max cpuset.cpus memory.max"
    };
    let script = format!("cd /sys/fs/cgroup; {script}");
    let quota = if is_legacy("cpu") { "50000" } else { "50000 100000" };
    let expected = format!("{quota}\n50\n0\n67108864\n");
    world.mica(["exec", "box", "sh", "-c", &script]).success().stdout_is(&expected);
    let weighted = world.mica(["update", "--blkio-weight", "500", "box"]);
    weighted.success().stdout_is("box\n");
    assert_eq!(world.inspect("box", "{{.HostConfig.BlkioWeight}}"), "500");
}

/// Fills memory until the kernel ends it.
const GREED: &str = "tail /dev/zero";

#[test]
#[ignore = "needs root"]
fn privileged_running_out_of_memory_is_known() {
    let world = World::with_busybox();
    let limits = ["--memory", "16m", "--memory-swap", "16m"];
    let script = format!("exec {GREED}");
    let start = ["run", "--name", "greedy"].into_iter().chain(limits);
    world.mica(start.chain(["busybox", "sh", "-c", &script])).code(137);
    assert_eq!(world.inspect("greedy", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    let start = ["run", "-d", "--name", "killed"].into_iter().chain(limits);
    world.mica(start.chain(["busybox", "sleep", "1000"])).success();
    world.mica(["kill", "killed"]).success();
    world.mica(["wait", "killed"]).success().stdout_is("137\n");
    assert_eq!(world.inspect("killed", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "false 137");
    let events = world.mica(["events", "--since", "0", "--until", "0s", "--filter", "event=oom"]);
    let events = events.success().lines();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("container oom") && events[0].contains("name=greedy"), "{events:?}");
}

#[test]
#[ignore = "needs root"]
fn privileged_an_oom_event_comes_when_it_happens_and_not_at_the_end() {
    let world = World::with_busybox();
    let mut watching = world.invoke(["events", "--filter", "event=oom"]).spawn();
    let start = ["run", "-d", "--name", "parent", "--memory", "16m", "--memory-swap", "16m", "busybox"];
    let script = format!("while :; do {GREED}; read line; done");
    world.mica(["create", "-i"].iter().chain(&start[2..]).chain(&["sh", "-c", &script])).success();
    world.mica(["start", "parent"]).success();
    watching.stdout_until("container oom", LIMIT);
    // Its first process lives on.
    assert_eq!(world.inspect("parent", "{{.State.Status}}"), "running");
    world.mica(["kill", "parent"]).success();
    world.mica(["wait", "parent"]).success();
    watching.signal(rustix::process::Signal::TERM);
}

/// A number in a file of the container's cgroup, wherever that is on this host.
fn counter(id: &str, legacy: &str, unified: &str) -> u64 {
    let files = [format!("/sys/fs/cgroup/{legacy}"), format!("/sys/fs/cgroup/{unified}")];
    let texts = files.iter().map(|file| std::fs::read_to_string(file.replace("ID", id)));
    texts.flatten().next().and_then(|text| text.trim().parse().ok()).expect("a counter")
}

#[test]
#[ignore = "needs root"]
fn privileged_stats_match_the_counters_of_the_kernel() {
    let world = World::with_busybox();
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null; sleep 1000 & sleep 1000 & echo ready; wait";
    let id = world
        .mica(["run", "-d", "--name", "box", "--memory", "200m", "busybox", "sh", "-c", script])
        .success()
        .line();
    world.await_log("box", "ready");
    let shown =
        world.mica(["stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", "box"]).success().line();
    let words: Vec<&str> = shown.split(' ').collect();
    assert_eq!((words[0], &words[2..]), ("3", &["/", "200MiB"][..]), "{shown}");
    assert_eq!(counter(&id, "pids/mica/ID/pids.current", "mica/ID/pids.current"), 3);
    let usage = counter(&id, "memory/mica/ID/memory.usage_in_bytes", "mica/ID/memory.current") as f64
        / f64::from(1 << 20);
    let told: f64 = words[1].trim_end_matches("MiB").parse().unwrap();
    // What is inactive in the page cache is not counted, and the kernel counts in batches.
    assert!(told >= 20.0 && told <= usage + 1.0 && usage < told + 5.0, "{shown}, in truth {usage}");
}

#[test]
#[ignore = "needs root"]
fn privileged_stats_stream_until_they_are_not_wanted() {
    let world = World::with_busybox();
    world.sleeper("box");
    let mut watching = world.invoke(["stats", "--format", "{{.Name}} {{.PIDs}}", "box"]).spawn();
    watching.stdout_until("box ", LIMIT);
    watching.stdout_until("box ", LIMIT);
    world.mica(["kill", "box"]).success();
    watching.signal(rustix::process::Signal::INT);
    watching.wait(LIMIT);
}
