//! What the commands about networks ask of the engine, and what they print.

use crate::fake::{FakeEngine, run};
use mica_api::Error;
use mica_api::types::network::{ConfigReference, Ipam, NetworkCreateResponse, NetworkInspect};
use mica_model::Timestamp;
use std::collections::BTreeMap;

fn network(name: &str) -> NetworkInspect {
    NetworkInspect {
        name: name.to_owned(),
        id: "ab".repeat(32),
        created: Timestamp::from_seconds(0),
        scope: "local".to_owned(),
        driver: "bridge".to_owned(),
        enable_ipv4: true,
        enable_ipv6: false,
        ipam: Ipam::default(),
        internal: false,
        attachable: false,
        ingress: false,
        config_from: ConfigReference::default(),
        config_only: false,
        options: BTreeMap::new(),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        containers: BTreeMap::new(),
        services: None,
    }
}

#[test]
fn create_asks_for_what_was_typed_and_prints_the_id() {
    let created = NetworkCreateResponse { id: "c0ffee".to_owned(), warning: String::new() };
    let engine = FakeEngine::default().will("network_create", Ok(created));
    let ran = run(
        "network create --subnet 10.1.0.0/16 --gateway 10.1.0.9 --ip-range 10.1.2.0/24 --internal \
         --aux-address me=10.1.0.7 -o x=y --label k back",
        &engine,
    );
    assert_eq!((ran.code, ran.output.as_str()), (0, "c0ffee\n"), "{}", ran.error);
    let call = engine.calls().remove(0);
    for part in [
        "name: \"back\"",
        "internal: true",
        "subnet: \"10.1.0.0/16\"",
        "gateway: \"10.1.0.9\"",
        "ip_range: \"10.1.2.0/24\"",
        "\"me\": \"10.1.0.7\"",
        "\"x\": \"y\"",
        "\"k\": \"\"",
    ] {
        assert!(call.contains(part), "{part} in {call}");
    }
}

#[test]
fn addresses_outside_of_every_range_are_refused() {
    for flags in ["--gateway 10.2.0.1", "--ip-range 10.2.0.0/24", "--aux-address a=10.2.0.1", "--gateway x"] {
        let ran = run(&format!("network create --subnet 10.1.0.0/16 {flags} n"), &FakeEngine::default());
        assert_eq!(ran.code, 1);
        assert!(ran.error.contains("no matching subnet"), "{}", ran.error);
    }
}

#[test]
fn ls_prints_dockers_table() {
    let engine = FakeEngine::default().will("network_list", Ok(vec![network("back")]));
    assert_eq!(
        run("network ls", &engine).output,
        "NETWORK ID     NAME      DRIVER    SCOPE\nabababababab   back      bridge    local\n"
    );
    let engine = FakeEngine::default().will("network_list", Ok(vec![network("back")]));
    assert_eq!(run("network ls --format {{.Name}}-{{.Labels}}", &engine).output, "back-a=b\n");
}

#[test]
fn connect_and_disconnect_name_both_sides() {
    let engine = FakeEngine::default().will("network_connect", Ok(())).will("network_disconnect", Ok(()));
    assert_eq!(run("network connect --ip 10.0.0.5 --alias a,b back web", &engine).code, 0);
    assert_eq!(run("network disconnect -f back web", &engine).code, 0);
    let calls = engine.calls();
    assert!(calls[0].contains("\"back\"") && calls[0].contains("ipv4_address: \"10.0.0.5\""), "{}", calls[0]);
    assert!(calls[0].contains("[\"a\", \"b\"]") && calls[0].contains("container: \"web\""), "{}", calls[0]);
    assert_eq!(calls[1], "network_disconnect \"back\" \"web\" true");
    assert_eq!(run("network connect --ip x back web", &engine).code, 125);
}

#[test]
fn rm_goes_on_after_what_cannot_be_removed() {
    let engine = FakeEngine::default()
        .will::<()>("network_remove", Err(Error::not_found("network a not found")))
        .will("network_remove", Ok(()));
    let ran = run("network rm a b", &engine);
    assert_eq!((ran.code, ran.output.as_str()), (1, "b\n"));
    assert!(ran.error.contains("network a not found"));
    let engine =
        FakeEngine::default().will::<()>("network_remove", Err(Error::not_found("network a not found")));
    assert_eq!(run("network rm -f a", &engine).code, 0);
}

#[test]
fn prune_tells_what_it_removed() {
    let engine = FakeEngine::default().will("network_prune", Ok(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(run("network prune -f", &engine).output, "Deleted Networks:\na\nb\n\n");
}
