//! Whom a pull believes and how it gets there: TLS, certificates, passwords, mirrors, proxies, IPv6.

use e2e::registry::{Answer, Manner};
use e2e::{Authority, Demands, Distribution, Entry, Proxy, Registry, Tarball, World, fixture, neighbour};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An address of this machine that is not loopback, where no exception is made.
const STRANGE: &str = "192.0.2.1";

fn world() -> World {
    let world = World::new();
    neighbour::host(&["ip", "address", "add", &format!("{STRANGE}/32"), "dev", "lo"]);
    fs::write(world.directory().join("config.toml"), "[registry]\nidle_timeout_seconds = 2\n").unwrap();
    world
}

fn certificates(world: &World, registry: &str) -> PathBuf {
    let directory = world.directory().join("certs.d").join(registry);
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn write_config(world: &World, config: &serde_json::Value) {
    let directory = world.directory().join("home/.docker");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

/// Puts busybox in place below the registry's back, through a plain one on the same content.
fn fill(directory: &Path) {
    let plain = Distribution::start(directory, "127.0.0.1", &Demands::default()).unwrap();
    let archive = format!("docker-archive:{}", fixture::busybox_archive().unwrap().display());
    let target = format!("docker://{}", plain.name("team/app:v1"));
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", &archive, &target])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}

fn is_missing() -> bool {
    let is_missing = ["docker-registry", "skopeo", "htpasswd", "openssl"]
        .iter()
        .any(|program| !Path::new("/usr/bin").join(program).exists());
    if is_missing {
        eprintln!(
            "skipped: docker-registry, skopeo, htpasswd and openssl are needed, `cargo xtask test` installs them"
        );
    }
    is_missing
}

#[test]
#[ignore = "needs root"]
fn privileged_only_known_authorities_are_believed() {
    if is_missing() {
        return;
    }
    let world = world();
    let data = world.scratch().join("registry");
    fill(&data);
    let authority = Authority::new(&world.scratch().join("authority"));
    let subject = format!("IP:{STRANGE}");
    let good = authority.issue("good", &subject, 2);
    let start = |identity| {
        Distribution::start(&data, STRANGE, &Demands { identity: Some(identity), ..Demands::default() })
            .unwrap()
    };
    let registry = start(good);
    let name = registry.name("team/app:v1");
    world.mica(["pull", &name]).code(1).stderr_contains("UnknownIssuer");
    let directory = certificates(&world, registry.address());
    fs::copy(authority.certificate(), directory.join("ca.crt")).unwrap();
    world.mica(["pull", "-q", &name]).success();
    for (title, subject, days, words) in [
        ("other", "IP:192.0.2.9,DNS:other.example", 2, "not valid for name"),
        ("old", subject.as_str(), -1, "Expired"),
    ] {
        let registry = start(authority.issue(title, subject, days));
        let directory = certificates(&world, registry.address());
        fs::copy(authority.certificate(), directory.join("ca.crt")).unwrap();
        world.mica(["pull", &registry.name("team/app:v1")]).code(1).stderr_contains(words);
    }
    // What the settings call insecure is taken with anybody's certificate.
    let registry = start(authority.issue("self", "DNS:nobody.example", 2));
    let name = registry.name("team/app:v1");
    world.mica(["pull", &name]).code(1);
    let settings = format!("[registry]\ninsecure = [\"{STRANGE}/32\"]\n");
    fs::write(world.directory().join("config.toml"), settings).unwrap();
    world.mica(["pull", "-q", &name]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_tls_is_never_given_up_behind_the_users_back() {
    let world = world();
    let registry = Registry::at(STRANGE);
    registry.publish("plain", "latest", &[Tarball::new().with(Entry::file("f", "x")).finish()]);
    let name = registry.name("plain");
    world.mica(["pull", &name]).code(1).stderr_contains(registry.address());
    assert_eq!(registry.count("GET"), 0);
    let settings = format!("[registry]\ninsecure = [\"{}\"]\n", registry.address());
    fs::write(world.directory().join("config.toml"), settings).unwrap();
    world.mica(["pull", "-q", &name]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_certificate_and_a_password_are_shown_where_they_are_asked_for() {
    if is_missing() {
        return;
    }
    let world = world();
    let data = world.scratch().join("registry");
    fill(&data);
    let authority = Authority::new(&world.scratch().join("authority"));
    let demands = Demands {
        identity: Some(authority.issue("server", &format!("IP:{STRANGE}"), 2)),
        client_authority: Some(authority.certificate()),
        password: Some("hidden-word".to_owned()),
    };
    let registry = Distribution::start(&data, STRANGE, &demands).unwrap();
    let name = registry.name("team/app:v1");
    let directory = certificates(&world, registry.address());
    fs::copy(authority.certificate(), directory.join("ca.crt")).unwrap();
    world.mica(["pull", &name]).code(1).stderr_contains("ertificate");
    let client = authority.issue("client", "DNS:client.example", 2);
    fs::copy(&client.certificate, directory.join("client.cert")).unwrap();
    world.mica(["pull", &name]).code(1).stderr_contains("missing key");
    fs::copy(&client.key, directory.join("client.key")).unwrap();
    world.mica(["pull", &name]).code(1).stderr_contains("pull access denied");
    // `user:wrong`, then `user:hidden-word`.
    for (auth, code) in [("dXNlcjp3cm9uZw==", 1), ("dXNlcjpoaWRkZW4td29yZA==", 0)] {
        write_config(&world, &json!({"auths": {registry.address(): {"auth": auth}}}));
        world.mica(["pull", &name]).code(code).stderr_lacks("hidden-word");
    }
    world.mica(["run", "--rm", &name, "echo", "works"]).success().stdout_is("works\n");
}

#[test]
#[ignore = "needs root"]
fn privileged_mirrors_fail_over_even_in_the_midst_of_a_layer() {
    let world = world();
    let [dead, liar, broken, origin] = ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.1"].map(Registry::at);
    let layers: Vec<Vec<u8>> = ["one", "two"]
        .map(|name| Tarball::new().with(Entry::file(name, name.repeat(9000))).finish())
        .to_vec();
    let published = origin.publish("team/app", "v1", &layers);
    for mirror in [&liar, &broken] {
        mirror.publish("team/app", "v1", &layers);
    }
    for (digest, layer) in published.layers.iter().zip(&layers) {
        let blob = format!("GET /v2/team/app/blobs/{digest}");
        liar.put(&blob, Answer::new("", vec![0; layer.len()]));
        broken.put(&blob, Answer::new("", layer.clone()).manner(Manner::DropAfter(1000)));
    }
    let (address, name) = (dead.address().to_owned(), origin.name("team/app:v1"));
    drop(dead);
    let directory = certificates(&world, origin.address());
    let hosts = |mirrors: &[&str]| {
        let text: String = mirrors
            .iter()
            .map(|mirror| format!("[host.\"http://{mirror}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"))
            .collect();
        fs::write(directory.join("hosts.toml"), text).unwrap();
    };
    // The first is gone: the second answers all, the registry itself is not asked.
    let healthy = Registry::at("127.0.0.5");
    healthy.publish("team/app", "v1", &layers);
    hosts(&[&address, healthy.address()]);
    world.mica(["pull", "-q", &name]).success();
    assert_eq!((origin.asked().len(), healthy.count("GET /v2/team/app/blobs/")), (0, 3));
    world.mica(["rmi", &name]).success();
    // Connections break at the mirror: the rest comes from the registry.
    hosts(&[broken.address()]);
    world.mica(["pull", "-q", &name]).success();
    let ranges: Vec<_> =
        origin.asked().into_iter().filter_map(|asked| asked.headers.get("range").cloned()).collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert!(ranges.iter().all(|range| range.starts_with("bytes=") && range != "bytes=0-"), "{ranges:?}");
    world.mica(["rmi", &name]).success();
    hosts(&[liar.address()]);
    world.mica(["pull", "-q", &name]).success();
    assert_eq!(
        world.inspect(&name, "{{.Id}} {{.RepoDigests}}"),
        format!("{} [{}@{}]", published.config, origin.name("team/app"), published.digest)
    );
    fs::write(directory.join("hosts.toml"), "nonsense = [").unwrap();
    world.mica(["pull", &name]).code(1).stderr_contains("hosts.toml");
}

#[test]
#[ignore = "needs root"]
fn privileged_debians_registry_is_reached_past_a_dead_mirror_and_through_a_proxy() {
    if is_missing() {
        return;
    }
    let world = world();
    let data = world.scratch().join("registry");
    fill(&data);
    let authority = Authority::new(&world.scratch().join("authority"));
    let identity = Some(authority.issue("server", &format!("IP:{STRANGE}"), 2));
    let start = |demands: &Demands| Distribution::start(&data, STRANGE, demands).unwrap();
    let mut mirror = start(&Demands { identity, ..Demands::default() });
    let origin = start(&Demands::default());
    let name = origin.name("team/app:v1");
    // containerd's file beside docker's certificates: a mirror that speaks TLS, and the registry itself that does not.
    let directory = certificates(&world, origin.address());
    let hosts = format!(
        "server = \"http://{}\"\n[host.\"https://{}\"]\ncapabilities = [\"pull\", \"resolve\"]\nca = \"{}\"\n",
        origin.address(),
        mirror.address(),
        authority.certificate().display()
    );
    fs::write(directory.join("hosts.toml"), hosts).unwrap();
    let proxy = Proxy::new();
    let address = format!("http://{}", proxy.address());
    let pull = || {
        let pull = world.invoke(["run", "--rm", "--network", "none", &name, "echo", "works"]);
        let pull = pull.env("HTTP_PROXY", &address).env("HTTPS_PROXY", &address);
        pull.run().success().stdout_is("works\n").stderr_contains("Downloaded newer image");
        let digests = world.inspect(&name, "{{.RepoDigests}}");
        world.mica(["rmi", &name]).success();
        digests
    };
    let by_mirror = pull();
    let connects = |to: &str| {
        let to = format!("CONNECT {to} ");
        proxy.asked().iter().filter(|head| head.starts_with(&to)).count()
    };
    assert!(connects(mirror.address()) > 0 && connects(origin.address()) == 0, "{:?}", proxy.asked());
    mirror.pause();
    assert_eq!(pull(), by_mirror);
    assert!(connects(origin.address()) > 0, "{:?}", proxy.asked());
}

#[test]
#[ignore = "needs root"]
fn privileged_proxies_are_used_unless_the_host_is_exempt() {
    let world = world();
    let registry = Registry::at(STRANGE);
    registry.publish("far", "latest", &[Tarball::new().with(Entry::file("f", "x")).finish()]);
    let settings = format!("[registry]\ninsecure = [\"{}\"]\n", registry.address());
    fs::write(world.directory().join("config.toml"), settings).unwrap();
    let name = registry.name("far");
    let proxy = Proxy::new();
    let address = format!("http://user:hidden-word@{}", proxy.address());
    let pull = |exempt: &str| {
        let pull =
            world.invoke(["pull", "-q", &name]).env("HTTP_PROXY", &address).env("HTTPS_PROXY", &address);
        pull.env("NO_PROXY", exempt).run().success();
        world.mica(["rmi", &name]).success();
    };
    pull("other.example");
    let asked = proxy.asked();
    assert!(
        asked.iter().any(|head| head.starts_with(&format!("CONNECT {} ", registry.address()))),
        "{asked:?}"
    );
    assert!(
        asked[0].to_lowercase().contains("proxy-authorization: basic dxnlcjpoawrkzw4td29yza=="),
        "{asked:?}"
    );
    pull(STRANGE);
    pull("*");
    assert_eq!(proxy.asked().len(), asked.len(), "exempt hosts are reached directly");
    // A proxy that is not there is an error, not a way round it.
    let failed = world.invoke(["pull", &name]).env("HTTP_PROXY", "http://user:hidden-word@127.0.0.1:1");
    failed
        .env("HTTPS_PROXY", "http://user:hidden-word@127.0.0.1:1")
        .run()
        .code(1)
        .stderr_lacks("hidden-word");
}

#[test]
#[ignore = "needs root"]
fn privileged_a_registry_on_ipv6_is_reached_by_its_literal() {
    let world = World::new();
    let registry = Registry::at("::1");
    registry.publish("six", "latest", &[Tarball::new().with(Entry::file("f", "x")).finish()]);
    let name = registry.name("six");
    assert!(name.starts_with("[::1]:"));
    world.mica(["pull", "-q", &name]).success().stdout_is(&format!("{name}:latest\n"));
    world.mica(["rmi", &name]).success();
}
