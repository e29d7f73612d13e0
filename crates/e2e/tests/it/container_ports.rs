//! `run -p`, `-P`, `port`: who reaches a container's port, and who does not.

use crate::network_names::inside;
use e2e::{Neighbour, World};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long something that a program is about to do may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts a web server that says its name.
#[track_caller]
pub(crate) fn web(world: &World, name: &str, flags: &[&str]) {
    let script = format!("mkdir -p /www; echo I am {name} > /www/index.html; exec httpd -f -p 80 -h /www");
    let words = [&["run", "-d", "--name", name][..], flags, &["busybox", "sh", "-c", &script]].concat();
    world.mica(words).success();
}

/// What a web server at this address answers, if one does.
pub(crate) fn fetch(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

/// Asks again until there is an answer with `part` in it: a server tells nobody when it listens.
#[track_caller]
pub(crate) fn eventually(part: &str, mut ask: impl FnMut() -> Option<String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.as_ref().is_some_and(|text| text.contains(part)) {
            return;
        }
        assert!(Instant::now() < deadline, "no {part:?}; last answer {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The same from another machine.
#[track_caller]
pub(crate) fn reaches(neighbour: &Neighbour, url: &str, part: &str) {
    eventually(part, || neighbour.run(&["wget", "-qO-", "-t", "1", url]));
}

#[track_caller]
pub(crate) fn cannot_reach(neighbour: &Neighbour, url: &str) {
    let answer = neighbour.run(&["wget", "-qO-", "-T", "1", "-t", "1", url]);
    assert_eq!(answer, None, "{url} was reached");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_published_port_is_reached_from_the_host_another_machine_and_another_container() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(77);
    web(&world, "web", &["-p", "8080:80"]);
    for address in ["127.0.0.1:8080", "[::1]:8080", "10.77.0.1:8080"] {
        eventually("I am web", || fetch(address));
    }
    reaches(&neighbour, "http://10.77.0.1:8080/", "I am web");
    let url = ["run", "--rm", "busybox", "wget", "-qO-", "http://10.77.0.1:8080/"];
    world.mica(url).success().stdout_is("I am web\n");
    for host in ["10.77.0.1", "172.17.0.1"] {
        let itself = ["exec", "web", "timeout", "5", "wget", "-qO-", &format!("http://{host}:8080/")];
        world.mica(itself).success().stdout_is("I am web\n");
    }
    world.mica(["network", "create", "other"]).success();
    let across = ["run", "--rm", "--network", "other", "busybox", "wget", "-qO-", "http://10.77.0.1:8080/"];
    world.mica(across).success().stdout_is("I am web\n");
    world.mica(["port", "web"]).success().stdout_is("80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n");
    world.mica(["port", "web", "80"]).success().stdout_is("0.0.0.0:8080\n[::]:8080\n");
    let ports = world.mica(["ps", "--format", "{{.Ports}}"]).success().line();
    assert_eq!(ports, "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_server_sees_its_clients_address() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(76);
    let script = "echo ready; exec nc -lp 80 -e sh -c 'echo $NCREMOTEADDR; true'";
    let server = ["run", "-d", "--name", "seer", "-p", "8081:80", "busybox", "sh", "-c", script];
    world.mica(server).success();
    world.await_log("seer", "ready");
    let from = "exec 3<>/dev/tcp/10.76.0.1/8081; cat <&3; true";
    eventually("seen", || {
        neighbour.run(&["bash", "-c", from])?;
        let table = world.mica(["exec", "seer", "cat", "/proc/net/tcp"]).stdout();
        // 10.76.0.2 as the kernel writes it.
        let gone = world.mica(["ps", "-q"]).line().is_empty();
        (gone || table.contains("02004C0A")).then(|| "seen".to_owned())
    });
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_not_published_is_not_reached_and_loopback_stays_local() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(75);
    web(&world, "local", &["-p", "127.0.0.1:8082:80"]);
    eventually("I am local", || fetch("127.0.0.1:8082"));
    let address = world.inspect("local", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    neighbour.succeed(&["ip", "route", "add", "172.16.0.0/12", "via", "10.75.0.1"]);
    neighbour.succeed(&["ip", "route", "add", "127.0.0.0/8", "via", "10.75.0.1", "table", "main"]);
    cannot_reach(&neighbour, &format!("http://{address}/"));
    cannot_reach(&neighbour, "http://10.75.0.1:8082/");
    let own = neighbour.run(&[
        "sh",
        "-c",
        "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip route del local 127.0.0.0/8 table local; \
         ip addr del 127.0.0.1/8 dev lo; wget -qO- -T 1 -t 1 http://127.0.0.1:8082/",
    ]);
    assert_eq!(own, None);
}

#[test]
#[ignore = "needs root"]
fn privileged_a_port_in_use_is_told_and_leaves_a_container_that_can_be_started() {
    let world = World::with_busybox();
    let holder = TcpListener::bind("0.0.0.0:8083").unwrap();
    let clash = ["run", "-d", "--name", "late", "-p", "8083:80", "busybox", "sleep", "1000"];
    world
        .mica(clash)
        .code(125)
        .stderr_contains("failed to bind host port 0.0.0.0:8083/tcp: address already in use")
        .stderr_contains("choose another port");
    assert_eq!(world.inspect("late", "{{.State.Status}}"), "created");
    drop(holder);
    world.mica(["start", "late"]).success();
    let again = ["run", "-d", "--name", "other", "-p", "8083:80", "busybox", "sleep", "1000"];
    world.mica(again).code(125).stderr_contains("address already in use");
    world.mica(["rm", "-f", "late"]).success();
    world.mica(["start", "other"]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_port_is_free_as_soon_as_the_run_is_over() {
    let world = World::with_busybox();
    for _ in 0..5 {
        world.mica(["run", "--rm", "-p", "8084:80", "busybox", "true"]).success();
        TcpListener::bind("0.0.0.0:8084").unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_datagrams_reach_a_container_and_its_answer_comes_back() {
    let world = World::with_busybox();
    world.mica(["run", "-d", "--name", "deaf", "-p", "9000:9000/udp", "busybox", "sleep", "1000"]).success();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect("127.0.0.1:9000").unwrap();
    socket.send(b"ping").unwrap();
    // Nobody listens there, which only the container itself can tell: the host's port is taken.
    let refusal = socket.recv(&mut [0; 16]).unwrap_err();
    assert_eq!(refusal.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
#[ignore = "needs root"]
fn privileged_all_exposed_ports_are_published_at_ports_that_are_free() {
    let world = World::with_busybox();
    web(&world, "many", &["-P", "--expose", "80", "--expose", "7000-7002/udp"]);
    let text = world.mica(["port", "many"]).success().stdout();
    assert_eq!(text.lines().count(), 8, "{text}");
    let line = world.mica(["port", "many", "80/tcp"]).success().line();
    let port = line.lines().next().unwrap().rsplit(':').next().unwrap().to_owned();
    eventually("I am many", || fetch(&format!("127.0.0.1:{port}")));
}

#[test]
#[ignore = "needs root"]
fn privileged_rules_that_somebody_flushed_are_there_again_after_the_next_command() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(74);
    web(&world, "web", &["-p", "8085:80"]);
    reaches(&neighbour, "http://10.74.0.1:8085/", "I am web");
    for repair in [&["network", "reload"][..], &["run", "--rm", "busybox", "true"]] {
        e2e::neighbour::host(&["nft", "flush", "ruleset"]);
        world.mica(repair).success();
        let rules = e2e::neighbour::host(&["nft", "list", "ruleset"]);
        assert!(rules.contains("8085"), "{rules}");
        reaches(&neighbour, "http://10.74.0.1:8085/", "I am web");
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_a_relayed_connection_can_end_in_one_direction_and_many_go_on_at_once() {
    let world = World::with_busybox();
    // The container has no address of IPv6, so that its monitor carries what comes for [::1].
    world.mica(["run", "-d", "--name", "server", "-p", "8086:80", "busybox", "sleep", "1000"]).success();
    let server = inside(&world, "server", || TcpListener::bind("0.0.0.0:80").unwrap());
    let mut clients: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect("[::1]:8086").unwrap()).collect();
    let mut served: Vec<TcpStream> = (0..100).map(|_| server.accept().unwrap().0).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"a question").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for connection in &mut served {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut question = String::new();
        connection.read_to_string(&mut question).unwrap();
        assert_eq!(question, "a question");
        connection.write_all(&[b'x'; 200_000]).unwrap();
    }
    drop(served);
    for client in &mut clients {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), 200_000);
    }
    // Nobody listens any more: the client is told, and the port is still the container's.
    drop(server);
    let mut late = TcpStream::connect("[::1]:8086").unwrap();
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(matches!(late.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(TcpListener::bind("[::1]:8086").is_err());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_hundred_ports_are_published_and_taken_back_together() {
    let world = World::with_busybox();
    let range = ["run", "-d", "--name", "many", "-p", "8200-8299:8200-8299", "busybox", "sleep", "1000"];
    world.mica(range).success();
    let server = inside(&world, "many", || TcpListener::bind("0.0.0.0:8277").unwrap());
    drop(TcpStream::connect("127.0.0.1:8277").unwrap());
    drop(server.accept().unwrap());
    let shown = world.mica(["ps", "--format", "{{.Ports}}"]).success().line();
    assert_eq!(shown, "0.0.0.0:8200-8299->8200-8299/tcp, [::]:8200-8299->8200-8299/tcp");
    world.mica(["rm", "-f", "many"]).success();
    assert!(!e2e::neighbour::host(&["nft", "list", "ruleset"]).contains("8277"));
    for port in [8200, 8277, 8299] {
        TcpListener::bind(("0.0.0.0", port)).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_ports_of_sctp_are_sent_on_by_the_kernel() {
    let world = World::with_busybox();
    world
        .mica(["run", "-d", "--name", "signal", "-p", "8087:5000/sctp", "busybox", "sleep", "1000"])
        .success();
    world.mica(["port", "signal", "5000/sctp"]).success().stdout_is("0.0.0.0:8087\n[::]:8087\n");
    let rules = e2e::neighbour::host(&["nft", "list", "ruleset"]);
    let address = world.inspect("signal", "{{.NetworkSettings.Networks.bridge.IPAddress}}");
    assert!(rules.contains(&format!("sctp . 8087 : {address} . 5000")), "{rules}");
    world.mica(["rm", "-f", "signal"]).success();
    assert!(!e2e::neighbour::host(&["nft", "list", "ruleset"]).contains("sctp"));
}

#[test]
#[ignore = "needs root"]
fn privileged_published_ports_follow_the_way_out_of_a_running_container() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(79);
    for name in ["front", "side"] {
        world.mica(["network", "create", name]).success();
    }
    web(&world, "web", &["-p", "8140:80", "-p", "127.0.0.1:8141:80", "--network", "front"]);
    let everywhere = ["127.0.0.1:8140", "[::1]:8140", "127.0.0.1:8141"];
    let is_reached = || {
        everywhere.iter().for_each(|address| eventually("I am web", || fetch(address)));
        reaches(&neighbour, "http://10.79.0.1:8140/", "I am web");
    };
    is_reached();
    let ports = world.mica(["port", "web"]).success().stdout();
    // To another network, which is the way out by its priority, and back.
    world.mica(["network", "connect", "--gw-priority", "1", "side", "web"]).success();
    is_reached();
    let gateway = "{{(index .NetworkSettings.Networks \"side\").Gateway}}";
    let route = world.mica(["exec", "web", "ip", "route"]).success().stdout();
    assert!(route.contains(&format!("default via {}", world.inspect("web", gateway))), "{route}");
    world.mica(["network", "disconnect", "front", "web"]).success();
    is_reached();
    assert_eq!(world.mica(["port", "web"]).success().stdout(), ports);
    world.mica(["network", "connect", "front", "web"]).success();
    world.mica(["network", "disconnect", "side", "web"]).success();
    is_reached();
    // On no network they lead nowhere, and nobody else gets them.
    world.mica(["network", "disconnect", "front", "web"]).success();
    assert_eq!(fetch("127.0.0.1:8141"), None);
    cannot_reach(&neighbour, "http://10.79.0.1:8140/");
    world.mica(["port", "web"]).success().stdout_is("");
    let taken = ["run", "--rm", "-p", "8140:80", "busybox", "true"];
    world.mica(taken).code(125).stderr_contains("8140");
    world.mica(["network", "connect", "side", "web"]).success();
    is_reached();
    assert_eq!(world.mica(["port", "web"]).success().stdout(), ports);
    // Its end takes all of it back, wherever it was.
    world.mica(["rm", "-f", "web"]).success();
    web(&world, "next", &["-p", "8140:80"]);
    eventually("I am next", || fetch("127.0.0.1:8140"));
}

#[test]
#[ignore = "needs root"]
fn privileged_datagrams_follow_a_container_to_another_network() {
    let world = World::with_busybox();
    world.mica(["network", "create", "side"]).success();
    world.mica(["run", "-d", "--name", "box", "-p", "8142:9000/udp", "busybox", "sleep", "1000"]).success();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect("127.0.0.1:8142").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let talk = || {
        inside(&world, "box", || {
            let socket = UdpSocket::bind("0.0.0.0:9000").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            client.send(b"hello").unwrap();
            let (_, from) = socket.recv_from(&mut [0; 16]).expect("the datagram did not arrive");
            socket.send_to(b"back", from).unwrap();
        });
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 4);
    };
    talk();
    world.mica(["network", "connect", "--gw-priority", "1", "side", "box"]).success();
    world.mica(["network", "disconnect", "bridge", "box"]).success();
    talk();
}

#[test]
#[ignore = "needs root"]
fn privileged_ports_appear_when_a_container_comes_to_a_network_that_can_have_them() {
    let world = World::with_busybox();
    let neighbour = Neighbour::new(80);
    world.mica(["network", "create", "-d", "macvlan", "-o", "parent=wire80", "wire"]).success();
    // On a wire of the host there is nothing to publish, and the port is anybody's.
    web(&world, "web", &["-p", "8150:80", "-p", "8151:9000/udp", "--network", "wire"]);
    world.mica(["port", "web"]).success().stdout_is("");
    web(&world, "other", &["-p", "8150:80"]);
    eventually("I am other", || fetch("127.0.0.1:8150"));
    let connect = ["network", "connect", "--gw-priority", "1", "bridge", "web"];
    world.mica(connect).code(1).stderr_contains("8150");
    assert!(!world.inspect("web", "{{json .NetworkSettings.Networks}}").contains("bridge"));
    world.mica(["rm", "-f", "other"]).success();
    world.mica(connect).success();
    let is_reached = |name: &str| {
        for address in ["127.0.0.1:8150", "[::1]:8150"] {
            eventually(&format!("I am {name}"), || fetch(address));
        }
        reaches(&neighbour, "http://10.80.0.1:8150/", &format!("I am {name}"));
    };
    is_reached("web");
    world.mica(["port", "web", "80"]).success().stdout_contains("0.0.0.0:8150");
    // From then on they are as if they had always been there.
    let taken = ["run", "--rm", "-p", "8150:80", "busybox", "true"];
    world.mica(taken).code(125).stderr_contains("8150");
    world.mica(["network", "create", "side"]).success();
    world.mica(["network", "connect", "--gw-priority", "2", "side", "web"]).success();
    world.mica(["network", "disconnect", "bridge", "web"]).success();
    is_reached("web");
    world.mica(["rm", "-f", "web"]).success();
    let rules = e2e::neighbour::host(&["nft", "list", "ruleset"]);
    assert!(!rules.contains("8150") && !rules.contains("8151"), "{rules}");
    // One that began on no network at all has its names too.
    web(&world, "lone", &["-p", "8150:80"]);
    world.mica(["stop", "-t", "0", "lone"]).success();
    world.mica(["network", "disconnect", "bridge", "lone"]).success();
    world.mica(["start", "lone"]).success();
    assert_eq!(fetch("127.0.0.1:8150"), None);
    world.mica(["network", "connect", "side", "lone"]).success();
    is_reached("lone");
    world.mica(["exec", "lone", "nslookup", "lone"]).success();
}
