//! `network`: made, listed, removed; who finds and reaches whom on them.

use crate::container_ports::{eventually, web};
use e2e::neighbour::host;
use e2e::{Outside, World};

/// How long a command may take beside seven others.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A container that lives until it is told to end.
#[track_caller]
fn resident(world: &World, name: &str, flags: &[&str]) {
    let words = [&["run", "-d", "--name", name][..], flags, &["busybox", "sleep", "1000"]].concat();
    world.mica(words).success();
}

fn address(world: &World, container: &str, network: &str) -> String {
    world.inspect(container, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

#[test]
#[ignore = "needs root"]
fn privileged_a_network_is_made_shown_and_removed_with_its_bridge() {
    let world = World::with_busybox();
    let create = [
        "network",
        "create",
        "--subnet",
        "10.40.0.0/16",
        "--ip-range",
        "10.40.5.0/24",
        "--gateway",
        "10.40.0.9",
        "--label",
        "tier=back",
        "back",
    ];
    let id = world.mica(create).success().line();
    let names = world.mica(["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).success().stdout();
    assert_eq!(names, "back bridge\nbridge bridge\nhost host\nnone null\n");
    let shown = |template| world.mica(["network", "inspect", "-f", template, &id[..12]]).success().line();
    assert_eq!(shown("{{(index .IPAM.Config 0).Gateway}}"), "10.40.0.9");
    assert_eq!(shown("{{.Labels.tier}}"), "back");
    resident(&world, "one", &["--network", "back"]);
    assert_eq!(address(&world, "one", "back"), "10.40.5.0");
    world.mica(["network", "rm", "back"]).code(1).stderr_contains("has active endpoints");
    world.mica(["rm", "-f", "one"]).success();
    let bridge = format!("mc-{}", &id[..12]);
    assert!(e2e::neighbour::host(&["ip", "link"]).contains(&bridge));
    world.mica(["network", "rm", "back"]).success().stdout_is("back\n");
    assert!(!e2e::neighbour::host(&["ip", "link"]).contains(&bridge));
    world.mica(["network", "inspect", "back"]).code(1).stderr_contains("network back not found");
    world.mica(["network", "rm", "bridge"]).code(1).stderr_contains("pre-defined network");
}

#[test]
#[ignore = "needs root"]
fn privileged_neighbours_find_each_other_by_name_alias_and_address() {
    let world = World::with_busybox();
    world.mica(["network", "create", "back"]).success();
    web(&world, "web", &["--network", "back", "--network-alias", "www"]);
    for name in ["web", "www", "WEB", "web.back"] {
        eventually("I am web", || {
            let ask = ["run", "--rm", "--network", "back", "busybox", "wget", "-qO-"];
            let url = format!("http://{name}/");
            Some(world.mica([&ask[..], &[url.as_str()]].concat()).stdout())
        });
    }
    let ip = address(&world, "web", "back");
    let ask = ["run", "--rm", "--network", "back", "busybox", "nslookup", &ip];
    world.mica(ask).success().stdout_contains("web.back");
    // A name is gone with its container, and so are the answers.
    world.mica(["rm", "-f", "web"]).success();
    let ask = ["run", "--rm", "--network", "back", "busybox", "nslookup", "web"];
    let gone = world.mica(ask);
    assert_ne!(gone.code, 0, "{}", gone.stdout());
}

#[test]
#[ignore = "needs root"]
fn privileged_the_address_on_the_default_bridge_is_where_it_always_was() {
    let world = World::with_busybox();
    world.mica(["network", "create", "back"]).success();
    resident(&world, "one", &[]);
    resident(&world, "two", &["--network", "back"]);
    let old = "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{.NetworkSettings.MacAddress}}";
    let new = "{{with .NetworkSettings.Networks.bridge}}{{.IPAddress}} {{.Gateway}} {{.MacAddress}}{{end}}";
    let told = world.inspect("one", old);
    assert_eq!(told, world.inspect("one", new));
    assert!(told.starts_with("1"), "{told}");
    assert_eq!(world.inspect("two", "[{{.NetworkSettings.IPAddress}}]"), "[]");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_host_name_with_a_domain_is_known_without_it_too() {
    let world = World::with_busybox();
    for flags in [&["-h", "foo.bar"] as &[&str], &["-h", "foo", "--domainname", "bar"]] {
        let run = [&["run", "--rm"][..], flags, &["busybox", "tail", "-n", "1", "/etc/hosts"]].concat();
        world.mica(run).success().stdout_contains("foo.bar foo\n");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_networks_do_not_reach_each_other() {
    let world = World::with_busybox();
    for network in ["one", "two"] {
        world.mica(["network", "create", network]).success();
    }
    web(&world, "first", &["--network", "one"]);
    web(&world, "second", &["--network", "two"]);
    let ip = address(&world, "second", "two");
    let url = format!("http://{ip}/");
    let ask = |network: &str| {
        world.mica([
            "run",
            "--rm",
            "--init",
            "--network",
            network,
            "busybox",
            "timeout",
            "3",
            "wget",
            "-qO-",
            &url,
        ])
    };
    eventually("I am second", || Some(ask("two").stdout()));
    assert_ne!(ask("one").code, 0, "the networks are not isolated");
    assert_ne!(ask("bridge").code, 0, "the default network is not isolated");
    world.mica(["network", "connect", "two", "first"]).success();
    let joined = world.mica(["exec", "first", "wget", "-qO-", &url]);
    joined.success().stdout_is("I am second\n");
    let by_name = world.mica(["exec", "first", "wget", "-qO-", "http://second/"]);
    by_name.success().stdout_is("I am second\n");
    world.mica(["network", "disconnect", "two", "first"]).success();
    let parted = world.mica(["exec", "first", "timeout", "3", "wget", "-qO-", &url]);
    assert_ne!(parted.code, 0, "a container that was disconnected still reaches the network");
    let routes = world.mica(["exec", "first", "ip", "route"]).success().stdout();
    assert!(routes.contains("default via"), "{routes}");
}

#[test]
#[ignore = "needs root"]
fn privileged_an_internal_network_has_no_way_out() {
    let world = World::with_busybox();
    let neighbour = e2e::Neighbour::new(73);
    world.mica(["network", "create", "--internal", "vault"]).success();
    world.mica(["network", "create", "open"]).success();
    let ask = |network: &str| {
        let words = ["run", "--rm", "--network", network, "busybox", "ping", "-c", "1", "-W", "1"];
        world.mica([&words[..], &[neighbour.address()]].concat()).code
    };
    assert_eq!(ask("open"), 0);
    assert_ne!(ask("vault"), 0);
    let routes =
        world.mica(["run", "--rm", "--network", "vault", "busybox", "ip", "route"]).success().stdout();
    assert!(!routes.contains("default"), "{routes}");
}

#[test]
#[ignore = "needs root"]
fn privileged_addresses_are_chosen_kept_and_refused() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.41.0.0/29", "small"]).success();
    resident(
        &world,
        "fixed",
        &["--network", "small", "--ip", "10.41.0.5", "--mac-address", "02:00:00:00:00:07"],
    );
    assert_eq!(address(&world, "fixed", "small"), "10.41.0.5");
    let shown = world.mica(["exec", "fixed", "ip", "address"]).success().stdout();
    assert!(shown.contains("02:00:00:00:00:07") && shown.contains("10.41.0.5/29"), "{shown}");
    world
        .mica(["run", "--rm", "--network", "small", "--ip", "10.41.0.5", "busybox", "true"])
        .code(125)
        .stderr_contains("Address 10.41.0.5 is already in use");
    world
        .mica(["run", "--rm", "--network", "small", "--ip", "10.42.0.5", "busybox", "true"])
        .code(125)
        .stderr_contains("no configured subnet");
    world
        .mica(["run", "--rm", "--ip", "172.17.0.9", "busybox", "true"])
        .code(125)
        .stderr_contains("user specified IP address is supported on user defined networks only");
    for name in ["aa", "bb", "cc", "dd"] {
        resident(&world, name, &["--network", "small"]);
    }
    world
        .mica(["run", "--name", "ee", "--network", "small", "busybox", "true"])
        .code(125)
        .stderr_contains("no available IPv4 addresses")
        .stderr_contains("small");
    world.mica(["rm", "-f", "cc"]).success();
    world.mica(["start", "ee"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_ranges_that_the_host_routes_are_left_alone_and_the_rest_runs_out_in_words() {
    let world = World::new();
    e2e::neighbour::host(&["ip", "route", "add", "172.20.0.0/14", "dev", "lo"]);
    let mut count = 0;
    let refusal = loop {
        let made = world.mica(["network", "create", &format!("n{count}")]);
        if made.code != 0 {
            break made;
        }
        count += 1;
        assert!(count < 40);
    };
    // Of docker's 31 ranges, four are routed and the default network has one.
    assert_eq!(count, 26);
    refusal.code(1).stderr_contains("all predefined address pools have been fully subnetted");
    let ranges = world.mica(["network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "n2"]);
    assert_eq!(ranges.success().line(), "172.24.0.0/16");
    world.mica(["network", "rm", "n5"]).success();
    world.mica(["network", "create", "again"]).success();
    let pruned = world.mica(["network", "prune", "-f"]).success().stdout();
    assert!(pruned.starts_with("Deleted Networks:\n") && pruned.contains("again\n"), "{pruned}");
}

#[test]
#[ignore = "needs root"]
fn privileged_many_first_commands_of_a_store_all_find_the_default_network() {
    for _ in 0..32 {
        let world = World::new();
        let ask = || world.invoke(["network", "inspect", "-f", "{{.Id}}", "bridge"]).spawn();
        let mut asking: Vec<_> = std::iter::repeat_with(ask).take(8).collect();
        let mut ids: Vec<String> = asking.iter_mut().map(|one| one.wait(PATIENCE).success().line()).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_killed_monitor_leaves_nothing_that_its_successor_stumbles_over() {
    let world = World::with_busybox();
    world.mica(["network", "create", "back"]).success();
    for _ in 0..3 {
        resident(&world, "same", &["--network", "back", "-p", "8090:80"]);
        let pid = world.inspect("same", "{{.State.Pid}}");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let monitor = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap().to_owned();
        e2e::neighbour::host(&["kill", "-9", &monitor]);
        eventually("gone", || {
            let is_gone = !std::path::Path::new(&format!("/proc/{monitor}")).exists();
            is_gone.then(|| "gone".to_owned())
        });
        world.mica(["rm", "-f", "same"]).success();
        eventually("none", || {
            let links = e2e::neighbour::host(&["ip", "-o", "link", "show", "type", "veth"]);
            links.is_empty().then(|| "none".to_owned())
        });
    }
    resident(&world, "same", &["--network", "back", "-p", "8090:80"]);
    let rules = e2e::neighbour::host(&["nft", "list", "ruleset"]);
    assert_eq!(rules.matches("8090").count(), 1, "{rules}");
}

#[test]
#[ignore = "needs root"]
fn privileged_apt_get_update_works_by_the_hosts_own_resolver_and_route() {
    let world = World::new();
    let Some(outside) = Outside::of(&world) else { return };
    world.import_debian();
    outside.invoke(&["network", "create", "back"]).run().success();
    for network in ["bridge", "back"] {
        let update = ["run", "--rm", "--network", network, e2e::fixture::DEBIAN, "apt-get", "update"];
        outside.invoke(&update).run().success().stdout_contains("Fetched ");
    }
    outside.invoke(&["network", "rm", "back"]).run().success();
}

#[test]
#[ignore = "needs root"]
fn privileged_networks_are_made_after_a_configuration() {
    let world = World::with_busybox();
    let create = |words: &[&str]| world.mica([&["network", "create"], words].concat());
    let ranges = ["--subnet", "10.91.0.0/16", "--gateway", "10.91.0.9"];
    create(&[&["--config-only"], &ranges[..], &["--label", "a=b", "conf"]].concat()).success();
    // It has nothing itself: neither addresses that another could not have, nor a link.
    create(&[&["--config-only"], &ranges[..], &["same"]].concat()).success();
    create(&["--config-from", "conf", "real"]).success();
    let shown = "{{.Driver}} {{.ConfigOnly}} {{.ConfigFrom.Network}} {{(index .IPAM.Config 0).Subnet}} \
                 {{(index .IPAM.Config 0).Gateway}} {{.Labels.a}}";
    let inspect = |name: &str| world.mica(["network", "inspect", "-f", shown, name]).success().line();
    assert_eq!(inspect("conf"), "null true  10.91.0.0/16 10.91.0.9 b");
    assert_eq!(inspect("real"), "bridge false conf 10.91.0.0/16 10.91.0.9 b");
    let route = world.mica(["run", "--rm", "--network", "real", "busybox", "ip", "route"]).success().stdout();
    assert!(route.contains("default via 10.91.0.9"), "{route}");
    create(&["--config-from", "conf", "again"]).code(1).stderr_contains("Pool overlaps");
    let specified = "user specified configurations are not supported";
    create(&["--config-from", "conf", "--subnet", "10.92.0.0/16", "x"]).code(1).stderr_contains(specified);
    create(&["--config-from", "conf", "--label", "c=d", "x"]).code(1).stderr_contains(specified);
    create(&["--config-from", "conf", "--config-only", "x"]).code(1).stderr_contains("cannot depend on");
    for wrong in ["nope", "bridge"] {
        let words = format!("configuration network \"{wrong}\" does not exist");
        create(&["--config-from", wrong, "x"]).code(1).stderr_contains(&words);
    }
    create(&["--config-only", "--internal", "x"]).code(1).stderr_contains("network specific fields");
    let none = "cannot create endpoint on configuration-only network";
    world.mica(["run", "--rm", "--network", "conf", "busybox", "true"]).code(125).stderr_contains(none);
    world.sleeper("box");
    world.mica(["network", "connect", "conf", "box"]).code(1).stderr_contains(none);
    world.mica(["network", "rm", "conf"]).code(1).stderr_contains("configuration network \"conf\" is in use");
    world.mica(["network", "prune", "-f"]).success().stdout_contains("real").stdout_lacks("conf");
    world.mica(["network", "rm", "conf", "same"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_route_of_the_host_that_came_later_is_told_by_the_next_start() {
    let world = World::with_busybox();
    world.mica(["network", "create", "--subnet", "10.93.0.0/16", "lab"]).success();
    let start = || world.mica(["run", "--rm", "--network", "lab", "busybox", "true"]);
    start().success().stderr_is_empty();
    // A VPN, with a range that has the network's in it.
    host(&["ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "vpn1"]);
    host(&["ip", "link", "set", "vpn0", "up"]);
    host(&["ip", "link", "set", "vpn1", "up"]);
    host(&["ip", "route", "add", "10.0.0.0/9", "dev", "vpn0"]);
    let output = start();
    output.success().stderr_contains("10.93.0.0/16 of network lab are also routed by vpn0 (10.0.0.0/9)");
    output.stderr_contains("--subnet");
    world.mica(["run", "--rm", "busybox", "true"]).success().stderr_is_empty();
    host(&["ip", "link", "del", "vpn0"]);
    start().success().stderr_is_empty();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_a_network_was_made_with_is_shown_and_heeded() {
    let world = World::with_busybox();
    let flags =
        ["--attachable", "--aux-address", "printer=10.68.0.2", "--subnet", "10.68.0.0/29", "--label", "a=b"];
    world.mica([&["network", "create"][..], &flags, &["net"]].concat()).success();
    let template =
        "{{.Attachable}} {{(index .IPAM.Config 0).AuxiliaryAddresses.printer}} {{.Labels.a}} {{.Driver}}";
    let shown = world.mica(["network", "inspect", "-v", "-f", template, "net"]).success().line();
    assert_eq!(shown, "true 10.68.0.2 b bridge");
    // The printer's address is given to nobody, not even by name.
    let script = "ip -4 -o address show eth0 | grep -o '10.68.0.[0-9]*/'";
    world
        .mica(["run", "--rm", "--network", "net", "busybox", "sh", "-c", script])
        .success()
        .stdout_is("10.68.0.3/\n");
    let run = ["run", "--rm", "--network", "net", "--ip", "10.68.0.2", "busybox", "true"];
    world.mica(run).code(125).stderr_contains("already in use");
    for (driver, told) in [
        ("host", "only one instance of \"host\" network is allowed"),
        ("null", "only one instance of \"null\" network is allowed"),
        ("bogus", "plugin not found"),
    ] {
        world.mica(["network", "create", "-d", driver, "other"]).code(1).stderr_contains(told);
    }
    world.mica(["network", "ls", "-q", "--filter", "name=other"]).success().stdout_is("");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_running_container_can_be_the_first_on_a_network() {
    let world = World::with_busybox();
    world.mica(["network", "create", "side"]).success();
    world.mica(["run", "-d", "--name", "box", "--network", "side", "busybox", "sleep", "1000"]).success();
    // Nobody has been on the default network yet, so that its bridge is to be made.
    world.mica(["network", "connect", "bridge", "box"]).success();
    world.mica(["exec", "box", "ping", "-c", "1", "-W", "5", "172.17.0.1"]).success();
}
