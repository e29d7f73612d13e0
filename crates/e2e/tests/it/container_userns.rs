//! `--userns`: whose ids the users of a container are outside.

use crate::container_ports::{eventually, fetch, reaches, web};
use e2e::neighbour::host;
use e2e::{Neighbour, World};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

/// A machine on which containers and the remapped store have subordinate ids.
fn configure(world: &World, remap: &str) {
    let directory = world.directory();
    for file in ["subuid", "subgid"] {
        fs::write(directory.join(file), "remapped:700000:65536\ncontainers:2000000000:1000000\n").unwrap();
    }
    let config = format!("userns_remap = {remap:?}\nsubordinate_ids = {directory:?}\n");
    fs::write(directory.join("config.toml"), config).unwrap();
}

fn map_of(world: &World, options: &[&str]) -> String {
    let read = "tr -s ' ' < /proc/self/uid_map";
    let output = world.mica([&["run", "--rm"], options, &["busybox", "sh", "-c", read]].concat());
    output.success();
    output.stdout()
}

#[test]
#[ignore = "needs root"]
fn privileged_a_remapped_store_gives_every_container_the_subordinate_ids() {
    let world = World::with_busybox();
    configure(&world, "remapped");
    assert_eq!(map_of(&world, &[]), " 0 700000 65536\n");
    assert_eq!(map_of(&world, &["--userns", "host"]), " 0 0 4294967295\n");
    assert_eq!(map_of(&world, &["--userns", "keep-id"]), " 0 0 4294967295\n");
    assert!(world.mica(["info", "--format", "{{.SecurityOptions}}"]).stdout().contains("name=userns"));
    world.sleeper("box");
    let pid = world.inspect("box", "{{.State.Pid}}");
    assert_eq!(fs::metadata(format!("/proc/{pid}/task")).unwrap().uid(), 700_000);
    world
        .mica([
            "exec",
            "box",
            "sh",
            "-c",
            "id -u; echo x > /etc/hosts; touch /new; stat -c %u /new /etc/hosts",
        ])
        .success()
        .stdout_is("0\n0\n0\n");
    world
        .mica(["exec", "-u", "1000", "box", "sh", "-c", "id -u; echo out > /dev/stdout"])
        .success()
        .stdout_is("1000\nout\n");
    world
        .mica(["exec", "box", "sh", "-c", "mknod /dev/x c 1 3 2>/dev/null || echo refused"])
        .success()
        .stdout_is("refused\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_what_a_mapped_container_wrote_is_as_any_other_when_committed() {
    let world = World::with_busybox();
    configure(&world, "remapped");
    let write = "echo text > /file; chown 1000:1000 /file; rm /etc/passwd; mkdir -p /a/b; rm -rf /a";
    world.mica(["run", "--name", "box", "busybox", "sh", "-c", write]).success();
    world.mica(["diff", "box"]).success();
    assert!(world.mica(["diff", "box"]).stdout().contains("D /etc/passwd"));
    world.mica(["commit", "box", "made"]).success();
    let look = "stat -c %u:%g /file; cat /file; ls /etc/passwd 2>/dev/null | wc -l";
    for userns in ["host", ""] {
        let output = world.mica(["run", "--rm", "--userns", userns, "made", "sh", "-c", look]);
        output.success().stdout_is("1000:1000\ntext\n0\n");
    }
    world.mica(["start", "-a", "box"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_a_map_makes_impossible_is_told() {
    let world = World::with_busybox();
    configure(&world, "remapped");
    let refused = |options: &[&str], part: &str| {
        let output = world.mica([&["run", "--rm"], options, &["busybox", "true"]].concat());
        output.code(125);
        assert!(output.stderr().contains(part), "{options:?}: {}", output.stderr());
    };
    refused(&["--privileged"], "privileged mode is incompatible with user namespaces");
    refused(
        &["--network", "host"],
        "cannot share the host's network namespace when user namespaces are enabled",
    );
    refused(&["--userns", "private"], "invalid USER mode");
    world.mica(["run", "--rm", "--privileged", "--userns", "host", "busybox", "true"]).success();
    configure(&world, "nobody");
    refused(&[], "no subordinate ids are set aside for \"nobody\" in ");
}

#[test]
#[ignore = "needs root"]
fn privileged_auto_gives_each_container_ids_of_its_own() {
    let world = World::with_busybox();
    configure(&world, "");
    let start = |name: &str| {
        world
            .mica(["run", "-d", "--name", name, "--userns", "auto:size=5000", "busybox", "sleep", "1000"])
            .success();
        world.remember(name);
        let map = world.mica(["exec", name, "cat", "/proc/self/uid_map"]).stdout();
        let numbers: Vec<u64> = map.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!((numbers[0], numbers[2]), (0, 5000), "{map}");
        numbers[1]
    };
    let (first, second) = (start("one"), start("two"));
    assert!(first.abs_diff(second) >= 5000, "{first} {second}");
    world.mica(["restart", "-t", "0", "one"]).success();
    let map = world.mica(["exec", "one", "cat", "/proc/self/uid_map"]).stdout();
    assert!(map.contains(&first.to_string()), "the same ids after a restart: {map}");
    world.mica(["rm", "-f", "one"]).success();
    assert_eq!(start("three"), first, "what a removed container had is free again");
}

#[test]
#[ignore = "needs root"]
fn privileged_volumes_and_images_show_their_files_to_mapped_containers_as_to_others() {
    let world = World::with_busybox();
    configure(&world, "remapped");
    let write = "echo text > /data/file; chown 1000 /data/file; stat -c %u /data /data/file";
    world
        .mica(["run", "--rm", "-v", "kept:/data", "busybox", "sh", "-c", write])
        .success()
        .stdout_is("0\n1000\n");
    let look = ["busybox", "stat", "-c", "%u", "/data/file", "/image/bin/busybox"];
    let mount = "type=image,src=busybox,dst=/image";
    for userns in ["host", ""] {
        let flags = ["run", "--rm", "--userns", userns, "-v", "kept:/data", "--mount", mount];
        world.mica([&flags[..], &look].concat()).success().stdout_is("1000\n0\n");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_mapped_container_is_on_its_networks_which_belong_to_its_own_users() {
    let world = World::with_busybox();
    configure(&world, "remapped");
    let neighbour = Neighbour::new(81);
    for name in ["front", "side"] {
        world.mica(["network", "create", name]).success();
    }
    web(
        &world,
        "web",
        &["--network", "front", "-p", "8160:80", "--restart", "always", "--cap-add", "NET_ADMIN"],
    );
    let is_reached = || {
        for address in ["127.0.0.1:8160", "[::1]:8160"] {
            eventually("I am web", || fetch(address));
        }
        reaches(&neighbour, "http://10.81.0.1:8160/", "I am web");
        // By name, from a mapped container and from another one.
        for kind in [&[][..], &["--userns", "host"]] {
            let ask = ["--network", "front", "busybox", "wget", "-qO-", "http://web/"];
            world.mica([&["run", "--rm"], kind, &ask].concat()).success().stdout_contains("I am web");
        }
    };
    is_reached();
    // Its root is root of its network, and of no other.
    let pid = || world.inspect("web", "{{.State.Pid}}");
    world.mica(["exec", "web", "ip", "link", "set", "eth0", "mtu", "1400"]).success();
    let map = fs::read_to_string(format!("/proc/{}/uid_map", pid())).unwrap();
    assert!(map.contains("700000"), "{map}");
    // A further life has a further namespace, and the same place in it.
    let before = pid();
    host(&["kill", "-9", &before]);
    eventually("another", || {
        Some(if pid() == before || pid() == "0" { "none" } else { "another" }.to_owned())
    });
    is_reached();
    world.mica(["network", "connect", "side", "web"]).success();
    world.mica(["exec", "web", "ip", "address", "show", "eth1"]).success().stdout_contains("172.");
    world.mica(["network", "disconnect", "front", "web"]).success();
    eventually("I am web", || fetch("127.0.0.1:8160"));
    world.mica(["rm", "-f", "web"]).success();
    // The kernel takes a link away with its namespace, but not at once.
    eventually("none", || {
        let links = host(&["ip", "-o", "link", "show", "type", "veth"]);
        Some(if links.contains(": mv") { links } else { "none".to_owned() })
    });
    world.mica(["run", "--rm", "busybox", "ip", "route"]).success().stdout_contains("default via 172.17.0.1");
    world.mica(["run", "--rm", "--userns", "keep-id", "-p", "8160:80", "busybox", "true"]).success();
    let taken = TcpListener::bind("0.0.0.0:8160").unwrap();
    world.mica(["run", "--rm", "-p", "8160:80", "busybox", "true"]).code(125).stderr_contains("8160");
    drop(taken);
}
