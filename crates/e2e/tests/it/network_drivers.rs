//! The suite that every driver of networks runs, and what only one of them does.

use crate::container_ports::eventually;
use e2e::neighbour::host;
use e2e::{Neighbour, World};

/// A kind of network: the flags that make it, and what it has.
struct Kind {
    flags: &'static [&'static str],
    /// Whether each container has a MAC address of its own.
    has_own_mac: bool,
    /// Whether containers talk to each other.
    has_talk: bool,
}

const SUBNETS: [&str; 5] = ["--subnet", "10.60.0.0/24", "--ipv6", "--subnet", "fd60::/64"];

#[track_caller]
fn resident(world: &World, name: &str, flags: &[&str]) {
    let words = [&["run", "-d", "--name", name][..], flags, &["busybox", "sleep", "1000"]].concat();
    world.mica(words).success();
}

/// Whether one container reaches another by a name or an address.
fn pings(world: &World, from: &str, to: &str) -> bool {
    let program = if to.contains(':') { "ping6" } else { "ping" };
    world.mica(["exec", from, program, "-c", "1", "-W", "2", to]).code == 0
}

/// Whether this kernel has links of a kind; says what is skipped if not.
fn knows(kind: &str) -> bool {
    let words = ["link", "add", "link", "lo", "name", "probe", "type", kind];
    let made = std::process::Command::new("ip").args(words).output().expect("ip");
    let is_known = !String::from_utf8_lossy(&made.stderr).contains("Unknown device type");
    if !is_known {
        eprintln!("skipped: this kernel has no links of the kind {kind}");
    } else if made.status.success() {
        host(&["ip", "link", "delete", "probe"]);
    }
    is_known
}

/// What holds for every network of every driver.
fn conforms(kind: &Kind) {
    let world = World::with_busybox();
    let _wire = Neighbour::new(59);
    let create = [&["network", "create"][..], kind.flags, &SUBNETS, &["net"]].concat();
    world.mica(create).success();
    // Addresses are those that were asked for, or the lowest that are free.
    resident(&world, "one", &["--network", "net", "--ip", "10.60.0.7", "--ip6", "fd60::7"]);
    resident(&world, "two", &["--network", "net", "--network-alias", "deux"]);
    let address = |name: &str, field: &str| {
        world.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"net\").{field}}}}}"))
    };
    assert_eq!(
        (address("one", "IPAddress"), address("one", "GlobalIPv6Address")),
        ("10.60.0.7".into(), "fd60::7".into())
    );
    assert_eq!(
        (address("two", "IPAddress"), address("two", "GlobalIPv6Address")),
        ("10.60.0.2".into(), "fd60::2".into())
    );
    let shown = world.mica(["exec", "one", "ip", "address", "show", "eth0"]).success().stdout();
    assert!(shown.contains("10.60.0.7/24") && shown.contains("fd60::7/64"), "{shown}");
    let is_there = shown.contains(&address("one", "MacAddress"));
    assert!(is_there || !kind.has_own_mac, "{shown}");
    // Names are answered whether or not their bearers may be reached.
    for name in ["two", "deux", "two.net"] {
        let answer = world.mica(["exec", "one", "nslookup", name]).success().stdout();
        assert!(answer.contains("10.60.0.2") && answer.contains("fd60::2"), "{name}: {answer}");
    }
    for to in ["two", "10.60.0.2", "fd60::2"] {
        assert_eq!(pings(&world, "one", to), kind.has_talk, "{:?}: {to}", kind.flags);
    }
    // A third one comes while it runs, and goes again.
    resident(&world, "late", &["--network", "none"]);
    world.mica(["network", "connect", "net", "late"]).failure();
    resident(&world, "later", &[]);
    world.mica(["network", "connect", "--ip", "10.60.0.9", "--alias", "trois", "net", "later"]).success();
    assert_eq!(pings(&world, "one", "trois"), kind.has_talk);
    let hosts = || world.mica(["exec", "later", "cat", "/etc/hosts"]).success().stdout();
    assert!(hosts().contains("10.60.0.9\t"), "{}", hosts());
    world.mica(["network", "disconnect", "net", "later"]).success();
    assert!(!hosts().contains("10.60.0.9"), "{}", hosts());
    assert_ne!(world.mica(["exec", "later", "ip", "link", "show", "eth1"]).code, 0);
    // What is in use stays; what is not goes, with all that the host has of it.
    world.mica(["network", "rm", "net"]).code(1).stderr_contains("has active endpoints");
    world.mica(["rm", "-f", "one", "two", "late", "later"]).success();
    let id = world.mica(["network", "inspect", "-f", "{{.Id}}", "net"]).success().line();
    world.mica(["network", "rm", "net"]).success();
    let links = host(&["ip", "-o", "link"]);
    assert!(!links.contains(&id[..12]), "{links}");
    assert!(links.contains("wire59"), "a link of the host is gone: {links}");
}

#[test]
#[ignore = "needs root"]
fn privileged_bridges_conform() {
    conforms(&Kind { flags: &["-d", "bridge"], has_own_mac: true, has_talk: true });
    conforms(&Kind { flags: &["--internal"], has_own_mac: true, has_talk: true });
    let quiet = &["-o", "com.docker.network.bridge.enable_icc=false"];
    conforms(&Kind { flags: quiet, has_own_mac: true, has_talk: false });
}

#[test]
#[ignore = "needs root"]
fn privileged_macvlans_conform() {
    conforms(&Kind { flags: &["-d", "macvlan", "-o", "parent=wire59"], has_own_mac: true, has_talk: true });
    conforms(&Kind { flags: &["-d", "macvlan"], has_own_mac: true, has_talk: true });
    conforms(&Kind { flags: &["-d", "macvlan", "--internal"], has_own_mac: true, has_talk: true });
    let private = &["-d", "macvlan", "-o", "parent=wire59", "-o", "macvlan_mode=private"];
    conforms(&Kind { flags: private, has_own_mac: true, has_talk: false });
}

#[test]
#[ignore = "needs root"]
fn privileged_ipvlans_conform() {
    let _own = World::new();
    if !knows("ipvlan") {
        return;
    }
    conforms(&Kind { flags: &["-d", "ipvlan", "-o", "parent=wire59"], has_own_mac: false, has_talk: true });
    conforms(&Kind { flags: &["-d", "ipvlan"], has_own_mac: false, has_talk: true });
    conforms(&Kind { flags: &["-d", "ipvlan", "-o", "ipvlan_mode=l3"], has_own_mac: false, has_talk: true });
    conforms(&Kind { flags: &["-d", "ipvlan", "-o", "ipvlan_mode=l3s"], has_own_mac: false, has_talk: true });
}

#[test]
#[ignore = "needs root"]
fn privileged_a_container_on_a_wire_of_the_host_reaches_the_machines_there() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(61);
    for (driver, net) in [("macvlan", "mac"), ("ipvlan", "ip")] {
        if !knows(driver) {
            continue;
        }
        let create = [
            "network",
            "create",
            "-d",
            driver,
            "-o",
            "parent=wire61",
            "--subnet",
            "10.61.0.0/24",
            "--gateway",
            "10.61.0.2",
            net,
        ];
        world.mica(create).success();
        resident(&world, net, &["--network", net, "--ip", "10.61.0.77"]);
        assert!(pings(&world, net, neighbour.address()), "{driver}");
        neighbour.succeed(&["busybox", "ping", "-c", "1", "-W", "2", "10.61.0.77"]);
        world.mica(["rm", "-f", net]).success();
        world.mica(["network", "rm", net]).success();
    }
    world
        .mica(["network", "create", "-d", "macvlan", "-o", "parent=absent0", "lost"])
        .code(1)
        .stderr_contains("absent0");
    world.mica(["network", "inspect", "lost"]).code(1);
    world.mica(["network", "create", "-d", "overlay", "far"]).code(1).stderr_contains("plugin not found");
}

#[test]
#[ignore = "needs root"]
fn privileged_the_way_out_is_by_the_network_of_highest_priority_that_has_one() {
    let world = World::with_busybox();
    let subnets = [("alpha", "10.62.1.0/24"), ("beta", "10.62.2.0/24")];
    for (name, subnet) in subnets {
        world.mica(["network", "create", "--subnet", subnet, name]).success();
    }
    world.mica(["network", "create", "--internal", "--subnet", "10.62.3.0/24", "aaa"]).success();
    let route = |name: &str| world.mica(["exec", name, "ip", "route", "show", "default"]).success().line();
    let beta_first = ["--network", "alpha", "--network", "name=beta,gw-priority=1", "--network", "aaa"];
    resident(&world, "prior", &beta_first);
    assert!(route("prior").contains("via 10.62.2.1"), "{}", route("prior"));
    resident(&world, "plain", &["--network", "beta", "--network", "aaa"]);
    assert!(route("plain").contains("via 10.62.2.1"), "{}", route("plain"));
    // By name among equals; with the network, its way goes.
    world.mica(["network", "connect", "alpha", "plain"]).success();
    assert!(route("plain").contains("via 10.62.1.1"), "{}", route("plain"));
    world.mica(["network", "disconnect", "alpha", "plain"]).success();
    assert!(route("plain").contains("via 10.62.2.1"), "{}", route("plain"));
    world.mica(["network", "connect", "--gw-priority", "5", "alpha", "plain"]).success();
    assert!(route("plain").contains("via 10.62.1.1"), "{}", route("plain"));
    let wishes =
        "name=beta,ip=10.62.2.50,mac-address=02:00:00:00:62:50,alias=wished,link-local-ip=169.254.62.50";
    resident(&world, "wishes", &["--network", wishes]);
    let shown = world.mica(["exec", "wishes", "ip", "address"]).success().stdout();
    for part in ["10.62.2.50/24", "02:00:00:00:62:50", "169.254.62.50/16"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(pings(&world, "plain", "wished"));
}

#[test]
#[ignore = "needs root"]
fn privileged_ipv6_is_there_where_it_is_asked_for_and_nowhere_else() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(63);
    host(&["ip", "address", "add", "fd63::1/64", "dev", "wire63", "nodad"]);
    neighbour.succeed(&["ip", "address", "add", "fd63::2/64", "dev", "wire", "nodad"]);
    neighbour.succeed(&["ip", "route", "add", "default", "via", "fd63::1"]);
    world.mica(["network", "create", "--ipv6", "six"]).success();
    crate::container_ports::web(
        &world,
        "server",
        &["--network", "six", "-p", "8110:80", "-p", "[fd63::1]:8111:80"],
    );
    let urls = ["http://[fd63::1]:8110/", "http://[fd63::1]:8111/", "http://10.63.0.1:8110/"];
    for url in urls {
        crate::container_ports::reaches(&neighbour, url, "I am server");
    }
    crate::container_ports::cannot_reach(&neighbour, "http://10.63.0.1:8111/");
    for address in ["[::1]:8110", "127.0.0.1:8110", "[fd63::1]:8111"] {
        eventually("I am server", || crate::container_ports::fetch(address));
    }
    // What is not published is not reached by routing there, and a way out there is.
    let ip = world.inspect("server", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}");
    crate::container_ports::cannot_reach(&neighbour, &format!("http://[{ip}]/"));
    assert!(pings(&world, "server", "fd63::2"));
    for from in ["server", "other"] {
        if from == "other" {
            resident(&world, "other", &["--network", "six"]);
        }
        let ask = ["exec", from, "timeout", "5", "wget", "-qO-", "http://[fd63::1]:8110/"];
        world.mica(ask).success().stdout_is("I am server\n");
    }
    // Elsewhere a container has no address of IPv6 but its own loopback, and listens to no router.
    resident(&world, "four", &[]);
    let shown = world.mica(["exec", "four", "ip", "-6", "address"]).success().stdout();
    assert_eq!(shown.matches("inet6").count(), shown.matches("inet6 ::1/128").count(), "{shown}");
    let heeds =
        world.mica(["exec", "server", "cat", "/proc/sys/net/ipv6/conf/eth0/accept_ra"]).success().line();
    assert_eq!(heeds, "0");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_containers_link_has_the_name_and_the_settings_that_are_asked_for() {
    let world = World::with_busybox();
    let prefix = "com.docker.network.container_iface_prefix=wan";
    world.mica(["network", "create", "-o", prefix, "back"]).success();
    let setting = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1";
    resident(&world, "plain", &["--network", "back"]);
    world.mica(["exec", "plain", "ip", "link", "show", "wan0"]).success();
    let name = "com.docker.network.endpoint.ifname=own7";
    let long = format!("name=bridge,driver-opt={name},driver-opt={setting}");
    resident(&world, "named", &["--network", &long]);
    let read = |link: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{link}/log_martians");
        world.mica(["exec", "named", "cat", &path]).success().line()
    };
    assert_eq!(read("own7"), "1");
    world.mica(["network", "connect", "--driver-opt", setting, "back", "named"]).success();
    assert_eq!(read("wan1"), "1");
    world.mica(["network", "disconnect", "bridge", "named"]).success();
    assert_ne!(world.mica(["exec", "named", "ip", "link", "show", "own7"]).code, 0);
    let wrong = ["network", "connect", "--driver-opt", "com.docker.network.endpoint.sysctls=kernel.panic=1"];
    world.mica([&wrong[..], &["bridge", "named"]].concat()).code(1).stderr_contains("invalid sysctl setting");
    let unknown = ["network", "connect", "--driver-opt", "com.example.x=1", "bridge", "named"];
    world.mica(unknown).code(1).stderr_contains("com.example.x");
}
