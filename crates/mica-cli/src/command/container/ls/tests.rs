//! Tables, templates and filters of `ps`.

use crate::fake::{FakeEngine, run, run_in};
use mica_api::types::container::{ContainerSummary, Port, SummaryHostConfig};
use std::collections::BTreeMap;

fn container(name: &str) -> ContainerSummary {
    ContainerSummary {
        id: "0123456789ab".to_owned() + &"f".repeat(52),
        names: vec![format!("/{name}")],
        image: "debian:13".to_owned(),
        image_id: format!("sha256:{}", "a".repeat(64)),
        command: "sh -c \"sleep 100000000\"".to_owned(),
        created: 1_500_000_000,
        ports: Vec::new(),
        size_rw: None,
        size_root_fs: None,
        labels: BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b.c".to_owned(), "\u{1b}[2J".to_owned()),
        ]),
        state: "running".to_owned(),
        status: "Up 2 hours".to_owned(),
        host_config: SummaryHostConfig { network_mode: "none".to_owned() },
        mounts: Vec::new(),
        networks: vec!["none".to_owned()],
    }
}

fn engine() -> FakeEngine {
    FakeEngine { containers: vec![container("brave_turing")], ..FakeEngine::new() }
}

#[test]
fn the_table_is_dockers() {
    let ran = run(
        "ps --format table{{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}",
        &engine(),
    );
    assert_eq!(
        ran.output,
        "CONTAINER ID   IMAGE       COMMAND                   STATUS       PORTS     NAMES\n\
         0123456789ab   debian:13   \"sh -c \\\"sleep 100000…\"   Up 2 hours             brave_turing\n"
    );
    assert!(
        run("ps", &engine())
            .output
            .starts_with("CONTAINER ID   IMAGE       COMMAND                   CREATED")
    );
    let empty = run("ps -s", &FakeEngine::new());
    assert_eq!(
        empty.output,
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES     SIZE\n"
    );
}

#[test]
fn ids_are_short_unless_told_otherwise() {
    assert_eq!(run("ps -q", &engine()).output, "0123456789ab\n");
    assert_eq!(run("ps -q --no-trunc", &engine()).output, format!("{}\n", container("x").id));
}

#[test]
fn templates_see_labels_safely() {
    let ran = run_in(&["ps", "--format", "{{.Names}} {{.Label \"b.c\"}} {{.Labels}}"], &[], &engine());
    assert_eq!(ran.output, "brave_turing \\x1b[2J a=1,b.c=\\x1b[2J\n");
    let json = run("ps --format json", &engine()).output;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&value["Names"], &value["State"]), (&"brave_turing".into(), &"running".into()));
    assert_eq!(value.as_object().unwrap().len(), 15);
}

#[test]
fn raw_is_a_block_of_lines() {
    let raw = run("ps --format raw", &engine()).output;
    assert!(raw.starts_with("container_id: 0123456789ab\nimage: debian:13\ncommand: "), "{raw}");
    assert!(raw.contains("\nstate: running\nstatus: Up 2 hours\nnames: brave_turing\nlabels: a=1"), "{raw}");
    assert!(raw.ends_with("\nports:\n\n"), "{raw:?}");
}

#[test]
fn the_file_gives_the_default_format() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), "{\"psFormat\":\"{{.Names}}\"}").unwrap();
    let environment = [("DOCKER_CONFIG", directory.path().to_str().unwrap())];
    assert_eq!(run_in(&["ps"], &environment, &engine()).output, "brave_turing\n");
    assert_eq!(run_in(&["ps", "-q"], &environment, &engine()).output, "0123456789ab\n");
}

#[test]
fn options_become_a_request() {
    for (arguments, request) in [
        ("ps", "list all=false limit=0 size=false"),
        ("ps -a -s", "list all=true limit=0 size=true"),
        ("ps -n 3", "list all=true limit=3 size=false"),
        ("ps -l", "list all=true limit=1 size=false"),
        ("container list --format {{.Size}}", "list all=false limit=0 size=true"),
    ] {
        assert_eq!(run(arguments, &engine()).requests, [request], "{arguments}");
    }
}

#[test]
fn ports_are_joined_in_ranges() {
    let port = |private_port, public_port: Option<u16>| Port {
        ip: public_port.map(|_| "::".to_owned()),
        private_port,
        public_port,
        protocol: "tcp".to_owned(),
    };
    let ports =
        vec![port(80, Some(8080)), port(443, None), port(3001, None), port(3000, None), port(81, Some(8081))];
    let containers = vec![ContainerSummary {
        ports,
        size_rw: Some(1095),
        size_root_fs: Some(5_000_000),
        ..container("x")
    }];
    let engine = FakeEngine { containers, ..FakeEngine::new() };
    assert_eq!(
        run_in(&["ps", "--format", "{{.Ports}}|{{.Size}}"], &[], &engine).output,
        "443/tcp, 3000-3001/tcp, [::]:8080-8081->80-81/tcp|1.09kB (virtual 5MB)\n"
    );
}

#[test]
fn wrong_formats_and_filters_are_refused() {
    let ran = run("ps --format {{.Nope}}", &engine());
    assert_eq!(ran.code, 1);
    assert!(ran.error.starts_with("failed to execute template: template: :1:2: executing"), "{}", ran.error);
    let ran = run("ps --filter foo", &engine());
    let words =
        "invalid argument \"foo\" for \"-f, --filter\" flag: bad format of filter (expected name=value)\n";
    assert!(ran.code == 125 && ran.error.starts_with(words), "{}", ran.error);
}
