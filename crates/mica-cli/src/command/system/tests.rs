//! What the commands about the system ask and show.

use crate::fake::FakeEngine;
use crate::testing::{outcome, run};
use mica_api::types::container::{ContainerSummary, SummaryHostConfig};
use mica_api::types::image::{ImageDelete, ImageSummary};
use mica_api::types::system::DiskUsage;
use mica_api::types::volume::{Volume, VolumePruneResponse, VolumeUsage};
use std::collections::BTreeMap;

fn usage() -> DiskUsage {
    let image = |tag: &str, containers| ImageSummary {
        id: format!("sha256:{}", "c".repeat(64)),
        parent_id: String::new(),
        repo_tags: vec![tag.to_owned(), "zz:1".to_owned()],
        repo_digests: Vec::new(),
        created: 1,
        size: 3_000,
        shared_size: 1_000,
        labels: None,
        containers,
    };
    let container = |name: &str, state: &str| ContainerSummary {
        id: "d".repeat(64),
        names: vec![format!("/{name}")],
        image: "bb:1".to_owned(),
        image_id: String::new(),
        command: "sleep 1000000000000000000000".to_owned(),
        created: 1,
        ports: Vec::new(),
        size_rw: Some(500),
        size_root_fs: None,
        labels: BTreeMap::new(),
        state: state.to_owned(),
        status: "Up".to_owned(),
        host_config: SummaryHostConfig { network_mode: "none".to_owned() },
        mounts: Vec::new(),
        networks: vec!["none".to_owned()],
    };
    let volume = |name: &str, size, ref_count| Volume {
        created_at: String::new(),
        driver: "local".to_owned(),
        labels: None,
        mountpoint: String::new(),
        name: name.to_owned(),
        options: None,
        scope: "local".to_owned(),
        usage_data: Some(VolumeUsage { size, ref_count }),
    };
    DiskUsage {
        layers_size: 5_000,
        images: vec![image("bb:1", 2), image("aa:1", 0)],
        containers: vec![container("c1", "running"), container("c2", "exited")],
        volumes: vec![volume("data", 700, 1), volume("old", 300, 0)],
        images_reclaimable: 2_000,
    }
}

fn engine() -> FakeEngine {
    FakeEngine::default().will("disk_usage", Ok(usage()))
}

#[test]
fn df_sums_up() {
    assert_eq!(
        run(&engine(), &["system", "df"]),
        outcome(
            0,
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         5kB       2kB (40%)\n\
             Containers      2         1         1kB       500B (50%)\n\
             Local Volumes   2         1         1kB       300B (30%)\n\
             Build Cache     0         0         0B        0B\n",
            ""
        )
    );
    let (_, output, _) = run(&engine(), &["system", "df", "--format", "json"]);
    let first = output.lines().next().unwrap_or_default();
    assert_eq!(
        first,
        r#"{"Active":"1","Reclaimable":"2kB (40%)","Size":"5kB","TotalCount":"2","Type":"Images"}"#
    );
}

#[test]
fn df_goes_into_details() {
    let (code, output, error) = run(&engine(), &["system", "df", "-v"]);
    assert_eq!((code, error.as_str()), (0, ""));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[0], "Images space usage:");
    assert!(lines[2].starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"), "{output}");
    assert!(lines[2].ends_with("SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS"), "{output}");
    assert!(lines[3].starts_with("bb           1         cccccccccccc"), "{output}");
    assert!(lines[3].ends_with("3kB       1kB           2kB           2"), "{output}");
    assert_eq!(lines[6], "Containers space usage:");
    assert!(lines[9].starts_with("dddddddddddd   bb:1      \"sleep 1000000000000…\"   0"), "{output}");
    assert!(output.ends_with("LAST USED   USAGE     SHARED\n"), "{output}");
}

#[test]
fn df_details_are_one_document() {
    let format = "{{range .Containers}}{{.Names}} {{.ID}} {{end}}{{len .Images}}";
    let (_, output, _) = run(&engine(), &["system", "df", "-v", "--format", format]);
    assert_eq!(output, format!("c1 {0} c2 {0} 2\n", "d".repeat(64)));
    let (_, output, _) = run(&engine(), &["system", "df", "-v", "--format", "json"]);
    assert!(output.starts_with("{\"Images\":[{\"Containers\":\"2\""), "{output}");
}

#[test]
fn prune_deletes_containers_before_images() {
    let pruned = (vec![ImageDelete::Deleted("sha256:0".to_owned())], 500_u64);
    let engine = FakeEngine::default()
        .will("network_prune", Ok(vec!["spare".to_owned()]))
        .will("image_prune", Ok(pruned));
    let (code, output, _) = run(&engine, &["system", "prune", "-f", "--filter", "label=a"]);
    assert_eq!(code, 0);
    assert!(output.starts_with("Deleted Containers:\n"), "{output}");
    assert!(output.contains("\n\nDeleted Networks:\nspare\n\n"), "{output}");
    assert!(
        output.ends_with("\n\nDeleted Images:\ndeleted: sha256:0\n\nTotal reclaimed space: 2kB\n"),
        "{output}"
    );
    let calls = [
        r#"network_prune Filters { values: {"label": {"a"}} }"#,
        r#"image_prune Filters { values: {"dangling": {"true"}, "label": {"a"}} }"#,
    ];
    assert_eq!(engine.calls(), calls);
    let (code, _, error) = run(&engine, &["system", "prune", "--volumes", "--filter", "until=1h"]);
    assert!(code == 1 && error.contains("not supported with \"--volumes\""), "{error}");
    let pruned = VolumePruneResponse { deleted: vec!["old".to_owned()], space_reclaimed: 500 };
    let engine = FakeEngine::default()
        .will("network_prune", Ok(Vec::<String>::new()))
        .will("volume_prune", Ok(pruned))
        .will("image_prune", Ok((Vec::<ImageDelete>::new(), 0_u64)));
    let (code, output, _) = run(&engine, &["system", "prune", "-f", "--volumes"]);
    assert_eq!(code, 0);
    assert!(output.ends_with("Deleted Volumes:\nold\n\nTotal reclaimed space: 2kB\n"), "{output}");
}
