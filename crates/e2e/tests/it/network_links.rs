//! `--link`, and lists that are filtered by ports and networks.

use crate::container_ports::web;
use e2e::World;

#[test]
#[ignore = "needs root"]
fn privileged_a_link_on_the_default_network_is_told_in_hosts_and_environment() {
    let world = World::with_busybox();
    let store = [
        "run", "-d", "--name", "store", "--expose", "5432", "--expose", "53/udp", "-e", "USER=me", "-h",
        "deep",
    ];
    world.mica([&store[..], &["busybox", "sleep", "1000"]].concat()).success();
    let ip = world.inspect("store", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    let linked =
        ["run", "--rm", "--name", "web", "--link", "store:the-db", "-e", "THE_DB_ENV_USER=mine", "busybox"];
    let hosts = world.mica([&linked[..], &["cat", "/etc/hosts"]].concat()).success().stdout();
    assert!(hosts.contains(&format!("{ip}\tthe-db deep store\n")), "{hosts}");
    let environment = world.mica([&linked[..], &["env"]].concat()).success().stdout();
    for line in [
        format!("THE_DB_PORT=tcp://{ip}:5432"),
        format!("THE_DB_PORT_5432_TCP=tcp://{ip}:5432"),
        format!("THE_DB_PORT_5432_TCP_ADDR={ip}"),
        "THE_DB_PORT_5432_TCP_PORT=5432".to_owned(),
        "THE_DB_PORT_5432_TCP_PROTO=tcp".to_owned(),
        format!("THE_DB_PORT_53_UDP=udp://{ip}:53"),
        "THE_DB_NAME=/web/the-db".to_owned(),
        // What it says itself comes before what it is told.
        "THE_DB_ENV_USER=mine".to_owned(),
    ] {
        assert!(environment.lines().any(|found| found == line), "no {line} in {environment}");
    }
    assert!(!environment.contains("THE_DB_ENV_PATH"), "{environment}");
    let reached = world.mica([&linked[..], &["ping", "-c", "1", "the-db"]].concat());
    reached.success();
}

#[test]
#[ignore = "needs root"]
fn privileged_links_need_their_target_and_can_be_forgotten() {
    let world = World::with_busybox();
    world.mica(["run", "--link", "absent:db", "busybox", "true"]).code(125).stderr_contains("absent");
    world.mica(["run", "-d", "--name", "store", "busybox", "sleep", "1000"]).success();
    world.mica(["create", "--name", "web", "--link", "store:db", "busybox", "cat", "/etc/hosts"]).success();
    world.mica(["stop", "-t", "0", "store"]).success();
    world
        .mica(["start", "-a", "web"])
        .code(1)
        .stderr_contains("Cannot link to a non running container: /store AS /web/db");
    world.mica(["start", "store"]).success();
    world.mica(["start", "-a", "web"]).success().stdout_contains("\tdb ");
    world.mica(["rm", "--link", "/web/other"]).code(1).stderr_contains("other");
    world.mica(["rm", "--link", "/web/db"]).success().stdout_is("/web/db\n");
    world.mica(["start", "-a", "web"]).success().stdout_lacks("\tdb ");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_link_on_a_network_of_ones_own_is_a_name_for_one_container_only() {
    let world = World::with_busybox();
    world.mica(["network", "create", "back"]).success();
    web(&world, "store", &["--network", "back"]);
    let resident = |name: &str, flags: &[&str]| {
        let words = ["run", "-d", "--name", name, "--network", "back"];
        world.mica([&words[..], flags, &["busybox", "sleep", "1000"]].concat()).success();
    };
    resident("knows", &["--link", "store:db"]);
    resident("knows-not", &[]);
    world.mica(["exec", "knows", "nslookup", "db"]).success();
    world.mica(["exec", "knows-not", "nslookup", "db"]).failure();
    world.mica(["network", "create", "side"]).success();
    world.mica(["network", "connect", "--link", "store:late", "side", "knows-not"]).success();
    world.mica(["network", "connect", "side", "store"]).success();
    world.mica(["exec", "knows-not", "nslookup", "late"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_lists_are_filtered_by_ports_and_by_all_networks_of_a_container() {
    let world = World::with_busybox();
    let id = world.mica(["network", "create", "back"]).success().line();
    web(&world, "both", &["-p", "8120:80", "--network", "bridge", "--network", "back"]);
    world.mica(["run", "-d", "--name", "deaf", "--expose", "7000/udp", "busybox", "sleep", "1000"]).success();
    let names = |filters: &[&str]| {
        let words: Vec<&str> = filters.iter().flat_map(|filter| ["-f", *filter]).collect();
        world.mica([&["ps", "--format", "{{.Names}}"][..], &words].concat()).success().lines()
    };
    assert_eq!(names(&["publish=8120"]), ["both"]);
    assert_eq!(names(&["publish=8000-8200/tcp"]), ["both"]);
    assert!(names(&["publish=8120/udp"]).is_empty() && names(&["publish=80"]).is_empty());
    assert_eq!(names(&["expose=80"]), ["both"]);
    assert_eq!(names(&["expose=6000-8000/udp"]), ["deaf"]);
    assert_eq!(names(&["network=back"]), ["both"]);
    assert_eq!(names(&[&format!("network={id}")]), ["both"]);
    assert_eq!(names(&["network=bridge"]), ["deaf", "both"]);
    for wrong in ["publish=a", "expose=9-8", "publish=80/icmp"] {
        world.mica(["ps", "-f", wrong]).code(1).stderr_contains(&format!("invalid filter '{wrong}'"));
    }
}
