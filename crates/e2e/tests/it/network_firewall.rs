//! Other people's packet filters beside ours: the host's own rules, docker's, and what is set about them.

use crate::container_ports::{cannot_reach, eventually, fetch, reaches, web};
use crate::peers::{Dockerd, has, peer, podman};
use e2e::neighbour::host;
use e2e::{Neighbour, World};

fn configure(world: &World, text: &str) {
    std::fs::write(world.directory().join("config.toml"), text).unwrap();
}

/// A host that takes nothing from other machines but what it asked for, and pings.
fn close_the_host() {
    let rules = "add table inet own; \
                 add chain inet own input { type filter hook input priority 0; policy drop; }; \
                 add rule inet own input ct state established,related accept; \
                 add rule inet own input iifname lo accept; \
                 add rule inet own input meta l4proto icmp accept";
    host(&["nft", rules]);
}

#[test]
#[ignore = "needs root"]
fn privileged_the_hosts_own_rules_are_heeded_for_published_ports_where_that_is_set() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(72);
    close_the_host();
    // As with docker: what is published is reached whatever the host says of what comes in.
    web(&world, "open", &["-p", "8100:80"]);
    reaches(&neighbour, "http://10.72.0.1:8100/", "I am open");
    configure(&world, "[network]\nrespect_host_firewall = true\n");
    web(&world, "kept", &["-p", "8101:80"]);
    eventually("I am kept", || fetch("127.0.0.1:8101"));
    for port in [8100, 8101] {
        cannot_reach(&neighbour, &format!("http://10.72.0.1:{port}/"));
    }
    host(&["nft", "add rule inet own input tcp dport 8101 accept"]);
    reaches(&neighbour, "http://10.72.0.1:8101/", "I am kept");
    cannot_reach(&neighbour, "http://10.72.0.1:8100/");
    let itself = ["exec", "kept", "timeout", "5", "wget", "-qO-", "http://10.72.0.1:8101/"];
    world.mica(itself).success().stdout_is("I am kept\n");
    world
        .mica(["run", "--rm", "-p", "8102:80/sctp", "busybox", "true"])
        .code(125)
        .stderr_contains("respect_host_firewall");
}

#[test]
#[ignore = "needs root"]
fn privileged_ports_without_an_address_are_published_where_it_is_set() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(71);
    configure(&world, "[network]\npublish_address = \"127.0.0.1\"\n");
    web(&world, "near", &["-p", "8103:80", "-p", "10.71.0.1:8104:80"]);
    eventually("I am near", || fetch("127.0.0.1:8103"));
    world.mica(["port", "near"]).success().stdout_is("80/tcp -> 127.0.0.1:8103\n80/tcp -> 10.71.0.1:8104\n");
    cannot_reach(&neighbour, "http://10.71.0.1:8103/");
    reaches(&neighbour, "http://10.71.0.1:8104/", "I am near");
    configure(&world, "[network]\npublish_adress = \"127.0.0.1\"\n");
    world.mica(["run", "--rm", "busybox", "true"]).code(125).stderr_contains("publish_adress");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_firewall_that_drops_what_is_forwarded_is_told_with_the_way_to_pass_it() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(70);
    let rules = "add table inet own; \
                 add chain inet own passing { type filter hook forward priority 0; policy drop; }";
    host(&["nft", rules]);
    let ping = ["run", "--rm", "busybox", "ping", "-c", "1", "-W", "1", neighbour.address()];
    let told = world.mica(ping);
    told.code(1)
        .stderr_contains("policy of inet own passing")
        .stderr_contains("nft insert rule inet own passing iifname");
    // What is told to be done does it, and it is not told again with every start.
    let stderr = told.stderr();
    let remedy = stderr.split("remedy: ").nth(1).unwrap().lines().next().unwrap();
    for command in remedy.split("; ") {
        host(&["sh", "-c", command]);
    }
    world.mica(ping).success().stderr_is_empty();
}

/// A daemon whose first network is there, in a host that forwarded nothing before.
fn docker_with_network(world: &World) -> Dockerd {
    host(&["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
    let daemon = Dockerd::start_with(world, &["--bip=172.30.0.1/16", "--ip6tables=false"]);
    let chain = host(&["iptables", "-S", "FORWARD"]);
    assert!(chain.contains("-P FORWARD DROP"), "{chain}");
    daemon
}

#[test]
#[ignore = "needs root"]
fn privileged_docker_and_mica_live_beside_each_other() {
    if !has("dockerd") {
        return;
    }
    let world = World::with_busybox();
    let neighbour = Neighbour::new(69);
    // One of ours is there before docker comes, which would shut it off.
    web(&world, "early", &["-p", "8105:80"]);
    let daemon = docker_with_network(&world);
    let archive = e2e::fixture::busybox_archive().unwrap();
    peer(daemon.docker().arg("load").arg("-i").arg(archive));
    let script =
        "mkdir /www; echo I am theirs > /www/index.html; httpd -p 81 -h /www; exec httpd -f -p 80 -h /www";
    let theirs = ["run", "-d", "--name", "theirs", "-p", "8106:80", "busybox", "sh", "-c", script];
    peer(daemon.docker().args(theirs));
    web(&world, "ours", &["-p", "8107:80"]);
    for (port, part) in [(8105, "I am early"), (8106, "I am theirs"), (8107, "I am ours")] {
        reaches(&neighbour, &format!("http://10.69.0.1:{port}/"), part);
    }
    let ping = ["run", "--rm", "busybox", "ping", "-c", "1", "-W", "2", neighbour.address()];
    world.mica(ping).success().stderr_is_empty();
    // From one to the other's published ports, and to nothing else.
    let from_ours = |url: &str| world.mica(["exec", "ours", "timeout", "3", "wget", "-qO-", url]);
    from_ours("http://10.69.0.1:8106/").success().stdout_is("I am theirs\n");
    assert_ne!(from_ours("http://172.30.0.2:81/").code, 0, "a container of docker's was reached");
    let address = world.inspect("ours", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let from_theirs = |url: &str| {
        let output =
            daemon.docker().args(["exec", "theirs", "timeout", "3", "wget", "-qO-", url]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(from_theirs("http://10.69.0.1:8107/"), "I am ours\n");
    assert_eq!(from_theirs(&format!("http://{address}/")), "");
    // Docker's program reads its chain, with our few rules in it once.
    let rules = host(&["iptables", "-S", "DOCKER-USER"]);
    assert_eq!(
        rules.matches("-i mica0+ -m comment").count() + rules.matches("-i mica0+ -j").count(),
        1,
        "{rules}"
    );
    peer(daemon.docker().args(["rm", "-f", "theirs"]));
}

#[test]
#[ignore = "needs root"]
fn privileged_podman_and_mica_live_beside_each_other() {
    if !has("podman") || !has("runc") {
        return;
    }
    let world = World::with_busybox();
    let neighbour = Neighbour::new(68);
    web(&world, "early", &["-p", "8108:80"]);
    // Its own runtime and manager of cgroups do without much that a test's machine may lack.
    let podman = || {
        let mut command = podman(&world);
        command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command
    };
    peer(podman().args(["load", "-q", "-i"]).arg(e2e::fixture::busybox_archive().unwrap()));
    let script = "mkdir /www; echo I am theirs > /www/index.html; exec httpd -f -p 80 -h /www";
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let run = podman()
        .args(["run", "-d", "--name", "theirs", "-p", "8109:80"])
        .args(limits)
        .args(["busybox", "sh", "-c", script])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    if !run.status.success() {
        eprintln!("skipped: podman runs no container here: {}", String::from_utf8_lossy(&run.stderr));
        return;
    }
    web(&world, "ours", &["-p", "8112:80"]);
    for (port, part) in [(8108, "I am early"), (8109, "I am theirs"), (8112, "I am ours")] {
        let url = format!("http://10.68.0.1:{port}/");
        reaches(&neighbour, &url, part);
        world.mica(["exec", "ours", "timeout", "5", "wget", "-qO-", &url]).success().stdout_contains(part);
    }
    peer(podman().args(["rm", "-f", "-t", "0", "theirs"]));
    reaches(&neighbour, "http://10.68.0.1:8112/", "I am ours");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_older_packet_filter_that_drops_what_is_forwarded_is_told_with_its_remedy() {
    if !has("iptables-legacy") {
        println!("skipped: there is no iptables-legacy");
        return;
    }
    let world = World::with_busybox();
    let neighbour = Neighbour::new(78);
    host(&["iptables-legacy", "-P", "FORWARD", "DROP"]);
    let script = "mkdir -p /www; echo I am web > /www/index.html; exec httpd -f -p 80 -h /www";
    let words = ["run", "-d", "--name", "web", "-p", "8150:80", "busybox", "sh", "-c", script];
    let output = world.mica(words);
    output.success().stderr_contains("policy of FORWARD of iptables-legacy");
    cannot_reach(&neighbour, "http://10.78.0.1:8150/");
    let told = output.stderr();
    let remedy = told.split("remedy: ").nth(1).unwrap().trim();
    for command in remedy.split("; ") {
        host(&command.split(' ').collect::<Vec<_>>());
    }
    reaches(&neighbour, "http://10.78.0.1:8150/", "I am web");
    // Nothing was made by looking.
    let tables = std::fs::read_to_string("/proc/thread-self/net/ip6_tables_names").unwrap_or_default();
    assert_eq!(tables, "");
}
