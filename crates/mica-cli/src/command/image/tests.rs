//! What is asked of the engine for each command line about images, and what is shown.

use crate::fake::FakeEngine;
use crate::testing::{outcome as ran, run};
use mica_api::Error;
use mica_api::types::container::GraphDriver;
use mica_api::types::image::{
    HistoryEntry, ImageDelete, ImageInspect, ImageMetadata, ImageSummary, ImageTree, LoadedImage, RootFs,
};
use mica_model::Timestamp;

#[test]
fn tag_names_both() {
    let engine = FakeEngine::default();
    assert_eq!(run(&engine, &["tag", "a:1", "b:2"]), ran(0, "", ""));
    assert_eq!(engine.calls(), ["image_tag \"a:1\" \"b:2\""]);
    let refused = run(&engine, &["image", "tag", "a"]);
    assert_eq!(refused.0, 1);
    assert!(refused.2.starts_with("mica: 'mica image tag' requires 2 arguments\n"), "{}", refused.2);
}

#[test]
fn rm_goes_on_after_an_error() {
    let deleted = vec![ImageDelete::Untagged("b:1".to_owned()), ImageDelete::Deleted("sha256:0".to_owned())];
    let engine = FakeEngine::default()
        .will::<Vec<ImageDelete>>("image_remove", Err(Error::not_found("No such image: a:latest")))
        .will("image_remove", Ok(deleted));
    assert_eq!(
        run(&engine, &["rmi", "--no-prune", "a", "b:1"]),
        ran(1, "Untagged: b:1\nDeleted: sha256:0\n", "Error: No such image: a:latest\n")
    );
    assert_eq!(
        engine.calls(),
        [
            "image_remove \"a\" ImageRemoveOptions { force: false, no_prune: true }",
            "image_remove \"b:1\" ImageRemoveOptions { force: false, no_prune: true }"
        ]
    );
}

#[test]
fn a_forced_rm_forgives_only_what_is_not_there() {
    let absent = || Err::<Vec<ImageDelete>, _>(Error::not_found("No such image: a:latest"));
    let engine = FakeEngine::default().will("image_remove", absent());
    assert_eq!(run(&engine, &["rmi", "-f", "a"]).0, 0);
    let engine = FakeEngine::default()
        .will("image_remove", absent())
        .will::<Vec<ImageDelete>>("image_remove", Err(Error::conflict("in use")));
    assert_eq!(run(&engine, &["rmi", "-f", "a", "b"]).0, 1);
}

#[test]
fn save_streams_to_standard_output() {
    let engine = FakeEngine::default().will("image_save", Ok(b"archive".to_vec()));
    assert_eq!(run(&engine, &["save", "--platform", "linux/arm64", "a", "b"]), ran(0, "archive", ""));
    assert_eq!(engine.calls(), ["image_save [\"a\", \"b\"] \"linux/arm64\""]);
}

#[test]
fn save_looks_at_its_file_before_the_engine_works() {
    let engine = FakeEngine::default();
    let refused = run(&engine, &["save", "-o", "/does-not-exist/x", "a"]);
    assert_eq!(
        refused,
        ran(
            1,
            "",
            "failed to save image: invalid output path: stat /does-not-exist: no such file or directory\n"
        )
    );
    assert!(engine.calls().is_empty());
}

#[test]
fn load_tells_names_or_ids() {
    let image = |names: &[&str]| LoadedImage {
        id: "sha256:0".to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let engine = FakeEngine::default().will("image_load", Ok(vec![image(&["a:1", "a:2"]), image(&[])]));
    assert_eq!(
        run(&engine, &["load", "-q", "-i", "/"]),
        ran(0, "Loaded image: a:1\nLoaded image: a:2\nLoaded image ID: sha256:0\n", "")
    );
    assert_eq!(engine.calls(), ["image_load \"/\" \"\""]);
    let missing = run(&FakeEngine::default(), &["load", "-i", "/does-not-exist"]);
    assert!(missing.2.starts_with("open /does-not-exist: no such file or directory\n"), "{}", missing.2);
}

#[test]
fn import_passes_changes_on() {
    let engine = FakeEngine::default().will("image_import", Ok("sha256:0".to_owned()));
    let done =
        run(&engine, &["import", "-c", "CMD [\"sh\"]", "--change=USER 1", "-m", "why", "/dev/null", "a:1"]);
    assert_eq!(done, ran(0, "sha256:0\n", ""));
    assert_eq!(engine.calls(), [r#"image_import "a:1" "why" ["CMD [\"sh\"]", "USER 1"] """#]);
    let engine = FakeEngine::default().will("image_import", Ok("sha256:0".to_owned()));
    assert_eq!(run(&engine, &["import", "https://example.com/a.tar"]), ran(0, "sha256:0\n", ""));
    assert_eq!(engine.calls(), [r#"image_import "" "" [] """#]);
}

#[test]
fn prune_tells_what_went() {
    let pruned = (
        vec![ImageDelete::Untagged("a:1".to_owned()), ImageDelete::Deleted("sha256:0".to_owned())],
        1_500_u64,
    );
    let engine = FakeEngine::default().will("image_prune", Ok(pruned));
    assert_eq!(
        run(&engine, &["image", "prune", "-af", "--filter", "until=1h"]),
        ran(0, "Deleted Images:\nuntagged: a:1\ndeleted: sha256:0\n\nTotal reclaimed space: 1.5kB\n", "")
    );
    assert_eq!(
        engine.calls(),
        [r#"image_prune Filters { values: {"dangling": {"false"}, "until": {"1h"}} }"#]
    );
    let refused = run(&FakeEngine::default(), &["image", "prune", "--filter", "x"]);
    assert_eq!(refused.0, 125);
    assert!(
        refused.2.starts_with(
            "invalid argument \"x\" for \"--filter\" flag: bad format of filter (expected name=value)\n"
        ),
        "{}",
        refused.2
    );
}

#[test]
fn prune_does_nothing_unless_told_yes() {
    let engine = FakeEngine::default();
    let question =
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ";
    assert_eq!(run(&engine, &["image", "prune"]), ran(0, question, ""));
    assert!(engine.calls().is_empty());
}

#[test]
fn archives_come_from_standard_input_too() {
    let engine = FakeEngine::default().will("image_load", Ok(Vec::<LoadedImage>::new()));
    assert_eq!(run(&engine, &["load"]).0, 0);
    assert_eq!(engine.calls(), ["image_load \"stream\" \"\""]);
    let engine = FakeEngine::default().will("image_import", Ok("sha256:0".to_owned()));
    assert_eq!(run(&engine, &["import", "-"]), ran(0, "sha256:0\n", ""));
}

#[test]
fn pull_says_whether_anything_changed() {
    let engine = FakeEngine::default().will("image_pull", Ok("sha256:0".to_owned()));
    assert_eq!(
        run(&engine, &["pull", "hello"]),
        ran(
            0,
            "Using default tag: latest\nStatus: Downloaded newer image for hello:latest\nhello:latest\n",
            ""
        )
    );
    let engine = FakeEngine::default().will("image_pull", Ok("sha256:0".to_owned()));
    assert_eq!(run(&engine, &["pull", "-q", "hello:1"]), ran(0, "hello:1\n", ""));
    let engine = FakeEngine::default().will("image_pull", Ok("sha256:0".to_owned()));
    let (code, output, _) = run(&engine, &["pull", "-a", "hello"]);
    assert!(code == 0 && output.ends_with("\ndocker.io/library/hello\n"), "{output}");
    let refused = run(&FakeEngine::default(), &["pull", "--disable-content-trust=false", "hello"]);
    assert!(refused.0 != 0 && refused.2.contains("Notary"), "{}", refused.2);
}

fn image(tags: &[&str]) -> ImageSummary {
    ImageSummary {
        id: format!("sha256:{}", "c".repeat(64)),
        parent_id: String::new(),
        repo_tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        repo_digests: Vec::new(),
        created: 1,
        size: 1_982_263,
        shared_size: -1,
        labels: None,
        containers: -1,
    }
}

#[test]
fn images_are_a_table() {
    let engine = FakeEngine::default().will("image_list", Ok(vec![image(&["bb:1", "bb:2"]), image(&[])]));
    let (code, output, _) = run(&engine, &["images", "bb*", "-f", "dangling=false"]);
    assert_eq!(code, 0);
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[0].starts_with("REPOSITORY   TAG       IMAGE ID       CREATED"), "{output}");
    assert!(lines[1].starts_with("bb           1         cccccccccccc   5"), "{output}");
    assert!(lines[1].ends_with(" years ago   1.98MB"), "{output}");
    assert!(lines[3].starts_with("<none>       <none>    cccccccccccc"), "{output}");
    assert_eq!(
        engine.calls(),
        [
            r#"image_list ImageListOptions { all: false, filters: Filters { values: {"dangling": {"false"}, "reference": {"bb*"}} }, shared_size: false }"#
        ]
    );
}

#[test]
fn images_have_all_formats() {
    for (arguments, expected) in [
        (&["images", "-q"][..], "cccccccccccc\ncccccccccccc\n"),
        (&["images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}"], "bb:1 1.98MB\nbb:2 1.98MB\n"),
        (&["images", "-q", "--format", "raw"], "image_id: cccccccccccc\nimage_id: cccccccccccc\n"),
        (
            &["images", "--format", "raw"],
            "repository: bb\ntag: 1\nimage_id: cccccccccccc\ncreated_at: 1970-01-01 00:00:01 +0000 UTC\n\
             virtual_size: 1.98MB\n\nrepository: bb\ntag: 2\nimage_id: cccccccccccc\n\
             created_at: 1970-01-01 00:00:01 +0000 UTC\nvirtual_size: 1.98MB\n\n",
        ),
        (
            &["image", "ls", "--format", "table {{.Tag}}\t{{.CreatedAt}}"],
            "TAG       CREATED AT\n1         1970-01-01 00:00:01 +0000 UTC\n2         1970-01-01 00:00:01 +0000 UTC\n",
        ),
    ] {
        let engine = FakeEngine::default().will("image_list", Ok(vec![image(&["bb:1", "bb:2"])]));
        assert_eq!(run(&engine, arguments), ran(0, expected, ""), "{arguments:?}");
    }
    let (code, _, error) = run(&FakeEngine::default(), &["images", "--format", "{{.ID"]);
    assert_eq!((code, error.as_str()), (1, "failed to parse template: template: :1: unclosed action\n"));
}

#[test]
fn history_shortens_what_made_a_layer() {
    let entry = |id: &str, created_by: &str| HistoryEntry {
        id: id.to_owned(),
        created: 1,
        created_by: created_by.to_owned(),
        tags: None,
        size: 1_982_263,
        comment: "why".to_owned(),
        layer_path: "/m/1".to_owned(),
    };
    let entries =
        || vec![entry(&format!("sha256:{}", "c".repeat(64)), &"x".repeat(50)), entry("<missing>", "RUN\ta")];
    let engine = FakeEngine::default().will("image_history", Ok(entries()));
    let format = "{{.ID}} {{.CreatedAt}} {{.CreatedBy}} {{.Size}} {{.LayerPath}}";
    assert_eq!(
        run(&engine, &["history", "--format", format, "bb"]).1,
        format!(
            "cccccccccccc 1970-01-01T00:00:01Z {}… 1.98MB /m/1\n<missing> 1970-01-01T00:00:01Z RUN a 1.98MB /m/1\n",
            "x".repeat(44)
        )
    );
    let engine = FakeEngine::default().will("image_history", Ok(entries()));
    let (_, output, _) = run(&engine, &["history", "-H=false", "--no-trunc", "bb"]);
    let second = output.lines().nth(2).unwrap_or_default();
    assert!(output.starts_with("IMAGE  ") && output.contains("CREATED AT"), "{output}");
    assert!(
        second.starts_with("<missing>")
            && second.ends_with(
                "1970-01-01T00:00:01Z   RUN a                                                1982263   why"
            ),
        "{output}"
    );
}

#[test]
fn inspect_goes_on_and_fails_at_the_end() {
    let (code, output, error) = run(&FakeEngine::default(), &["image", "inspect", "nope"]);
    assert_eq!((code, output.as_str(), error.as_str()), (1, "[]\n", "Error: No such image: nope\n"));
    let engine = FakeEngine::default().will("image_inspect", Ok(inspected()));
    let format = "{{.Os}}/{{.Architecture}} {{index .RepoTags 0}} {{json .RootFS.Layers}}";
    assert_eq!(
        run(&engine, &["inspect", "-f", format, "bb", "nope"]),
        ran(1, "linux/amd64 bb:1 [\"sha256:0\"]\n", "Error: No such object: nope\n")
    );
}

fn inspected() -> ImageInspect {
    ImageInspect {
        id: "sha256:c".to_owned(),
        repo_tags: vec!["bb:1".to_owned()],
        repo_digests: Vec::new(),
        parent: String::new(),
        comment: String::new(),
        created: None,
        author: String::new(),
        config: None,
        architecture: "amd64".to_owned(),
        variant: String::new(),
        os: "linux".to_owned(),
        size: 1,
        graph_driver: GraphDriver::default(),
        root_fs: RootFs { kind: "layers".to_owned(), layers: vec!["sha256:0".to_owned()] },
        metadata: ImageMetadata { last_tag_time: Timestamp::NEVER },
        layer_paths: vec!["/m/0".to_owned()],
    }
}

#[test]
fn tree_is_drawn_or_shown() {
    let tree = || ImageTree {
        id: format!("sha256:{}", "c".repeat(64)),
        names: vec!["bb:1".to_owned()],
        size: 1_000,
        unique_size: 1_000,
        containers: Vec::new(),
        layers: Vec::new(),
    };
    let engine = FakeEngine::default().will("image_tree", Ok(vec![tree(), tree()]));
    let title = "bb:1  cccccccccccc  1kB in 0 layers, 1kB not shared\n";
    assert_eq!(run(&engine, &["image", "tree"]), ran(0, &format!("{title}\n{title}"), ""));
    assert_eq!(engine.calls(), ["image_tree None"]);
    let engine = FakeEngine::default().will("image_tree", Ok(vec![tree()]));
    let format = "{{range .}}{{.Names}} {{.UniqueSize}}{{end}}";
    assert_eq!(run(&engine, &["image", "tree", "-f", format, "bb"]), ran(0, "[bb:1] 1000\n", ""));
}
