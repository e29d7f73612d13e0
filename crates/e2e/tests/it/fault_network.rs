//! Networks and `kill -9`, hosts that lack something, and limits: clear errors, and nothing left behind.

use crate::container_ports::{eventually, fetch, web};
use crate::network_names::inside;
use e2e::World;
use e2e::neighbour::host;
use std::net::UdpSocket;
use std::time::Duration;

/// The calls by which a start or a connect changes the kernel's networks, and how many of each are tried.
const STEPS: [(&str, usize); 6] =
    [("sendto", 12), ("unshare", 1), ("setns", 2), ("bind", 4), ("listen", 3), ("renameat", 2)];

/// Runs a command and kills whoever of its threads makes such a call for the time that is said.
fn killed_at(world: &World, call: &str, number: usize, command: &[&str]) {
    let inject = format!("inject={call}:signal=SIGKILL:when={number}");
    let strace = ["-f", "-qq", "-o", "/dev/null", "-e", &inject];
    drop(world.invoke_by("strace", &strace, command).limit(Duration::from_secs(30)).run());
}

/// Waits until the host has neither a link into a container nor a rule for this port.
#[track_caller]
fn nothing_is_left(port: &str) {
    eventually("nothing", || {
        let links = host(&["ip", "-o", "link", "show", "type", "veth"]);
        let rules = host(&["nft", "list", "ruleset"]);
        let is_clean = links.is_empty() && !rules.contains(port);
        Some(if is_clean { "nothing".to_owned() } else { format!("{links}{rules}") })
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_a_start_that_was_killed_at_any_step_leaves_its_name_port_and_address_free() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.64.0.0/24", "back"]).success();
    let victim = |last: &'static [&'static str]| {
        let flags = ["run", "--name", "victim", "--network", "back", "-p", "8130:80", "busybox"];
        [&flags[..], last].concat()
    };
    for (call, count) in STEPS {
        for number in 1..=count {
            println!("killed at {call} {number}");
            killed_at(&world, call, number, &victim(&["true"]));
            for id in world.mica(["ps", "-aq", "--no-trunc"]).success().lines() {
                world.remember(&id);
            }
            drop(world.mica(["rm", "-f", "victim"]));
            let again = world.mica(victim(&["ip", "-4", "-o", "address", "show", "eth0"])).success().stdout();
            assert!(again.contains("10.64.0.2/24"), "killed at {call} {number}: {again}");
            world.mica(["rm", "victim"]).success();
            nothing_is_left("8130");
        }
    }
    world.mica(["network", "rm", "back"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_connect_that_was_killed_at_any_step_can_be_undone_and_done_again() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.65.0.0/24", "back"]).success();
    web(&world, "server", &["--network", "back"]);
    world.mica(["network", "create", "front"]).success();
    world.mica(["run", "-d", "--name", "victim", "--network", "front", "busybox", "sleep", "1000"]).success();
    for (call, count) in [("sendto", 8), ("setns", 2), ("renameat", 2)] {
        for number in 1..=count {
            println!("killed at {call} {number}");
            killed_at(&world, call, number, &["network", "connect", "back", "victim"]);
            drop(world.mica(["network", "disconnect", "back", "victim"]));
            world.mica(["network", "connect", "back", "victim"]).success();
            let reached = world.mica(["exec", "victim", "timeout", "5", "wget", "-qO-", "http://server/"]);
            reached.success().stdout_is("I am server\n");
            let shown = world.mica(["exec", "victim", "ip", "-4", "-o", "address"]).success().stdout();
            assert_eq!(shown.matches("10.65.0.").count(), 2, "killed at {call} {number}: {shown}");
            world.mica(["network", "disconnect", "back", "victim"]).success();
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_datagrams_of_a_client_that_goes_on_reach_the_server_at_its_new_address() {
    let world = World::with_busybox();
    let run = |name: &str, flags: &[&str]| {
        world
            .mica([&["run", "-d", "--name", name][..], flags, &["busybox", "sleep", "1000"]].concat())
            .success();
    };
    run("server", &["-p", "9100:9100/udp"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect("127.0.0.1:9100").unwrap();
    let hears = |name: &str| {
        inside(&world, name, || {
            let socket = UdpSocket::bind("0.0.0.0:9100").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send(b"hello").unwrap();
            let (_, from) = socket.recv_from(&mut [0; 16]).expect("the datagram did not arrive");
            socket.send_to(b"back", from).unwrap();
        });
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4);
    };
    hears("server");
    let before = world.inspect("server", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    world.mica(["stop", "-t", "0", "server"]).success();
    // Whoever looks lets the address go, which somebody else gets.
    world.mica(["ps", "-a"]).success();
    run("usurper", &[]);
    world.mica(["start", "server"]).success();
    assert_ne!(world.inspect("server", "{{.NetworkSettings.Networks.bridge.IPAddress}}"), before);
    hears("server");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_host_that_lacks_something_is_told_what_and_what_helps() {
    let world = World::with_busybox();
    // Forwarding is off, and what would switch it on cannot be written.
    host(&["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
    let script = "mount -o bind,ro /proc/sys /proc/sys && exec \"$@\"";
    let read_only = ["--mount", "sh", "-c", script, "sh"];
    let run = |more: &[&'static str]| [&["run", "--rm"][..], more, &["busybox", "true"]].concat();
    let told = world.invoke_by("unshare", &read_only, run(&[])).run();
    told.code(125).stderr_contains("hint: ").stderr_contains("--network none");
    world.invoke_by("unshare", &read_only, run(&["--network", "none"])).run().success();
    // Root without the right to change networks.
    host(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    let powerless = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let told = world.invoke_by("setpriv", &powerless, run(&[])).run();
    told.code(125).stderr_contains("CAP_NET_ADMIN").stderr_contains("--network none");
    // A kernel without the packet filter: the socket to it cannot be had.
    let refusal = "inject=socket:error=EPROTONOSUPPORT:when=1";
    let refusing = ["-qq", "-o", "/dev/null", "-e", "trace=socket", "-e", refusal];
    let told = world.invoke_by("strace", &refusing, run(&[])).run();
    told.code(125).stderr_contains("the kernel lacks nf_tables").stderr_contains("--network none");
    // IPv6 switched off: what needs none of it works.
    host(&[
        "sh",
        "-c",
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
    ]);
    web(&world, "four", &["-p", "8132:80"]);
    eventually("I am four", || fetch("127.0.0.1:8132"));
    nothing_is_left_of_failures(&world);
}

#[track_caller]
fn nothing_is_left_of_failures(world: &World) {
    let listed = world.mica(["ps", "-a", "--format", "{{.Names}}"]).success().stdout();
    assert_eq!(listed, "four\n", "a failed run with --rm left its container");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_bridge_that_is_full_is_told_in_words() {
    let world = World::with_busybox();
    world.mica(["run", "--rm", "busybox", "true"]).success();
    let links = host(&["ip", "-o", "link", "show", "type", "bridge"]);
    let bridge = links.split(": ").nth(1).unwrap().to_owned();
    let lines: String = (0..1023)
        .map(|index| {
            format!(
                "link add full{index} type veth peer name ful{index}x\nlink set full{index} master {bridge}\n"
            )
        })
        .collect();
    let batch = world.scratch().join("links");
    std::fs::write(&batch, lines).unwrap();
    host(&["ip", "-batch", batch.to_str().unwrap()]);
    let full = world.mica(["run", "--name", "last", "busybox", "true"]);
    full.code(125).stderr_contains("a bridge takes 1023 containers");
    host(&["ip", "link", "delete", "full7"]);
    world.mica(["start", "-a", "last"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_no_address_is_given_to_two_while_many_start_and_end_at_once() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.66.0.0/28", "small"]).success();
    let script = "ip -4 -o address show eth0 | grep -o '10.66.0.[0-9]*/'";
    let limit = Duration::from_secs(60);
    for _ in 0..8 {
        let run = ["run", "--rm", "--network", "small", "busybox", "sh", "-c", script];
        let mut all: Vec<_> = (0..4).map(|_| world.invoke(run).spawn()).collect();
        all.iter_mut().for_each(|run| {
            run.wait(limit).success();
        });
    }
    let many: Vec<String> = (0..13).map(|index| format!("many{index}")).collect();
    for part in many.chunks(5) {
        let run = |name| ["run", "-d", "--name", name, "--network", "small", "busybox", "sleep", "1000"];
        let mut all: Vec<_> = part.iter().map(|name| world.invoke(run(name)).spawn()).collect();
        all.iter_mut().for_each(|run| {
            run.wait(limit).success();
        });
    }
    let template = "{{range .Containers}}{{.IPv4Address}} {{end}}";
    let line = world.mica(["network", "inspect", "-f", template, "small"]).success().line();
    let addresses: std::collections::BTreeSet<&str> = line.split_whitespace().collect();
    assert_eq!(addresses.len(), 13, "{line}");
    world
        .mica(["run", "--rm", "--network", "small", "busybox", "true"])
        .code(125)
        .stderr_contains("no available IPv4");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_removal_that_was_killed_at_any_step_leaves_no_bridge_that_nobody_knows() {
    let world = World::with_busybox();
    for (call, count) in [("sendto", 8), ("pwrite64", 12), ("unlinkat", 2)] {
        for number in 1..=count {
            let id = world.mica(["network", "create", "back"]).success().line();
            killed_at(&world, call, number, &["network", "rm", "back"]);
            if !world.mica(["network", "ls", "-q", "-f", "name=back"]).success().stdout().is_empty() {
                world.mica(["network", "rm", "back"]).success();
            }
            let links = host(&["ip", "-o", "link", "show", "type", "bridge"]);
            assert!(!links.contains(&id[..12]), "killed at {call} {number}: {links}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_names_of_networks_and_containers_that_are_gone_go_with_the_chores() {
    let world = World::with_busybox();
    let kept = world.mica(["network", "create", "back"]).success().line();
    let resident =
        world.mica(["run", "-d", "--network", "back", "busybox", "sleep", "1000"]).success().line();
    let networks = world.run_directory().join("network");
    let (network, container) = ("ab".repeat(32), "cd".repeat(32));
    std::fs::create_dir_all(networks.join(&network).join("name")).unwrap();
    std::fs::write(networks.join("of").join(&container), format!("{network} open gone\n")).unwrap();
    // A build leaves its chores to a process of its own.
    let context = world.context("FROM busybox\nRUN true\n");
    world.mica(["build".as_ref(), "-q".as_ref(), context.as_os_str()]).success();
    eventually("gone", || {
        let is_there = networks.join(&network).exists() || networks.join("of").join(&container).exists();
        Some(if is_there { "there" } else { "gone" }.to_owned())
    });
    assert!(networks.join(kept).is_dir() && networks.join("of").join(resident).is_file());
}
