//! What a pull tells nobody: credentials go to whom the user named, and to nobody's eyes; texts of registries are
//! shown without what a terminal would obey.

use e2e::registry::Answer;
use e2e::{Registry, Stage};
use serde_json::json;
use std::fs;
use std::path::Path;

/// `user:hidden-word` as HTTP's basic authentication writes it.
const BASIC: &str = "dXNlcjpoaWRkZW4td29yZA==";

fn log_in(stage: &Stage, registry: &str) {
    write_config(stage, &json!({"auths": {registry: {"auth": BASIC}}, "HttpHeaders": {"X-Team": "blue"}}));
}

fn write_config(stage: &Stage, config: &serde_json::Value) {
    let directory = stage.world.directory().join("home/.docker");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

fn signed(registry: &Registry) -> Vec<String> {
    registry
        .asked()
        .into_iter()
        .filter(|asked| asked.headers.contains_key("authorization") || asked.headers.contains_key("x-team"))
        .map(|asked| asked.what)
        .collect()
}

#[test]
#[ignore = "needs root"]
fn privileged_credentials_go_to_nobody_that_the_registry_names() {
    let stage = Stage::new();
    let other = Registry::at("127.0.0.2");
    log_in(&stage, stage.registry.address());
    let manifest = stage.manifest("latest");
    let basic = || Answer::status(401).header("WWW-Authenticate", "Basic realm=\"r\"");
    let honest = Answer::new(e2e::registry::MANIFEST_TYPE, stage.honest.manifest.to_string());
    stage.registry.put("HEAD /v2/team/lie/manifests/latest", Answer::status(404));
    stage.registry.put_all(&manifest, [basic(), honest]);
    let away =
        |path: &str| Answer::status(307).header("Location", format!("http://{}{path}", other.address()));
    stage.registry.put(&stage.blob(&stage.honest.layers[0]), away("/blob"));
    other.put("GET /blob", Answer::new("", stage.layers[0].clone()));
    stage.takes_as_it_is();
    assert_eq!((other.count("GET /blob"), signed(&other)), (1, Vec::new()));
    let last = stage.registry.asked().into_iter().rfind(|asked| asked.what == manifest).unwrap();
    assert_eq!(last.headers["authorization"], format!("Basic {BASIC}"));
    assert_eq!(last.headers["x-team"], "blue");
    // Somebody who gives tokens is asked without the password.
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", other.address());
    stage.registry.put(&manifest, Answer::status(401).header("WWW-Authenticate", realm));
    other.put("GET /token", Answer::new("application/json", r#"{"token":"abc"}"#));
    stage.refuses(&["pull access denied"]);
    assert_eq!((other.count("GET /token") > 0, signed(&other)), (true, Vec::new()));
    // A redirected question that the other side wants signed stays without an answer.
    stage.registry.put(&manifest, away("/manifest"));
    other.put("GET /manifest", basic());
    stage.refuses(&["Error"]);
    assert_eq!(signed(&other), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn privileged_a_missing_helper_gives_no_other_registry_its_credentials() {
    let stage = Stage::new();
    let other = Registry::at("127.0.0.2");
    write_config(
        &stage,
        &json!({
            "auths": {other.address(): {"auth": BASIC}},
            "credHelpers": {stage.registry.address(): "not-installed", other.address(): "not-installed"},
        }),
    );
    let manifest = stage.manifest("latest");
    stage.registry.put(&manifest, Answer::status(401).header("WWW-Authenticate", "Basic realm=\"r\""));
    stage.refuses(&["pull access denied"]);
    assert_eq!(signed(&stage.registry), Vec::<String>::new());
    stage.takes();
}

#[test]
#[ignore = "needs root"]
fn privileged_helpers_and_stores_are_asked_in_dockers_protocol() {
    let stage = Stage::new();
    let programs = stage.world.scratch().join("programs");
    fs::create_dir(&programs).unwrap();
    let log = stage.world.scratch().join("asked");
    let program = programs.join("docker-credential-desk");
    let script = format!(
        "#!/bin/sh\nread -r key\necho \"$1 $key\" >> {}\necho '{{\"ServerURL\":\"x\",\"Username\":\"user\",\"Secret\":\"hidden-word\"}}'\n",
        log.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let manifest = stage.manifest("latest");
    let honest = Answer::new(e2e::registry::MANIFEST_TYPE, stage.honest.manifest.to_string());
    let basic = Answer::status(401).header("WWW-Authenticate", "Basic realm=\"r\"");
    stage.registry.put("HEAD /v2/team/lie/manifests/latest", Answer::status(404));
    for config in [
        json!({"credHelpers": {stage.registry.address(): "desk"}}),
        json!({"credsStore": "desk", "auths": {stage.registry.address(): {}}}),
    ] {
        write_config(&stage, &config);
        stage.registry.put_all(&manifest, [basic.clone(), honest.clone()]);
        stage.world.invoke(["pull", "-q", &stage.name()]).env("PATH", &path).run().success();
        stage.world.mica(["rmi", &stage.name()]).success();
        let last = stage.registry.asked().into_iter().rfind(|asked| asked.what == manifest).unwrap();
        assert_eq!(last.headers["authorization"], format!("Basic {BASIC}"));
        let asked = fs::read_to_string(&log).unwrap();
        assert_eq!(asked, format!("get {}\n", stage.registry.address()));
        fs::remove_file(&log).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn privileged_secrets_are_in_no_error_no_inspection_and_no_file() {
    let stage = Stage::new();
    log_in(&stage, stage.registry.address());
    let manifest = stage.manifest("latest");
    let basic = Answer::status(401).header("WWW-Authenticate", "Basic realm=\"r\"");
    stage.registry.put(&manifest, basic.clone());
    let mut shown = stage.refuses(&["pull access denied"]).stderr();
    let honest = Answer::new(e2e::registry::MANIFEST_TYPE, stage.honest.manifest.to_string());
    stage.registry.put("HEAD /v2/team/lie/manifests/latest", Answer::status(404));
    stage.registry.put_all(&manifest, [basic, honest]);
    let name = stage.name();
    shown += &stage.world.mica(["-D", "pull", &name]).success().stdout();
    // A proxy that is not there, with a password.
    let proxy = "http://user:hidden-word@192.0.2.1:1";
    let pull = stage.world.invoke(["pull", "registry.invalid/x"]).env("HTTPS_PROXY", proxy).run();
    shown += &pull.code(1).stderr();
    for words in [["info", "--format=json"], ["inspect", &name], ["history", &name], ["events", "--until=0s"]]
    {
        let output = stage.world.mica(words);
        shown += &(output.stdout() + &output.stderr());
    }
    for secret in ["hidden-word", BASIC] {
        assert!(!shown.contains(secret), "{shown}");
        assert!(
            !is_in_files(&stage.world.root(), secret) && !is_in_files(&stage.world.run_directory(), secret)
        );
    }
}

fn is_in_files(directory: &Path, text: &str) -> bool {
    fs::read_dir(directory).unwrap().flatten().any(|entry| {
        let kind = entry.file_type().unwrap();
        let has = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        match (kind.is_dir(), kind.is_file()) {
            (true, _) => is_in_files(&entry.path(), text),
            (_, true) => fs::read(entry.path()).is_ok_and(has),
            _ => false,
        }
    })
}

#[test]
#[ignore = "needs root"]
fn privileged_a_digest_that_is_here_under_another_name_is_no_proof_that_the_registry_has_it() {
    let stage = Stage::new();
    let name = stage.name();
    stage.world.mica(["pull", "-q", &name]).success();
    let other = stage.registry.name(&format!("attacker/any@{}", stage.honest.digest));
    stage.world.mica(["pull", &other]).code(1).stderr_contains("not found");
    stage.world.mica(["run", "--rm", &other, "true"]).code(125);
    stage.world.mica(["pull", "-q", &format!("{name}@{}", stage.honest.digest)]).success();
}

#[test]
#[ignore = "needs root"]
fn privileged_words_of_a_registry_do_not_command_the_terminal() {
    let stage = Stage::new();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{202e}words";
    let refusal = json!({"errors": [{"code": evil, "message": evil.repeat(100_000)}]}).to_string();
    let answer = Answer { status: 400, ..Answer::new("application/json", refusal) };
    stage.registry.put(&stage.manifest("latest"), answer);
    stage.registry.put("HEAD /v2/team/lie/manifests/latest", Answer::status(404));
    let (screen, code) = stage.world.terminal(["pull", &stage.name()]).finish();
    assert_eq!(code, 1, "{screen:?}");
    is_harmless(&screen);
    assert!(screen.len() < 4000, "{} bytes", screen.len());
    let tags = json!({"name": "x", "tags": ["ok", evil]}).to_string();
    stage.registry.put("GET /v2/team/lie/tags/list", Answer::new("application/json", tags));
    is_harmless(&stage.world.terminal(["pull", "-a", &stage.name()]).finish().0);
    stage.change_manifest(|manifest| manifest["layers"][0]["mediaType"] = json!(evil));
    is_harmless(&stage.world.terminal(["pull", &stage.name()]).finish().0);
    stage.change_manifest(|manifest| manifest["layers"][0]["digest"] = json!(evil));
    is_harmless(&stage.world.terminal(["pull", &stage.name()]).finish().0);
    stage.change_config(|config| {
        config["os"] = json!(evil);
        config["author"] = json!(evil);
    });
    is_harmless(&stage.world.terminal(["pull", &stage.name()]).finish().0);
    stage.change_config(|config| {
        config["config"] = json!({"Labels": {evil: evil}, "Cmd": [evil]});
        config["history"] = json!([{"created_by": evil}, {"comment": evil}]);
    });
    let name = stage.name();
    stage.world.mica(["pull", "-q", &name]).success();
    for words in [vec!["images"], vec!["history", &name], vec!["history", "--no-trunc", &name]] {
        is_harmless(&stage.world.terminal(words).finish().0);
    }
}

/// Bars draw themselves by escape sequences of their own; titles, bells, clearing and reversals are nobody's.
#[track_caller]
fn is_harmless(screen: &str) {
    for bad in ["\u{1b}]", "\u{7}", "\u{202e}", "\u{1b}[2J"] {
        assert!(!screen.contains(bad), "{bad:?} in {screen:?}");
    }
}
