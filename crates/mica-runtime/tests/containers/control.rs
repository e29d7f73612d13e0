//! Acting on a running container: pause, limits, counters, root.

use crate::harness::{Container, outcome, until, wait_for};
use mica_runtime::{Resources, Status, status};
use rustix::fs::{Mode, OFlags};

#[test]
#[ignore = "needs root"]
fn privileged_a_paused_container_stands_still_and_can_be_killed() {
    let container = Container::shell("while :; do echo tick; done");
    let mut plan = container.plan();
    plan.attach = None;
    let stream = container.start(plan).unwrap().stream;
    let directory = container.run_directory();
    assert!(!mica_runtime::is_paused(&directory).unwrap());
    mica_runtime::pause(&directory).unwrap();
    assert!(mica_runtime::is_paused(&directory).unwrap());
    let time = || mica_runtime::stats(&directory).unwrap().cpu_total;
    let before = time();
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(time(), before);
    mica_runtime::resume(&directory).unwrap();
    until("more work", || time() > before);
    mica_runtime::pause(&directory).unwrap();
    mica_runtime::kill(&directory, 9).unwrap();
    assert_eq!(outcome(stream).code, 137);
}

#[test]
#[ignore = "needs root"]
fn privileged_limits_can_be_changed_while_it_runs() {
    let container = Container::shell("echo ready; sleep 1000");
    let mut stream = container.start(container.plan()).unwrap().stream;
    wait_for(&mut stream, "ready");
    let limits = Resources {
        memory_bytes: Some(64 << 20),
        pids_max: Some(50),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        cpu_shares: Some(512),
        ..Resources::default()
    };
    let warnings = mica_runtime::update_resources(&container.run_directory(), &limits).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let stats = mica_runtime::stats(&container.run_directory()).unwrap();
    assert_eq!((stats.memory_limit, stats.pids_limit, stats.pids), (64 << 20, 50, 1));
    assert!(stats.memory_usage > 0 && stats.cpu_total > 0 && stats.host_cpu_total > stats.cpu_total);
}

#[test]
#[ignore = "needs root"]
fn privileged_running_out_of_memory_is_told() {
    let mut container = Container::shell("x=a; while :; do x=$x$x; done");
    let memory =
        oci_spec::runtime::LinuxMemoryBuilder::default().limit(16 << 20).swap(16 << 20).build().unwrap();
    let resources = oci_spec::runtime::LinuxResourcesBuilder::default().memory(memory).build().unwrap();
    let mut linux = container.spec.linux().clone().unwrap();
    linux.set_resources(Some(resources));
    container.spec.set_linux(Some(linux));
    assert_eq!(container.run().code, 137);
    let record = mica_runtime::exit_record(&container.exit_file()).unwrap().unwrap();
    assert!(record.oom_killed);
}

#[test]
#[ignore = "needs root"]
fn privileged_signals_reach_the_first_process_only_while_it_lives() {
    let container = Container::shell("trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done");
    let mut stream = container.start(container.plan()).unwrap().stream;
    wait_for(&mut stream, "ready");
    mica_runtime::kill(&container.run_directory(), 15).unwrap();
    assert_eq!(outcome(stream).code, 9);
    assert!(mica_runtime::kill(&container.run_directory(), 15).is_err());
}

#[test]
#[ignore = "needs root"]
fn privileged_its_root_can_be_opened_from_outside() {
    let container = Container::shell("mkdir /tmp/here; echo ready; sleep 1000");
    let mut stream = container.start(container.plan()).unwrap().stream;
    wait_for(&mut stream, "ready");
    let root = mica_runtime::root(&container.run_directory()).unwrap();
    assert!(rustix::fs::openat(&root, "tmp/here", OFlags::PATH, Mode::empty()).is_ok());
    assert!(rustix::fs::openat(&root, "proc/1", OFlags::PATH, Mode::empty()).is_ok(), "its own /proc");
    assert!(matches!(status(&container.run_directory()).unwrap(), Status::Running { .. }));
}

#[test]
#[ignore = "needs root"]
fn privileged_a_network_namespace_can_be_shared() {
    let first = Container::shell("echo ready; sleep 1000");
    let mut stream = first.start(first.plan()).unwrap().stream;
    wait_for(&mut stream, "ready");
    let kind = mica_runtime::NamespaceKind::Network;
    let descriptor = mica_runtime::namespace(&first.run_directory(), kind).unwrap();
    let second = Container::shell("readlink /proc/self/ns/net");
    let mut plan = second.plan();
    plan.joined = vec![mica_runtime::JoinedNamespace { kind, descriptor }];
    let joined = outcome(second.start(plan).unwrap().stream).stdout;
    assert_eq!(joined, first.exec_shell("readlink /proc/self/ns/net").stdout);
}
