//! Registries that lie about content: digests, sizes, types, layers. Each lie is told, nothing of it is kept, and the
//! same image told honestly comes.

use e2e::Stage;
use e2e::registry::{Answer, INDEX_TYPE, MANIFEST_TYPE, Manner, architecture};
use serde_json::{Value, json};

#[test]
#[ignore = "needs root"]
fn privileged_bytes_that_are_not_those_of_their_digest_are_refused() {
    let stage = Stage::new();
    let digested = format!("{}@{}", stage.name(), stage.honest.digest);
    let altered = stage.honest.manifest.to_string().replace("sha256:", "sha256: ");
    let answer =
        Answer::new(MANIFEST_TYPE, altered).header("Docker-Content-Digest", stage.honest.digest.clone());
    stage.registry.put(&stage.manifest(&stage.honest.digest), answer);
    stage.refuses_name(&digested, &["digest", &stage.honest.digest]);
    stage.reset();
    for digest in [&stage.honest.layers[1], &stage.honest.config] {
        let length = if *digest == stage.honest.config {
            stage.honest.manifest["config"]["size"].as_u64().unwrap()
        } else {
            stage.layers[1].len() as u64
        };
        let other = vec![b' '; usize::try_from(length).unwrap()];
        stage.registry.put(&stage.blob(digest), Answer::new("application/octet-stream", other));
        stage.refuses(&[digest]);
        stage.takes();
    }
    stage.world.mica(["pull", "-q", &digested]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_sizes_that_are_not_true_are_refused() {
    let stage = Stage::new();
    let right = json!(stage.layers[0].len());
    for (pointer, true_size) in
        [("/layers/0/size", right.clone()), ("/config/size", stage.honest.manifest["config"]["size"].clone())]
    {
        let size = true_size.as_i64().unwrap();
        for lie in [size - 1, size + 1, 0, -1, i64::MAX] {
            stage.change_manifest(|manifest| *manifest.pointer_mut(pointer).unwrap() = json!(lie));
            stage.refuses(&["Error"]);
        }
        stage.change_manifest(|manifest| *manifest.pointer_mut(pointer).unwrap() = json!(u64::MAX));
        stage.refuses(&["Error"]);
        stage.takes();
    }
    // The length that HTTP tells may be missing; the one of the descriptor holds.
    stage.send_layer(0, Manner::Endless);
    stage.refuses(&[&stage.honest.layers[0]]);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_layers_that_are_not_those_of_the_config_are_refused() {
    let stage = Stage::new();
    let [one, two] = [&stage.honest.layers[0], &stage.honest.layers[1]];
    let other = format!("sha256:{}", "a".repeat(64));
    for lie in [json!([one, other]), json!([two, one])] {
        stage.change_config(|config| config["rootfs"]["diff_ids"] = lie);
        stage.refuses(&["digest"]);
    }
    for lie in [json!([one]), json!([one, two, two]), json!([]), json!(null)] {
        stage.change_config(|config| config["rootfs"]["diff_ids"] = lie);
        stage.refuses(&["layers"]);
    }
    stage.change_config(|_| ());
    stage.takes_as_it_is();
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_a_document_that_may_be_read_in_two_ways_is_refused() {
    let stage = Stage::new();
    let honest = stage.honest.manifest.to_string();
    let both = {
        let mut both = stage.honest.manifest.clone();
        both["manifests"] = json!([]);
        both.to_string()
    };
    stage.answer_manifest(MANIFEST_TYPE, both.clone());
    stage.refuses(&["both an index and a manifest"]);
    stage.answer_manifest(INDEX_TYPE, both);
    stage.refuses(&["both an index and a manifest"]);
    stage.answer_manifest(INDEX_TYPE, honest.clone());
    stage.refuses(&["of another type than the registry says"]);
    let twice = honest.replacen("{", "{\"layers\":[],", 1);
    stage.answer_manifest(MANIFEST_TYPE, twice);
    stage.refuses(&["duplicate field"]);
    let utf16: Vec<u8> = honest.encode_utf16().flat_map(u16::to_le_bytes).collect();
    stage.answer_manifest(MANIFEST_TYPE, utf16);
    stage.refuses(&["Error"]);
    stage.answer_manifest(MANIFEST_TYPE, honest.replace("\"schemaVersion\":2", "\"schemaVersion\":NaN"));
    stage.refuses(&["Error"]);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_unusual_but_harmless_answers_work() {
    let stage = Stage::new();
    let honest = stage.honest.manifest.to_string();
    stage.answer_manifest(&format!("{MANIFEST_TYPE}; charset=utf-8"), honest.clone());
    stage.takes_as_it_is();
    stage.registry.put(&stage.manifest("latest"), Answer { headers: Vec::new(), ..Answer::new("", honest) });
    stage.takes_as_it_is();
    stage.reset();
    // Said of bytes which are stored as they are: they are taken as they are.
    let bytes = stage.layers[0].clone();
    let answer = Answer::new("application/octet-stream", bytes).header("Content-Encoding", "gzip");
    stage.registry.put(&stage.blob(&stage.honest.layers[0]), answer);
    stage.takes_as_it_is();
    stage.change_manifest(|manifest| manifest["layers"][0]["data"] = json!("bm90IHRoZSBkYXRh"));
    stage.takes_as_it_is();
    stage.change_manifest(|manifest| {
        manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
    });
    stage.refuses(&["sha512"]);
}

#[test]
#[ignore = "needs root"]
fn privileged_what_has_no_bounds_is_given_up_at_once() {
    let stage = Stage::new();
    let endless = |manner| {
        let answer = Answer::new(MANIFEST_TYPE, "").manner(manner);
        stage.registry.put(&stage.manifest("latest"), answer);
    };
    endless(Manner::Endless);
    stage.refuses(&["larger than the limit of 4194304 bytes"]);
    endless(Manner::EndlessHead);
    stage.refuses(&["header"]);
    stage.answer_manifest(MANIFEST_TYPE, "[".repeat(1 << 20));
    stage.refuses(&["malformed"]);
    let layer = stage.honest.manifest["layers"][0].clone();
    stage.change_manifest(|manifest| manifest["layers"] = Value::Array(vec![layer.clone(); 10_000]));
    stage.refuses(&["layers"]);
    stage.change_config(|config| config["rootfs"]["diff_ids"] = json!(vec![&stage.honest.layers[0]; 128]));
    let config = stage.registry.asked().len();
    stage.refuses(&["layers"]);
    assert!(stage.registry.asked().len() - config < 10, "no layer is fetched for it");
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_indexes_that_lead_nowhere_are_refused() {
    let stage = Stage::new();
    let index = |digest: &str, size: usize| {
        json!({
            "schemaVersion": 2, "mediaType": INDEX_TYPE,
            "manifests": [{
                "mediaType": INDEX_TYPE, "digest": digest, "size": size,
                "platform": {"os": "linux", "architecture": architecture()},
            }],
        })
    };
    let mut digest = stage.honest.digest.clone();
    let mut size = stage.honest.manifest.to_string().len();
    for depth in 1..=6 {
        let document = index(&digest, size);
        size = document.to_string().len();
        digest = stage.registry.put_manifest("team/lie", "latest", INDEX_TYPE, &document);
        if depth == 2 {
            stage.takes_as_it_is();
        }
    }
    stage.refuses(&["nested too deeply"]);
    // An index that names itself cannot have its own digest.
    let own = index(&stage.honest.digest, 400);
    stage.answer_manifest(INDEX_TYPE, own.to_string());
    stage.registry.put(&stage.manifest(&stage.honest.digest), Answer::new(INDEX_TYPE, own.to_string()));
    stage.refuses(&[&stage.honest.digest]);
    let mut other = index(&stage.honest.digest, 400);
    other["manifests"][0]["platform"] = json!({"os": "wasip1", "architecture": "wasm"});
    stage.answer_manifest(INDEX_TYPE, other.to_string());
    stage.refuses(&["no matching manifest", "wasip1/wasm"]);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_what_is_no_image_is_refused_with_its_reason() {
    let stage = Stage::new();
    for (media_type, words) in [
        ("text/html", "not a layer"),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "not a layer"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign layers"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "foreign layers"),
    ] {
        stage.change_manifest(|manifest| {
            manifest["layers"][0]["mediaType"] = json!(media_type);
            manifest["layers"][0]["urls"] = json!([format!("http://{}/elsewhere", stage.registry.address())]);
        });
        stage.refuses(&[words]);
    }
    assert_eq!(stage.registry.count("GET /elsewhere"), 0);
    stage.change_manifest(|manifest| {
        manifest["artifactType"] = json!("application/vnd.cncf.helm.chart");
        manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    });
    stage.refuses(&["application/vnd.cncf.helm.chart"]);
    let old = json!({"schemaVersion": 1, "name": "team/lie", "tag": "latest", "fsLayers": [], "history": []});
    for media_type in ["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"] {
        stage.answer_manifest(media_type, old.to_string());
        stage.refuses(&["schema 1"]);
    }
    stage.answer_manifest("text/html", "<html>sign in, please</html>");
    stage.refuses(&["Error"]);
    stage.change_config(|config| config["os"] = json!("windows"));
    stage.refuses(&["image operating system \"windows\" cannot be used on this platform"]);
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_the_image_is_what_was_compared_however_the_tag_moves() {
    let stage = Stage::new();
    let other = stage.registry.publish("team/lie", "other", &stage.layers[..1]);
    let bytes = other.manifest.to_string();
    let head = Answer::new(MANIFEST_TYPE, "").header("Docker-Content-Digest", stage.honest.digest.clone());
    stage.registry.put("HEAD /v2/team/lie/manifests/latest", head);
    let get = Answer::new(MANIFEST_TYPE, bytes).header("Docker-Content-Digest", stage.honest.digest.clone());
    stage.registry.put(&stage.manifest("latest"), get);
    let name = stage.name();
    stage.world.mica(["pull", &name]).success().stdout_contains(&format!("Digest: {}", other.digest));
    assert_eq!(
        stage.world.inspect(&name, "{{.Id}} {{.RepoDigests}}"),
        format!("{} [{name}@{}]", other.config, other.digest)
    );
}
