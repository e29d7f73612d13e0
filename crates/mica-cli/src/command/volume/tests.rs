//! What the commands about volumes ask and show.

use crate::fake::FakeEngine;
use crate::testing::{outcome, run};
use mica_api::Error;
use mica_api::types::volume::{Volume, VolumePruneResponse};
use std::collections::BTreeMap;

fn volume(name: &str) -> Volume {
    Volume {
        created_at: "2026-01-01T00:00:00Z".to_owned(),
        driver: "local".to_owned(),
        labels: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
        mountpoint: format!("/v/{name}"),
        name: name.to_owned(),
        options: None,
        scope: "local".to_owned(),
        usage_data: None,
    }
}

#[test]
fn create_hands_everything_over_and_prints_the_name() {
    let engine = FakeEngine::default().will("volume_create", Ok(volume("data")));
    let arguments = [
        "volume",
        "create",
        "-d",
        "local",
        "--label",
        "a=b",
        "-o",
        "o=addr=x,rw",
        "--opt",
        "type=nfs",
        "data",
    ];
    assert_eq!(run(&engine, &arguments), outcome(0, "data\n", ""));
    let asked = engine.calls().join("\n");
    for part in
        ["name: \"data\"", "driver: \"local\"", "\"o\": \"addr=x,rw\"", "\"type\": \"nfs\"", "\"a\": \"b\""]
    {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    let (code, _, error) = run(&engine, &["volume", "create", "--name", "a", "b"]);
    assert!(code == 1 && error.contains("conflicting options"), "{error}");
}

#[test]
fn ls_shows_rows_names_and_templates() {
    let engine = || FakeEngine::default().will("volume_list", Ok(vec![volume("data"), volume("logs")]));
    assert_eq!(
        run(&engine(), &["volume", "ls"]),
        outcome(0, "DRIVER    VOLUME NAME\nlocal     data\nlocal     logs\n", "")
    );
    assert_eq!(run(&engine(), &["volume", "list", "-q"]), outcome(0, "data\nlogs\n", ""));
    let format = "{{.Name}} {{.Mountpoint}} {{.Labels}} {{.Label \"a\"}} {{.Size}}";
    let (code, output, error) = run(&engine(), &["volume", "ls", "--format", format]);
    assert_eq!((code, output.lines().next()), (0, Some("data /v/data a=b b N/A")), "{error}");
}

#[test]
fn rm_goes_on_after_a_failure() {
    let engine = FakeEngine::default()
        .will("volume_remove", Err::<(), _>(Error::conflict("remove a: volume is in use - [x]")))
        .will("volume_remove", Ok(()));
    assert_eq!(
        run(&engine, &["volume", "rm", "a", "b"]),
        outcome(1, "b\n", "Error: remove a: volume is in use - [x]\n")
    );
    assert_eq!(engine.calls(), ["volume_remove \"a\" false", "volume_remove \"b\" false"]);
}

#[test]
fn prune_tells_what_went() {
    let pruned = VolumePruneResponse { deleted: vec!["a".to_owned()], space_reclaimed: 1500 };
    let engine = FakeEngine::default().will("volume_prune", Ok(pruned));
    assert_eq!(
        run(&engine, &["volume", "prune", "-f", "--all"]),
        outcome(0, "Deleted Volumes:\na\n\nTotal reclaimed space: 1.5kB\n", "")
    );
    assert!(engine.calls()[0].contains("all"), "{:?}", engine.calls());
    let (code, _, error) = run(&engine, &["volume", "prune", "--all", "--filter", "all=1"]);
    assert!(code == 1 && error.contains("conflicting options"), "{error}");
    let (code, output, _) = run(&engine, &["volume", "prune"]);
    assert_eq!(code, 0);
    assert!(
        output.contains("all anonymous local volumes") || output.contains("anonymous local volumes not used")
    );
}

#[test]
fn inspect_shows_the_wires_document() {
    let engine = FakeEngine::default().will("volume_inspect", Ok(volume("data")));
    let (code, output, _) = run(&engine, &["volume", "inspect", "data"]);
    assert_eq!(code, 0);
    let keys: Vec<_> = output.lines().filter_map(|line| line.trim().split('"').nth(1)).collect();
    assert_eq!(keys, ["CreatedAt", "Driver", "Labels", "a", "Mountpoint", "Name", "Options", "Scope"]);
    assert_eq!(
        run(&engine, &["volume", "inspect", "x"]),
        outcome(1, "[]\n", "Error: get x: no such volume\n")
    );
}

#[test]
fn update_is_for_clusters_only() {
    let (code, _, error) = run(&FakeEngine::default(), &["volume", "update", "x"]);
    assert!(code == 1 && error.contains("without swarm clusters"), "{error}");
}
